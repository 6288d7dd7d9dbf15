"""One loader: files, overrides, errors of one line."""

import pytest

from manta.config import from_mapping, load
from manta.errors import ConfigError
from manta.objectives import OBJECTIVES, HeadConfig

MINIMAL = {"data": {"source": "digits"}, "objective": {"name": "dcl"}}


def test_a_file_and_overrides_make_an_experiment(tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("data: {source: digits}\nobjective: {name: dcl, temperature: 0.1}\n")
    experiment = load(
        recipe,
        ["objective.temperature=0.2", "train.epochs=3", "optimizer.lr=1e-4", "data.limit=100"],
    )
    assert experiment.objective.temperature == 0.2
    assert (experiment.train.epochs, experiment.optimizer.lr, experiment.data.limit) == (
        3,
        1e-4,
        100,
    )


def test_the_resolved_file_loads_to_an_equal_experiment(tmp_path):
    first = from_mapping(
        MINIMAL
        | {"optimizer": {"schedule": {"name": "infinite", "warmup": 10}, "weight_decay": 0.1}}
    )
    saved = tmp_path / "experiment.yaml"
    saved.write_text(first.to_yaml())
    assert load(saved) == first
    assert load(saved).fingerprint() == first.fingerprint()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("trian.epochs=3", ["trian: no such key; did you mean 'train'?"]),
        ("train.epoch=3", ["train.epoch", "no such key"]),
        ("train.epochs=-1", ["train.epochs", "greater than 0", "-1"]),
        ("objective.name=dlc", ["dlc", "did you mean 'dcl'"]),
        (
            "objective.temprature=1",
            ["objective.temprature: no such key; did you mean 'temperature'?"],
        ),
        ("objective.projector.hiden=1", ["objective.projector.hiden: no such key", "'hidden'"]),
        (
            "evaluation.evaluators=[{name: knn, kk: 3}]",
            ["evaluation.evaluators.0.kk: no such key", "mean 'k'"],
        ),
        ("train.epochs", ["section.key=value"]),
        ("resources.workers=3", ["train.batch_size 256", "255"]),
        ("optimizer.schedule.name=cosinus", ["optimizer.schedule", "cosinus"]),
        ("evaluation.evaluators=[{name: knnn}]", ["knnn", "did you mean 'knn'"]),
    ],
)
def test_a_wrong_override_is_one_line_that_names_it(tmp_path, override, words):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("data: {source: digits}\nobjective: {name: dcl}\n")
    with pytest.raises(ConfigError) as caught:
        load(recipe, [override])
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2\n"])
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(text)
    with pytest.raises(ConfigError, match=r"r\.yaml"):
        load(recipe)


def test_a_missing_file_points_to_the_list(tmp_path):
    with pytest.raises(ConfigError, match="manta list recipes"):
        load(tmp_path / "nothing.yaml")


@pytest.mark.parametrize("alias", ["fp32", "float32", 32, "32"])
def test_precision_has_its_usual_names(alias):
    assert from_mapping(MINIMAL | {"train": {"precision": alias}}).train.precision == "float32"


def test_the_fingerprint_sees_what_changes_training_and_nothing_else():
    base = from_mapping(MINIMAL).fingerprint()
    for change in (
        {"train": {"seed": 1}},
        {"views": {"strength": 0.5}},
        {"objective": {"name": "dcl", "temperature": 1}},
    ):
        assert from_mapping(MINIMAL | change).fingerprint() != base
    for change in (
        {"train": {"checkpoint_every": 7, "log_every": 1}},
        {"resources": {"workers": 2}},
        {"tracking": {"experiment": "x"}},
        {"data": {"source": "elsewhere", "cache": "memory"}},
    ):
        assert from_mapping(MINIMAL | change).fingerprint() == base


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_head_that_is_set_in_part_is_the_objectives_own_in_all_else(name):
    kind = OBJECTIVES[name].Config
    heads = {
        key: field.default
        for key, field in kind.model_fields.items()
        if isinstance(field.default, HeadConfig)
    }
    needed = {
        key: "somewhere"
        for key, field in kind.model_fields.items()
        if field.is_required() and key != "name"
    }
    for key, default in heads.items():
        given = kind.model_validate({"name": name, key: {"hidden": 33}} | needed)
        assert getattr(given, key) == default.model_copy(update={"hidden": 33})


def test_a_projector_of_moco_that_is_set_in_part_is_its_versions_in_all_else():
    recipe = {"name": "moco", "version": "v3", "projector": {"layers": 3}}
    third = from_mapping(MINIMAL | {"objective": recipe}).objective
    assert (third.projector.layers, third.projector.norm_out) == (3, True)
    again = from_mapping(MINIMAL | {"objective": third.model_dump()}).objective
    assert again == third
    second = from_mapping(MINIMAL | {"objective": recipe | {"version": "v2"}}).objective
    assert (second.projector.layers, second.projector.norm) == (3, None)


@pytest.mark.parametrize("override", ["encoder.name=resnet10t", "encoder={name: resnet10t}"])
def test_another_encoder_is_not_given_the_arguments_of_the_recipes(tmp_path, override):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "data: {source: digits}\nobjective: {name: dcl}\n"
        "encoder: {name: vit_tiny_patch16_224, stem: small, args: {embed_dim: 24}}\n"
    )
    found = load(recipe, [override]).encoder
    assert (found.name, found.args, found.stem) == ("resnet10t", {}, "small")
    assert load(recipe, ["encoder.name=vit_tiny_patch16_224"]).encoder.args == {"embed_dim": 24}
    assert load(recipe, ["encoder.args.depth=2", override]).encoder.args == {"depth": 2}


@pytest.mark.parametrize("value", ["2025-31-01", "0x_", "[v2, v3]"])
def test_no_value_of_an_override_is_a_traceback(tmp_path, value):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("data: {source: digits}\nobjective: {name: moco}\n")
    with pytest.raises(ConfigError):
        load(recipe, [f"objective.version={value}"])


def test_a_long_value_is_not_repeated_whole():
    with pytest.raises(ConfigError) as refused:
        load(None, [f"train.epochs={'x' * 5000}"])
    assert "train.epochs" in str(refused.value)
    assert len(str(refused.value)) < 900
