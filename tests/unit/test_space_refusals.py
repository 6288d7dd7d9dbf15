"""Paths and values of a space that the recipe refuses."""

import pytest
from spaces import RATE, message_of


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("3: {type: choice, choices: [1]}", "3: must be a dotted path"),
        (
            "objectve.name: {type: choice, choices: [dcl]}",
            "objectve.name: no such key; did you mean 'objective'?",
        ),
        ("objective: {type: choice, choices: [{name: dcl}]}", "objective: is a whole section"),
        (
            f"objective.temperatur: {RATE}",
            "objective.temperatur: no such key with objective.name=dcl; "
            "did you mean 'temperature'?",
        ),
        (
            f"optimizer.schedule.wormup: {RATE}",
            "optimizer.schedule.wormup: no such key; did you mean 'warmup'?",
        ),
        (
            f"optimizer.shedule.end: {RATE}",
            "optimizer.shedule.end: no such key; did you mean 'schedule'?",
        ),
        (
            f"objective.temperature.start: {RATE}",
            "objective.temperature.start: objective.temperature is the plain number 0.1, "
            "which has no keys",
        ),
        (
            f"views.crop_scale.low: {RATE}",
            "views.crop_scale.low: views.crop_scale is None, which has no keys",
        ),
        (
            "objective.temperature: {type: float, low: -1, high: 1}",
            "objective.temperature: must stay above 0, but it is -1",
        ),
        (
            "views.flip: {type: float, low: 0.5, high: 1.5}",
            "views.flip: Input should be less than or equal to 1 (got 1.5)",
        ),
        (
            "train.batch_size: {type: float, low: 128, high: 256}",
            "train.batch_size: Input should be a valid integer",
        ),
        (
            "train.batch_size: {type: choice, choices: [128, many]}",
            "train.batch_size: Input should be a valid integer",
        ),
        (
            "train.accumulate: {type: int, low: 1, high: 4}",
            "train.accumulate: train.batch_size 256 does not divide",
        ),
        (
            "views.crop_scale: {type: choice, choices: [[1.0, 0.5]]}",
            "views.crop_scale: crop_scale must ascend",
        ),
        (
            "objective.name: {type: choice, choices: [dcl, dlc]}",
            "objective.name: no objective is named 'dlc'; did you mean 'dcl'?",
        ),
        (
            "objective.name: {type: choice, choices: [dcl, 3]}",
            "objective.name: must be a name, not 3",
        ),
        (
            "optimizer.schedule.name: {type: choice, choices: [cosinus]}",
            "optimizer.schedule.name: no schedule is named 'cosinus'",
        ),
        (
            "optimizer.name: {type: choice, choices: [adamm]}",
            "optimizer.name: timm has no optimizer 'adamm'",
        ),
        (
            "optimizer.args.betas: {type: choice, choices: [3]}",
            "optimizer.args.betas: adamw refuses its arguments",
        ),
        (
            "encoder.name: {type: choice, choices: [resnet18, resnot]}",
            "encoder.name: no encoder is named 'resnot'",
        ),
        (
            "encoder.name: {type: choice, choices: [resnet18, resnet18.a9_in1k]}",
            "encoder.name: timm has no weights 'a9_in1k' of 'resnet18'",
        ),
        (
            "encoder.name: {type: choice, choices: [resnet18, csatv2]}",
            "encoder.name: 'csatv2' cannot take images of 32 px",
        ),
    ],
)
def test_a_path_or_value_that_the_recipe_refuses(line, expected):
    assert message_of(f"space:\n  {line}\n").startswith(f"2: {expected}")


UNSEARCHABLE = [
    *(
        "data.source",
        "data.limit",
        "data.cache",
        "data.cache_dir",
        "data.decode_size",
        "evaluation.holdout",
    ),
    *("watch.every", "tracking.experiment", "resources.workers", "description.x"),
]


@pytest.mark.parametrize("path", UNSEARCHABLE)
def test_what_would_make_trials_incomparable(path):
    text = f"space:\n  {path}: {{type: choice, choices: [1]}}\n"
    assert message_of(text).startswith(
        f"2: {path}: cannot be searched, since trials that differ in data"
    )
