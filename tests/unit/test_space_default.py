"""The recipe itself as a point of a space."""

import pytest
from spaces import NESTED, RATE, RECIPE, read, recipe, space_of

ONE_STEP = {"name": "cosine", "warmup": 1}  # of warm-up, where 1.0 would be all of the run


@pytest.mark.parametrize(
    ("line", "sections", "expected"),
    [
        ("optimizer.lr: " + RATE, {}, {"optimizer.lr": 1e-3}),
        ("optimizer.lr: " + RATE, {"optimizer": {"lr": 0.1}}, None),
        (
            "optimizer.momentum: {type: float, low: 0.5, high: 0.95, step: 0.05}",
            {},
            {"optimizer.momentum": 0.9},
        ),
        ("optimizer.momentum: {type: float, low: 0.5, high: 0.98, step: 0.06}", {}, None),
        (
            "train.batch_size: {type: int, low: 128, high: 512, step: 128}",
            {},
            {"train.batch_size": 256},
        ),
        ("train.batch_size: {type: int, low: 100, high: 300, step: 100}", {}, None),
        ("train.batch_size: {type: choice, choices: [128, 256]}", {}, {"train.batch_size": 256}),
        ("train.batch_size: {type: choice, choices: [128, 512]}", {}, None),
        (
            "train.precision: {type: choice, choices: [bf16, fp32]}",
            {"train": {"precision": 32}},
            "fp32",
        ),
        (
            "views.crop_scale: {type: choice, choices: [[0.5, 1]]}",
            {"views": {"crop_scale": [0.5, 1]}},
            "[0.5,1]",
        ),
        (
            "optimizer.schedule: "
            "{type: choice, choices: [{name: cosine}, {name: cosine, warmup: 0.1}]}",
            {},
            '{"name":"cosine","warmup":0.1}',
        ),
        (
            "optimizer.schedule.warmup: {type: choice, choices: [1.0]}",
            {"optimizer": {"schedule": ONE_STEP}},
            None,
        ),
        (
            "optimizer.weight_decay: {type: float, low: 0, high: 1}",
            {"optimizer": {"weight_decay": ONE_STEP}},
            None,
        ),
        ("objective.name: {type: choice, choices: [byol, vicreg]}", {}, None),
    ],
)
def test_the_recipe_itself_as_drawn_values(line, sections, expected):
    own = recipe(**sections)
    space = space_of(line, of=own)
    if isinstance(expected, str):
        expected = {space.parameters[0].name: expected}
    assert space.default(own) == expected
    if expected is not None:
        assert space.apply(own, expected) == own


def test_the_default_holds_what_is_active_for_the_recipe():
    space = read(NESTED)
    assert space.default(RECIPE) == {
        "objective.name": "dcl",
        "optimizer.name": "adamw",
        "objective.temperature@dcl": 0.1,
    }
    sgd = recipe(objective={"name": "vicreg"}, optimizer={"name": "sgd"})
    assert space.default(sgd) == {
        "objective.name": "vicreg",
        "optimizer.name": "sgd",
        "objective.variance": 25.0,
        "optimizer.momentum": 0.9,
        "optimizer.weight_decay": 0.05,
    }
