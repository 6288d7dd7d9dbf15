"""Overrides: what `section.key=value` words do to a recipe."""

import pytest
import yaml

from manta.config import Experiment, from_mapping, load, model_at, parse_yaml, rename
from manta.errors import ConfigError
from manta.objectives import OBJECTIVES
from manta.tuning.study.settings import StudySettings

RECIPE = """
data: {source: digits}
objective: {name: simclr, temperature: 0.2}
encoder: {name: vit_tiny_patch16_224, stem: small, args: {embed_dim: 24}}
optimizer: {name: adamw, lr: 2.0e-3, args: {eps: 1e-7}}
views: {crop_scale: [0.2, 1.0]}
evaluation:
  evaluators:
    - {name: knn, k: 200, every: 1}
    - {name: linear}
    - {name: rank, every: 1}
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


def changed(recipe, *words):
    """The experiment under overrides, and what the user is told."""
    notes = []
    return load(recipe, words, notify=notes.append), notes


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "simclr"])
def test_another_objective_has_its_own_defaults(recipe, name):
    kind = OBJECTIVES[name].Config
    needed = [
        f"objective.{key}=somewhere"
        for key, field in kind.model_fields.items()
        if field.is_required() and key != "name"
    ]
    given = {word.partition("=")[0].removeprefix("objective."): "somewhere" for word in needed}
    for word in (f"objective.name={name}", f"objective={name}", f"objective={{name: {name}}}"):
        experiment, notes = changed(recipe, word, *needed)
        assert experiment.objective == kind.model_validate({"name": name} | given)
        assert notes == [f"objective.name={name}: dropped what was set for simclr: temperature=0.2"]


@pytest.mark.parametrize(
    "words",
    [
        ["objective.name=dcl", "objective.temperature=0.3"],
        ["objective.temperature=0.3", "objective.name=dcl"],
        ["objective=dcl", "objective.temperature=0.3"],
        ["objective.temperature=0.3", "objective=dcl"],
        ["objective={name: dcl, temperature: 0.3}"],
    ],
)
def test_settings_of_the_same_command_go_on_top_in_any_order(recipe, words):
    experiment, notes = changed(recipe, *words)
    assert (experiment.objective.name, experiment.objective.temperature) == ("dcl", 0.3)
    assert len(notes) == 1


def test_the_same_name_drops_nothing(recipe):
    experiment, notes = changed(recipe, "objective.name=simclr", "encoder=vit_tiny_patch16_224")
    assert experiment == load(recipe)
    assert notes == []


def test_defaults_that_are_written_out_are_no_loss_to_speak_of(recipe):
    recipe.write_text(load(recipe).to_yaml())
    words = ["objective=byol", "optimizer.schedule=linear", "evaluation.evaluators.2=lidar"]
    _, notes = changed(recipe, *words)
    assert notes == [
        "objective.name=byol: dropped what was set for simclr: temperature=0.2",
        "optimizer.schedule.name=linear: dropped what was set for cosine: warmup=0.1",
        "evaluation.evaluators.2.name=lidar: dropped what was set for rank: every=1.0",
    ]


def test_another_encoder_or_optimizer_loses_its_arguments_only(recipe):
    experiment, notes = changed(recipe, "encoder=resnet10t", "optimizer.name=sgd")
    assert (experiment.encoder.name, experiment.encoder.stem) == ("resnet10t", "small")
    assert (experiment.encoder.args, experiment.optimizer.args) == ({}, {})
    assert (experiment.optimizer.name, experiment.optimizer.lr) == ("sgd", 2e-3)
    assert notes == [
        "encoder.name=resnet10t: dropped what was set for vit_tiny_patch16_224: "
        "args={embed_dim: 24}",
        "optimizer.name=sgd: dropped what was set for adamw: args={eps: 1.0e-07}",
    ]


@pytest.mark.parametrize("word", ["optimizer.schedule.name=linear", "optimizer.schedule=linear"])
def test_another_schedule_has_its_own_defaults(recipe, word):
    recipe.write_text(RECIPE + "train: {epochs: 3}\n")
    first = load(recipe, ["optimizer.schedule={name: infinite, cooldown: 0.3, warmup: 5}"])
    recipe.write_text(first.to_yaml())
    experiment, notes = changed(recipe, word)
    schedule = experiment.optimizer.schedule
    assert (schedule.name, schedule.warmup, schedule.start) == ("linear", 0, 1.0)
    (note,) = notes
    assert "for infinite: warmup=5," in note
    assert "cooldown=0.3" in note


def test_a_schedule_that_is_a_default_is_changed_in_part(recipe):
    experiment, notes = changed(recipe, "optimizer.schedule.warmup=0.2")
    schedule = experiment.optimizer.schedule
    assert (schedule.name, schedule.warmup, notes) == ("cosine", 0.2, [])
    experiment, _ = changed(recipe, "objective=byol", "objective.momentum.start=0.9")
    momentum = experiment.objective.momentum
    assert (momentum.name, momentum.start, momentum.end) == ("cosine", 0.9, 1.0)


def test_a_number_can_become_a_schedule(recipe):
    words = ["optimizer.weight_decay=cosine", "optimizer.weight_decay.end=0.4"]
    decay = load(recipe, words).optimizer.weight_decay
    assert (decay.name, decay.start, decay.end) == ("cosine", 1.0, 0.4)
    with pytest.raises(ConfigError, match="weight_decay: needs a number or a schedule's name"):
        load(recipe, ["optimizer.weight_decay.end=0.4"])


@pytest.mark.parametrize("place", ["0", "knn", "[0]", "[knn]"])
def test_an_evaluator_is_reached_by_position_and_by_name(recipe, place):
    key = f"evaluation.evaluators{'' if place.startswith('[') else '.'}{place}"
    experiment, notes = changed(recipe, f"{key}.k=5", f"{key}.temperature=.2")
    knn = experiment.evaluation.evaluators[0]
    assert (knn.k, knn.temperature, knn.every) == (5, 0.2, 1)
    assert [one.name for one in experiment.evaluation.evaluators] == ["knn", "linear", "rank"]
    assert notes == []


def test_an_evaluator_that_is_not_listed_is_added(recipe):
    experiment, notes = changed(recipe, "evaluation.evaluators.lidar.every=2")
    assert [one.name for one in experiment.evaluation.evaluators][-1] == "lidar"
    assert experiment.evaluation.evaluators[-1].every == 2
    assert notes == ["evaluation.evaluators: added lidar"]
    experiment, _ = changed(recipe, "evaluation.evaluators.lidar={}")
    assert experiment.evaluation.evaluators[-1].every is None


def test_evaluators_are_taken_out_replaced_and_listed(recipe):
    def names(*words):
        return [one.name for one in load(recipe, words).evaluation.evaluators]

    gone, later = "evaluation.evaluators.0=null", "evaluation.evaluators.2.rows=9"
    assert names(gone) == names("evaluation.evaluators.knn=null") == ["linear", "rank"]
    assert load(recipe, [gone, later]).evaluation.evaluators[1].rows == 9
    assert names("evaluation.evaluators=[knn, {name: lidar}]") == ["knn", "lidar"]
    replaced, notes = changed(recipe, "evaluation.evaluators.0=lidar")
    assert replaced.evaluation.evaluators[0].every is None
    assert notes == [
        "evaluation.evaluators.0.name=lidar: dropped what was set for knn: k=200, every=1"
    ]


def test_the_default_evaluators_can_be_changed_too(recipe):
    recipe.write_text("data: {source: digits}\nobjective: {name: dcl}\n")
    evaluators = load(recipe, ["evaluation.evaluators.knn.k=3"]).evaluation.evaluators
    assert [one.name for one in evaluators] == ["knn", "linear", "rank"]
    assert evaluators[0].k == 3


@pytest.mark.parametrize(
    ("word", "line"),
    [
        (
            "evaluation.evaluators.knnn.k=5",
            "evaluation.evaluators.knnn: no evaluator is named 'knnn'; did you mean 'knn'?",
        ),
        (
            "evaluation.evaluators.7.k=5",
            "evaluation.evaluators.7: the list ends before (0 knn, 1 linear, 2 rank); "
            "add one by its name",
        ),
        (
            "evaluation.evaluators.knn.kk=5",
            "evaluation.evaluators.0.kk: no such key; did you mean 'k'?",
        ),
        (
            "evaluation.evaluators.lidar=null",
            "evaluation.evaluators.lidar: is not in the list and cannot be taken out",
        ),
        ("objective=bylo", "objective: no objective is named 'bylo'; did you mean 'byol'?"),
        (
            "optimizer.schedule.warmupp=1",
            "optimizer.schedule.warmupp: no such key; did you mean 'warmup'?",
        ),
        (
            "optimizer.schedule=cosinus",
            "optimizer.schedule: no schedule is named 'cosinus'; did you mean 'cosine'?",
        ),
        ("objective.temperature=-1", "objective.temperature: must stay above 0, but it is -1"),
        ("views.crop_scale.2=1", "views.crop_scale.2: no such position; the list has 0 to 1"),
        ("data.limit=[1", "override 'data.limit=[1' has a value that is not YAML; put quotes"),
        ("data..limit=1", "override 'data..limit=1' is not of the form section.key=value"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(recipe, word, line):
    with pytest.raises(ConfigError) as caught:
        load(recipe, [word])
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_two_evaluators_of_one_name_are_told_apart_by_position(recipe):
    words = ["evaluation.evaluators=[{name: knn, k: 5}, {name: knn, k: 9}]"]
    recipe.write_text(load(recipe, words).to_yaml())
    with pytest.raises(ConfigError, match=r"knn: listed 2 times; give a position: \[0, 1\]"):
        load(recipe, ["evaluation.evaluators.knn.k=1"])
    assert load(recipe, ["evaluation.evaluators.1.k=1"]).evaluation.evaluators[1].k == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3), ("1_000", 1000), (".5", 0.5), ("5.", 5.0), ("+2", 2), ("-1.5E+3", -1500.0),
        ("010", 10), ("0x1F", 31), ("-.inf", -float("inf")), ("null", None), ("~", None),
        ("true", True), ("[1, 2e0]", [1, 2.0]), ("{a: 1e1}", {"a": 10.0}), ("'1e-3'", "1e-3"),
        ('"a b"', "a b"), ("12:30", "12:30"), ("2024-01-01", "2024-01-01"), ("1.2.3", "1.2.3"),
        ("e5", "e5"), ("0x", "0x"), (".", "."), ("-", [None]),
    ],
)  # fmt: skip
def test_values_are_read_as_they_are_meant(text, value):
    read = parse_yaml(text)
    assert read == value
    assert type(read) is type(value)


def test_values_reach_the_experiment(recipe):
    experiment = load(
        recipe,
        [
            "train.batch_size=1_000", "optimizer.lr=1e-4", "optimizer.momentum=.5",
            "views.crop_scale.0=.3", "data.limit=null", "description='a = b, c'", "data.source=",
            "tracking.tags.run=7", "views.jitter=[.1,.1,.1,0]",
        ],
    )  # fmt: skip
    assert (experiment.train.batch_size, experiment.optimizer.lr) == (1000, 1e-4)
    assert (experiment.optimizer.momentum, experiment.views.crop_scale) == (0.5, (0.3, 1.0))
    assert (experiment.description, experiment.data.source) == ("a = b, c", "")
    assert experiment.tracking.tags == {"run": "7"}
    assert experiment.views.jitter == (0.1, 0.1, 0.1, 0.0)


def test_a_recipe_can_refer_to_itself(recipe):
    recipe.write_text(RECIPE + "watch: {every: '${train.epochs}'}\ntrain: {epochs: 7}\n")
    assert load(recipe, ["train.epochs=9"]).watch.every == 9
    with pytest.raises(ConfigError, match="overrides cannot be applied"):
        load(recipe, ["watch.every=${train.nothing}"])


def test_rename_is_the_rule_for_plain_data():
    tree = load(None, ["data.source=x", "objective=dcl", "encoder.args.a=1"]).model_dump()
    assert {"temperature", "projector"} <= set(rename(tree, ("objective",), "byol"))
    assert tree["objective"] == {"name": "byol"}
    assert rename(tree, ("encoder",), "resnet50") == {"args": {"a": 1}}
    assert tree["encoder"] == {"name": "resnet50", "stem": "default", "pretrained": False}
    dropped = rename(tree, ("optimizer", "schedule"), "constant")
    assert dropped["warmup"] == 0.1
    assert tree["optimizer"]["schedule"] == {"name": "constant"}
    assert rename(tree, ("evaluation", "evaluators", 0), "rank")["k"] == 20
    assert rename(tree, ("objective",), "byol") == {}
    assert from_mapping(tree).evaluation.evaluators[0].name == "rank"


def test_models_are_found_by_the_names_in_the_data():
    tree = {"objective": {"name": "byol"}, "optimizer": {"schedule": {"name": "linear"}}}
    assert model_at(tree, ()) is Experiment
    assert model_at(tree, ("objective",)) is OBJECTIVES["byol"].Config
    assert "end" in model_at(tree, ("optimizer", "schedule")).model_fields
    assert "hidden" in model_at(tree, ("objective", "projector")).model_fields
    assert model_at(tree, ("objective", "momentum", "start")) is None
    assert model_at({"objective": {"name": "nothing"}}, ("objective",)) is None
    scheduler = model_at({}, ("scheduler",), root=StudySettings)
    assert "reduction" in scheduler.model_fields


@pytest.mark.parametrize("text", ["2024_11", "007", "12e5", "1.10", "0x1F", "1e-3"])
def test_a_text_that_looks_like_a_number_stays_as_it_was_written(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"data: {{source: {text}}}\nobjective: {{name: simclr}}\n")
    words = [f"tracking.tags.git={text}", f"tracking.experiment={text}"]
    experiment, _ = changed(path, *words, f"encoder.args.a={text}")
    assert experiment.data.source == experiment.tracking.experiment == text
    assert experiment.tracking.tags == {"git": text}
    assert type(experiment.encoder.args["a"]) in (int, float)
    # What is written is read back, by any reader of YAML.
    path.write_text(experiment.to_yaml())
    assert load(path) == experiment
    assert from_mapping(yaml.safe_load(path.read_text())) == experiment


def test_a_text_in_arguments_that_looks_like_a_number_is_written_in_quotes(recipe, tmp_path):
    experiment, _ = changed(recipe, "encoder.args.a='1e-3'", "encoder.args.b=1e-3")
    assert experiment.encoder.args == {"embed_dim": 24, "a": "1e-3", "b": 0.001}
    path = tmp_path / "written.yaml"
    path.write_text(experiment.to_yaml())
    assert load(path).encoder.args == experiment.encoder.args


def test_words_go_on_with_the_list_that_an_earlier_word_gives(recipe):
    start = "evaluation.evaluators=[knn, linear]"
    experiment, _ = changed(
        recipe,
        start,
        "evaluation.evaluators.knn.k=5",
        "evaluation.evaluators.1=null",
        "evaluation.evaluators.fewshot.way=3",
    )
    knn, fewshot = experiment.evaluation.evaluators
    assert (knn.name, knn.k, knn.every, fewshot.name, fewshot.way) == ("knn", 5, None, "fewshot", 3)
    experiment, _ = changed(recipe, "views.crop_scale=[0.3, 1.0]", "views.crop_scale.0=0.5")
    assert experiment.views.crop_scale == (0.5, 1.0)
    for word in ("evaluation.evaluators.7.k=3", "evaluation.evaluators.knnn.k=3"):
        with pytest.raises(ConfigError, match=r"has 2 entries|did you mean 'knn'"):
            changed(recipe, start, word)


def test_an_empty_value_is_null_where_that_can_be_and_an_empty_text_elsewhere(recipe):
    experiment, _ = changed(recipe, "train.clip=", "data.cache_dir=", "description=")
    assert (experiment.train.clip, experiment.data.cache_dir) == (None, None)
    assert experiment.description == ""


def test_one_argument_leaves_the_others_of_the_recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "data: {source: digits}\nobjective: {name: simclr}\n"
        "encoder: {args: {embed_dim: 24, deep: {x: 1, y: [2, 3]}}}\n"
        "optimizer: {args: {eps: 1e-7}}\ntracking: {tags: {team: a}}\n"
    )
    words = ["encoder.args.depth=2", "encoder.args.deep.x=5", "encoder.args.deep.y.1=4"]
    experiment, notes = changed(
        path, *words, "optimizer.args.betas=[0.9, 0.99]", "tracking.tags.run=b"
    )
    assert experiment.encoder.args == {"embed_dim": 24, "deep": {"x": 5, "y": [2, 4]}, "depth": 2}
    assert experiment.optimizer.args == {"eps": 1e-7, "betas": [0.9, 0.99]}
    assert experiment.tracking.tags == {"team": "a", "run": "b"}
    assert notes == []
