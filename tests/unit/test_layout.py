"""Rules of the house that a file can break by existing."""

from dataclasses import fields
from inspect import signature
from pathlib import Path

import pytest

from manta.batch import Batch, View
from manta.catalogue import entries
from manta.config import load
from manta.data import RankBatch
from manta.views import ViewPipeline

ROOT = Path(__file__).resolve().parents[2]


def test_platform_never_becomes_a_package():
    assert not (ROOT / "platform" / "__init__.py").exists(), (
        "it would shadow the standard library's platform"
    )


def test_jobs_stay_entry_points():
    jobs = list(ROOT.glob("jobs/*.py"))
    assert {job.stem for job in jobs} >= {"pretrain", "evaluate"}
    assert all(len(job.read_text().splitlines()) <= 20 for job in jobs)


def test_a_batch_cannot_carry_labels():
    assert {f.name for f in fields(Batch)} == {"views", "index"}
    of_view = ("data", "role", "box", "flip", "mask", "transform", "field", "facts")
    assert {f.name for f in fields(View)} == set(of_view)
    # What a view pipeline knows it was given, and that has no label.
    assert {f.name for f in fields(RankBatch)} == {"step", "data", "index"}
    given = set(signature(ViewPipeline.__call__).parameters)
    assert given == {"self", "data", "index", "seed", "step", "rows", "global_batch"}


@pytest.mark.parametrize(
    "recipe", sorted(ROOT.glob("jobs/recipes/*.yaml")), ids=lambda path: path.stem
)
def test_every_recipe_loads_and_says_what_it_is_for(recipe):
    experiment = load(recipe)
    assert len(experiment.description) > 40
    assert load(recipe, ["train.epochs=1"]).train.epochs == 1


def test_everything_that_can_be_listed_is():
    for kind in (
        *("objectives", "encoders", "evaluators", "modalities", "schedules", "sources"),
        *("masks", "materials", "recipes"),
    ):
        rows = entries(kind)
        assert rows, kind
        assert all(row.keys() == rows[0].keys() for row in rows)
    assert {"simclr", "dcl", "byol", "barlow_twins", "vicreg", "dino", "mae"} <= {
        row["name"] for row in entries("objectives")
    }


def test_the_guide_names_objectives_that_there_are_each_once():
    """Not that it names all: a new method is a file and a recipe, and fails nothing before there is
    advice on it."""
    guide, _, _ = (ROOT / "docs/objectives.md").read_text().partition("## Measured")
    rows = [
        line.split("|")[1].strip().strip("`")
        for line in guide.splitlines()
        if line.startswith("| `")
    ]
    assert len(rows) == len(set(rows)) > 30
    assert set(rows) <= {row["name"] for row in entries("objectives")}


def test_every_objective_has_a_recipe():
    recipes = [load(path).objective.name for path in ROOT.glob("jobs/recipes/*.yaml")]
    assert {row["name"] for row in entries("objectives")} <= set(recipes)


def test_exit_codes_reach_the_shell(monkeypatch):
    from manta import cli

    for words, code in (
        (["list", "schedules"], 0),
        (["list", "nonsense"], 2),
        (["train", "--nope"], 2),
    ):
        monkeypatch.setattr("sys.argv", ["manta", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == code, words
