"""Words that are names and paths at once: folders called like recipes, spaces, models and runs."""

from __future__ import annotations

import shutil
from pathlib import Path

from odd.case import Command, tree, write

FOLDERS = ("photos", "digits", "manta-runs", "temperature", "first", "knn", "resnet18", "search")
RECIPE = "description: my own\ndata: {source: digits}\nobjective: {name: byol}\n"
SPACE = "space:\n  optimizer.lr: {type: float, low: 1e-4, high: 1e-2, log: true}\n"


def crowded(folder: Path) -> None:
    """Make folders of pictures that are called like much that Manta knows."""
    for name in FOLDERS:
        tree(folder / name, "a/1.png", "a/2.png", "b/1.png", "b/2.png")


def with_file(name: str, text: str = RECIPE):
    """Return a maker of the folders and a file."""

    def make(folder: Path) -> None:
        crowded(folder)
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        write(folder / name, text)

    return make


def plain(folder: Path) -> None:
    """Leave the folder empty."""


def dry(*words: str) -> list[str]:
    return ["train", *words, "--dry-run"]


CHOSEN = "is taken for the recipe of that name; write ./"
SMALL = ("train.batch_size=2", "evaluation.holdout=0")

COMMANDS = [
    Command("names/photos", crowded, dry("photos", "data.source=./photos"), "source: ./photos"),
    Command("names/photos_said", crowded, dry("photos", "data.source=./photos"), f"{CHOSEN}photos"),
    Command("names/digits", crowded, dry("digits"), "source: digits"),
    Command("names/digits_said", crowded, dry("digits"),
            "digits is taken for the data that ship; write ./digits for what lies here"),
    Command("names/digits_rows", crowded, dry("digits", "data.source=./digits"), "./digits"),
    Command("names/objective", crowded, dry("digits", "objective.name=byol"), "name: byol"),
    Command("names/file", with_file("digits"), dry("digits"), f"{CHOSEN}digits for what lies here"),
    Command("names/file_meant", with_file("digits"), dry("./digits"), "description: my own"),
    Command("names/file_alone", with_file("own"), dry("own"), "description: my own"),
    Command("names/suffix", with_file("photos.yaml"), dry("photos.yaml"), "description: my own"),
    Command("names/suffix_none", crowded, dry("photos.yaml"), error="no recipe at photos.yaml"),
    Command("names/own_recipes", with_file("jobs/recipes/x.yaml"), dry("x"), "my own"),
    Command("names/own_recipes_ship", with_file("jobs/recipes/x.yaml"), dry("digits"), "digits"),
    Command("names/folder", crowded, dry("knn"), error="knn is a folder, and no recipe"),
    Command("names/folder_path", crowded, dry("./photos"), error="photos is a folder, and"),
    Command("names/none", crowded, dry("nothing"), error="nothing.yaml; `manta list recipes`"),
    Command("names/run_none", crowded, ["evaluate", "first", "--data", "digits"],
            error="no run named 'first' in manta-runs; manta-runs holds no runs yet"),
    Command("names/run_path", crowded, ["evaluate", "./photos", "--data", "digits"],
            error="no run named './photos'"),
    Command("names/run_timm", crowded, ["evaluate", "resnet18", "--data", "digits"],
            error="timm's model of that name is timm:resnet18"),
    Command("names/compare", crowded, ["compare", "first", "./first", "--data", "digits"],
            error="no run named 'first'"),
    Command("names/export", crowded, ["export", "first", "out"], error="no run named 'first'"),
    Command("names/register", crowded, ["register", "photos", "--name", "m"],
            error="no run named 'photos'"),
    Command("names/study", crowded, ["study", "temperature"], error="no study named 'temperature'"),
    Command("names/space", crowded, ["tune", "temperature", "--recipe", "digits", "study.trials=0"],
            error="study.trials: Input should be greater"),
    Command("names/space_path", crowded, ["tune", "./temperature", "--recipe", "digits"],
            error="no search space at temperature"),
    Command("names/space_file", with_file("mine", SPACE),
            ["tune", "mine", "--recipe", "digits", "study.trials=0"], error="study.trials: Input"),
    Command("names/own_spaces", with_file("search_spaces/x.yaml", SPACE),
            ["tune", "joint", "--recipe", "digits", "study.seed=-1"], error="study.seed: Input"),
    Command("names/list", with_file("jobs/recipes/x.yaml", "description: 2024\n"),
            ["list", "recipes"], "2024"),
    Command("names/list_odd", with_file("jobs/recipes/x.yaml", "- ["), ["list", "recipes"],
            "cannot be read"),
    Command("names/explore", crowded, ["explore", "photos"],
            error="photos holds no finished embeddings"),
    Command("names/embed", crowded, ["embed", "first", "--data", "digits", "--out", "out"],
            error="no run named 'first'"),
    Command("names/embed_data", crowded, ["embed", "first", "--data", "nothing", "--out", "out"],
            error="no run named 'first'"),  # a model says how data are read, so it comes first
    Command("names/ingest", crowded, ["ingest", "nothing", "out.manta"],
            error="nothing at nothing"),
    Command("names/ingest_dry", crowded, ["ingest", "[v2]", "--dry-run", "out.manta"],
            error="nothing at [v2]"),
    Command("names/train_data", crowded, ["train", "photos", "data.source=photo", "--name", "x"],
            error="nothing at photo"),
    Command("names/tune_data", crowded,
            ["tune", "temperature", "--recipe", "digits", "data.source=photo"],
            error="nothing at photo"),
    Command("names/resume", crowded,
            ["train", "photos", "data.source=./photos", "--name", "first", "--resume", *SMALL],
            error="no run 'first'"),
]  # fmt: skip
