"""What `manta describe` says of components and sections."""

import json
import shlex

import pytest
from typer.testing import CliRunner

from manta.catalogue import entries
from manta.cli import app
from manta.config import describable, describe, load
from manta.encoders import ENCODERS
from manta.errors import ConfigError
from manta.evaluators import EVALUATORS
from manta.objectives import OBJECTIVES
from manta.schedules import SCHEDULES

SECTIONS = [one["name"] for one in describable("section")]
EVERYTHING = [
    *(("objective", name) for name in OBJECTIVES),
    *(("evaluator", name) for name in EVALUATORS),
    *(("schedule", name) for name in SCHEDULES),
    *(("encoder", name) for name in (*ENCODERS, "resnet18")),
    *(("section", name) for name in SECTIONS),
    *(("view", name) for name in ("simclr", "byol", "multicrop", "plain")),
]


def rows_of(kind, name):
    return {row["key"]: row for row in describe(kind, name)["fields"]}


def run(*words):
    return CliRunner().invoke(app, ["describe", *words])


@pytest.mark.parametrize(("kind", "name"), EVERYTHING)
def test_every_field_is_described(kind, name):
    facts = describe(kind, name)
    assert [row["key"] for row in facts["fields"] if len(row["description"]) < 6] == []
    assert len(facts["about"]) > 10
    assert json.loads(json.dumps(facts)) == facts


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k, n in EVERYTHING if k != "encoder"])
def test_the_example_is_a_line_that_works(kind, name, tmp_path):
    words = shlex.split(describe(kind, name)["example"])
    assert words[:3] == ["manta", "train", "RECIPE"]
    needed = [f"{row['key']}=something" for row in rows_of(kind, name).values() if row["required"]]
    minimal = ["data.source=digits", "objective=dcl"]
    experiment = load(None, [*minimal, *words[3:], *needed])
    chosen = {
        "objective": experiment.objective.name,
        "schedule": experiment.optimizer.schedule.name,
        "view": experiment.views.preset,
    }
    assert chosen.get(kind, name) == name
    assert kind != "evaluator" or name in {one.name for one in experiment.evaluation.evaluators}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_defaults_are_those_of_the_objective(name):
    kind = OBJECTIVES[name].Config
    needed = {k: "something" for k, f in kind.model_fields.items() if f.is_required()}
    own = kind.model_validate(needed | {"name": name}).model_dump(mode="json")
    for key, row in rows_of("objective", name).items():
        value = own
        for part in key.split(".")[1:]:
            value = None if value is None else value[part]  # a section inside that is off
        said = value if row["type"] == "settings" or value is None else row["default"]
        assert row["required"] or said == value, key


def test_types_ranges_and_choices_are_said():
    rows = rows_of("objective", "dino")
    temperature = rows["objective.teacher_temperature"]
    assert (temperature["type"], temperature["range"]) == ("float or schedule", "> 0")
    assert temperature["default"]["at"] == 0.07
    assert rows["objective.momentum"]["range"] == ">= 0, <= 1"
    assert rows["objective.projector"]["type"] == "settings"
    assert rows["objective.projector.activation"]["choices"] == ["relu", "gelu"]
    assert rows["objective.projector.activation"]["default"] == "gelu"
    assert rows["objective.projector.norm"]["choices"] == ["batch", "layer", None]
    assert "objective.name" not in rows
    views = rows_of("section", "views")
    assert views["views.crop_scale"]["type"] == "[float, float] or null"
    assert views["views.crop_scale"]["range"] == "> 0, <= 1"
    assert views["views.jitter"]["range"] is None
    knn = rows_of("evaluator", "knn")["evaluation.evaluators.knn.k"]
    assert (knn["type"], knn["range"]) == (
        "int or list of int",
        "int: >= 1; list of int: 1 or more entries, >= 1",
    )
    warmup = rows_of("schedule", "cosine")["optimizer.schedule.warmup"]
    assert warmup["range"] == "int: >= 0; float: >= 0, <= 1"
    gpu = rows_of("section", "resources")["resources.gpu"]
    assert (gpu["type"], gpu["choices"]) == ("choice", ["auto", True, False])
    source = rows_of("section", "data")["data.source"]
    assert (source["required"], source["default"]) == (True, None)
    assert rows_of("encoder", "scatnet")["encoder.args.angles"]["default"] == 8


def test_an_objective_has_its_paper():
    facts = describe("objective", "simclr")
    assert facts["paper"]["year"] == 2020
    assert "2002.05709" in facts["paper"]["reference"]
    assert facts["views"] == "2 global"
    assert "temperature" in facts["example"]


def test_a_preset_shows_both_views():
    facts = describe("view", "byol")
    assert [view["blur"] for view in facts["views"]] == [1.0, 0.1]
    assert facts["local"]["crop"] == [0.05, 0.4]


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        ("objective", "byoll", "no objective is named 'byoll'; did you mean 'byol'?"),
        ("evaluator", "knnn", "did you mean 'knn'?"),
        ("encoder", "resnet19", "no encoder is named 'resnet19'; did you mean"),
        ("schedule", "cosinus", "did you mean 'cosine'?"),
        ("section", "trian", "no section is named 'trian'; did you mean 'train'?"),
        ("view", "byoll", "did you mean 'byol'?"),
        ("objectve", "byol", "no kind to describe is named 'objectve'; did you mean 'objective'?"),
    ],
)
def test_an_unknown_name_gets_a_hint(kind, name, hint):
    with pytest.raises(ConfigError) as caught:
        describe(kind, name)
    assert hint in str(caught.value)


def test_the_command_prints_it():
    result = run("objective", "moco")
    assert result.exit_code == 0
    assert "objective.version = v2  v2 | v3" in result.output
    assert "arXiv:1911.05722" in result.output
    assert "example  manta train RECIPE objective=moco objective.temperature=0.2" in result.output
    assert "(required)  str" in run("section", "data").output
    assert "[0.08, 1.0]" in run("view", "byol").output


def test_without_a_name_the_command_lists_them():
    listed = run("section")
    assert listed.exit_code == 0
    assert all(name in listed.output for name in (*SECTIONS, "study"))
    assert {one["name"] for one in json.loads(run("schedule", "--json").output)} == set(SCHEDULES)
    assert json.loads(run("objective", "dcl", "--json").output) == describe("objective", "dcl")
    study = json.loads(run("section", "study", "--json").output)["fields"]
    trials = study[1]
    assert (trials["key"], trials["default"], trials["range"]) == ("study.trials", 32, ">= 1")
    assert [row["key"] for row in study if len(row["description"]) < 6] == []


def test_lists_show_a_whole_sentence():
    for kind in ("evaluators", "schedules", "sources"):
        for row in entries(kind):
            assert "\n" not in row["about"]
            assert row["about"].endswith((".", "`")), row
