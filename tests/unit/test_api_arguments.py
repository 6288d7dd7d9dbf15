"""Recipes, overrides and models as users write them in a call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import manta
from manta.api.arguments import data_word, model_word, override_words, recipe_path, space_path
from manta.api.run_result import Run
from manta.data import open_source
from manta.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "jobs/recipes/digits.yaml"


def test_a_mapping_becomes_words_dotted_or_nested():
    tree = {"train.epochs": 3, "objective": {"name": "byol", "momentum": 0.9}, "data": {}}
    assert override_words(tree) == [
        "train.epochs=3",
        'objective.name="byol"',
        "objective.momentum=0.9",
        "data={}",
    ]


def test_values_of_python_are_values_of_a_recipe():
    tree = {
        "a": None,
        "b": True,
        "c": [1, "x"],
        "d": Path("photos"),
        "e": np.float32(0.5),
        "f": np.arange(2),
    }
    values = [yaml.safe_load(word.partition("=")[2]) for word in override_words(tree)]
    assert values == [None, True, [1, "x"], "photos", 0.5, [0, 1]]


def test_text_of_any_language_comes_through():
    tags = {"tracking.tags": {"a": "méduse \U0001f990", "b": "line\nbreak: #1", "c": "1e-3"}}
    recipe = manta.load_recipe("digits", tags, progress=False)
    assert dict(recipe.tracking.tags) == tags["tracking.tags"]


def test_data_comes_after_the_overrides():
    assert override_words(["data.source=a", "train.epochs=1"], Path("b")) == [
        "data.source=a",
        "train.epochs=1",
        'data.source="b"',
    ]


def test_one_word_alone_is_refused():
    with pytest.raises(ConfigError, match=r"a list of words: \['train.epochs=1'\]"):
        override_words("train.epochs=1")


def test_what_no_recipe_can_hold_is_refused():
    with pytest.raises(ConfigError, match=r"override 'train.epochs' is a object, which no recipe"):
        override_words({"train.epochs": object()})


def test_a_recipe_is_loaded_by_path_by_name_or_as_it_is():
    by_path = manta.load_recipe(DIGITS, {"train.epochs": 2})
    by_name = manta.load_recipe("digits", ["train.epochs=2"])
    assert by_path == by_name
    assert by_name.train.epochs == 2
    assert manta.load_recipe(by_name) is by_name
    changed = manta.load_recipe(by_name, {"train": {"batch_size": 64}}, data="other")
    assert (changed.train.epochs, changed.train.batch_size) == (2, 64)
    assert changed.data.source == "other"


def test_another_objective_brings_its_own_settings_and_that_is_said(capfd):
    experiment = manta.load_recipe("digits", {"objective.name": "barlow_twins"})
    assert experiment.objective.name == "barlow_twins"
    assert "objective" in capfd.readouterr().err
    manta.load_recipe("digits", {"objective.name": "barlow_twins"}, progress=False)
    assert capfd.readouterr().err == ""


def test_an_experiment_is_changed_as_its_recipe_is():
    base = manta.load_recipe("digits")
    overrides = {"objective.name": "vicreg", "optimizer.lr": 0.01}
    changed = manta.load_recipe(base, overrides, progress=False)
    assert changed.objective == manta.load_recipe("digits", overrides, progress=False).objective
    assert changed.optimizer.lr == 0.01


def test_names_that_ship_and_paths_are_told_apart(tmp_path):
    assert recipe_path("digits").read_text() == DIGITS.read_text()
    assert recipe_path("own.yaml") == Path("own.yaml")
    assert space_path("temperature").name == "temperature.yaml"
    assert space_path(tmp_path) == tmp_path


def test_a_folder_of_images_does_not_hide_the_recipe_of_its_name(tmp_path, monkeypatch):
    """`manta train photos data.source=./photos` is what the guide tells."""
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "temperature", "mine"):
        (tmp_path / name).mkdir()
    assert recipe_path("photos").name == "photos.yaml"
    assert space_path("temperature").name == "temperature.yaml"
    assert recipe_path("mine") == Path("mine"), "the error names what is there"
    with pytest.raises(ConfigError, match="mine is a folder, and no recipe"):
        manta.load_recipe("mine")


def test_a_file_of_a_recipes_name_is_meant_by_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").write_text("description: mine")
    (tmp_path / "own").write_text("description: own")
    notes = []
    assert recipe_path("digits", notes.append).name == "digits.yaml"
    assert notes == [
        "digits is taken for the recipe of that name; write ./digits for what lies here"
    ]
    for path in ("./digits", Path("digits"), tmp_path / "digits"):
        assert recipe_path(path, notes.append).samefile("digits")
    assert recipe_path("own", notes.append) == Path("own")
    assert len(notes) == 1


def test_data_that_ship_are_not_hidden_by_a_folder_of_their_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notes = []
    assert data_word("digits", notes.append) == "digits"
    (tmp_path / "digits" / "a").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "digits" / "a" / "1.png")
    assert notes == []
    assert data_word("digits", notes.append) == "digits"
    assert notes == ["digits is taken for the data that ship; write ./digits for what lies here"]
    assert [data_word(one, notes.append) for one in ("./digits", Path("digits"))] == [
        "./digits"
    ] * 2
    assert len(notes) == 1
    assert open_source("digits").kind == "digits"
    assert open_source("./digits").kind == "folder"
    assert manta.load_recipe("digits", data=Path("digits")).data.source == "./digits"


def test_folders_of_ones_own_do_not_hide_what_ships(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("jobs/recipes", "search_spaces"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "mine.yaml").write_text("description: 2024")
        (tmp_path / folder / "odd.yaml").write_text("- [")
    (tmp_path / "jobs/recipes/digits.yaml").write_text("description: also mine")
    assert recipe_path("digits") == Path("jobs/recipes/digits.yaml")
    assert recipe_path("photos").is_file()
    assert space_path("temperature").is_file()
    rows = {row["name"]: row["about"] for row in manta.list_recipes().rows}
    assert (rows["mine"], rows["digits"], rows["odd"]) == ("2024", "also mine", "cannot be read")
    assert "photos" in rows
    assert {"mine", "temperature"} <= {row["name"] for row in manta.list_spaces().rows}


def test_an_unknown_recipe_is_one_line():
    with pytest.raises(ConfigError, match=r"no recipe at .*nonsense.yaml"):
        manta.load_recipe("nonsense")


def test_a_run_is_named_as_short_as_its_place_allows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = Run("one", str(tmp_path / "manta-runs/one"), "finished", {}, {})
    assert model_word(run, "manta-runs") == "one"
    assert model_word(run, "elsewhere") == str(tmp_path / "manta-runs/one")
    assert model_word("timm:resnet18", "manta-runs") == "timm:resnet18"
    assert model_word(Path("saved"), "manta-runs") == "./saved"
    assert model_word("saved", "manta-runs") == "saved"
