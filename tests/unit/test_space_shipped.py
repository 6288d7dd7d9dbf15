"""The search spaces that ship, against every recipe that ships."""

import random

import pytest
from spaces import RECIPE

from manta.catalogue import entries, recipe_folder, space_folder
from manta.config import load
from manta.errors import ConfigError
from manta.tuning.space.read import Parameter, read_space

SPACES = sorted(space_folder().resolve().glob("*.yaml"))
RECIPES = sorted(recipe_folder().resolve().glob("*.yaml"))
SEARCHED = ("simclr", "dcl", "byol", "barlow_twins", "vicreg")
"""Objectives that `joint` and `objective` choose from."""


def drawer(seed):
    """Draws as a sampler does: labels of choices, numbers of ranges."""
    rng = random.Random(seed)

    def suggest(parameter: Parameter):
        if parameter.kind == "choice":
            return rng.choice(parameter.labels)
        if parameter.step is None:
            return rng.uniform(parameter.low, parameter.high)
        return (
            parameter.low
            + rng.randint(0, round((parameter.high - parameter.low) / parameter.step))
            * parameter.step
        )

    return suggest


def temperature_refused(own):
    """Return why a recipe's objective has no temperature that could be searched, if so."""
    if own.objective.name == "isogclr":  # its range bounds a sample's own temperatures
        return "0.03 is not between temperature_min 0.05"
    if "temperature" not in type(own.objective).model_fields:
        return f"no such key with .*{own.objective.name};"
    return None


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_every_shipped_space_suits_the_recipes(path):
    for of in RECIPES:
        own = load(of)
        refusal = temperature_refused(own) if path.stem == "temperature" else None
        if refusal is not None:
            with pytest.raises(ConfigError, match=rf"temperature.yaml:7: .*{refusal}"):
                read_space(path, own)
            continue
        if path.stem == "augmentation" and own.data.modality != "image":
            with pytest.raises(
                ConfigError, match=r"augmentation.yaml:8: views.crop_scale: no such"
            ):
                read_space(path, own)
            continue
        space, study = read_space(path, own)
        assert len(space.description) > 40
        assert study.values["trials"] >= 10
        default = space.default(own)
        unknown = path.stem in ("joint", "objective") and own.objective.name not in SEARCHED
        hot = path.stem == "temperature" and own.objective.temperature > 1  # the space ends there
        small = path.stem == "joint" and own.train.batch_size < 64  # the space begins there
        cold = path.stem == "joint" and getattr(own.objective, "temperature", 1) < 0.05  # and there
        betas = path.stem == "optimizer" and own.optimizer.args.get("betas", (0, 0))[1] == 0.98
        assert (default is None) == (unknown or hot or small or cold or betas)
        if default is not None:
            assert space.apply(own, default) == own
        suggest, held, broken = drawer(0), 0, set()
        for _ in range(40):
            drawn = space.draw(suggest)
            text = space.violated(own, drawn)
            if text is None:
                applied = space.apply(own, drawn)
                held += all(
                    applied.model_dump(mode="json")[path.split(".")[0]]
                    for path in space.values(drawn)
                )
            else:
                broken.add(text)
        assert held >= 20
        assert broken == {constraint.text for constraint in space.constraints}


def test_the_shipped_spaces_are_listed():
    rows = {row["name"] for row in entries("spaces")}
    assert rows == {"temperature", "augmentation", "schedule", "optimizer", "objective", "joint"}
    assert {path.stem for path in SPACES} == rows


def test_joint_gives_each_objective_its_own_parameters():
    space, _ = read_space(space_folder() / "joint.yaml", RECIPE)
    own = {
        "simclr": {"objective.temperature@simclr"},
        "dcl": {"objective.temperature@dcl", "objective.sigma"},
        "byol": {"objective.momentum.start"},
        "barlow_twins": {"objective.lambda_"},
        "vicreg": {"objective.variance", "objective.covariance"},
    }
    for name, parameters in own.items():
        drawn = space.draw(
            lambda p, name=name: name if p.name == "objective.name" else (p.labels or (p.low,))[0]
        )
        assert {key for key in drawn if key.startswith("objective.")} == parameters | {
            "objective.name"
        }


def test_the_shipped_file_is_named_as_it_was_given(monkeypatch):
    byol = load(recipe_folder().resolve() / "byol-cifar10.yaml")
    monkeypatch.chdir(SPACES[0].parent.parent)
    path = f"{SPACES[0].parent.name}/temperature.yaml"
    with pytest.raises(ConfigError) as caught:
        read_space(path, byol)
    assert str(caught.value) == (
        f"{path}:7: objective.temperature: no such key with objective.name=byol; "
        "known: momentum, name, predictor, projector"
    )
