"""Settings that are texts, as users type them."""

from __future__ import annotations

from pathlib import Path

from odd.case import Command, tree, write

RECIPE = """
description: 2024
data: {source: on}
objective: {name: simclr}
tracking: {experiment: 1e3, tags: {run: 007, done: yes}}
"""


def plain(folder: Path) -> None:
    """Leave the folder empty."""


def pictures_in(name: str):
    """Return a maker of a folder of pictures."""
    return lambda folder: tree(folder / name, "a/1.png", "a/2.png", "b/1.png", "b/2.png")


def recipe(text: str):
    """Return a maker of a recipe."""

    def make(folder: Path) -> None:
        pictures_in("on")(folder)
        write(folder / "mine.yaml", text)

    return make


def dry(*words: str) -> list[str]:
    return ["train", "digits", *words, "--dry-run"]


def missing(text: str) -> Command:
    """Return the command that is told of a source that is not there, by the name that was typed."""
    return Command(f"text/none {text}", plain, dry(f"data.source={text}"), error=f"at {text};")


def there(text: str) -> Command:
    """Return the command that finds a source by the name that was typed."""
    words = dry(f"data.source={text}", "train.batch_size=2", "evaluation.holdout=0")
    return Command(f"text/there {text}", pictures_in(text), words, "# parameters")


MISSING = ("2024", "on", "yes", "null", "1e3", "[raw]", "trip: 1", "@x", "{a}", "&a", "!x", "a # b",
           "${x}", "${train.epochs}", "%s", "007", "`x`", "- a", "it's", "#1", "12:30")  # fmt: skip
THERE = ("2024", "on", "[raw]", "trip: 1", "@x", "a # b", "${x}", "{a}", "1.10", "null")

COMMANDS = [
    *map(missing, MISSING),
    *map(there, THERE),
    Command("text/pattern", plain, dry("data.source=*.parquet"), error="*.parquet"),
    Command("text/quoted", pictures_in("a b"), dry("data.source='a b'"), "source: a b"),
    Command("text/experiment", plain, dry("tracking.experiment=2024"), "experiment: '2024'"),
    Command("text/tag", plain, dry("tracking.tags.done=yes"), "done: 'yes'"),
    Command("text/tags", plain, dry("tracking.tags={a: 1.10, b: null}"), "a: '1.10'"),
    Command("text/null", plain, dry("data.cache_dir=null"), "cache_dir: null"),
    Command("text/file", recipe(RECIPE), ["train", "mine.yaml", "--dry-run"], "source: 'on'"),
    Command("text/file_tag", recipe(RECIPE), ["train", "mine.yaml", "--dry-run"], "run: '007'"),
    Command("text/number", plain, dry("train.epochs=1e0"), "epochs: 1.0"),
    Command("text/no_number", plain, dry("train.epochs=@x"), error="is not YAML; put quotes"),
    Command("text/reference", plain, dry("watch.every=${train.epochs}"), "watch:"),
    Command("text/study", plain,
            ["tune", "temperature", "--recipe", "digits", "study.storage=@x", "study.trials=0"],
            error="study.trials: Input should be greater"),
]  # fmt: skip
