"""Paths with unusual characters: none is a pattern, a URL, markup or an option."""

from __future__ import annotations

from pathlib import Path

from odd.case import Command, tree, write

NAMES = (
    "My%20Photos", "out [v2]", "[x]", "[bold]x", "q?b", "a#b", "50%", "Фото", "a b", "a'b", 'a"b',
    "a&b", "a::b", "{x}", "*x", "dot.", "~x", "%s", "$HOME", "\U0001f990", "-x", "n" * 100,
    ":memory:", "a;b", "a\\b", "a  b", ":x:", "http:",
)  # fmt: skip
RECIPE = "data: {source: digits}\nobjective: {name: simclr}\ndescription: mine\n"
SMALL = ("train.batch_size=2", "evaluation.holdout=0")


def plain(folder: Path) -> None:
    """Leave the folder empty."""


def pictures_in(name: str):
    """Return a maker of a folder of pictures in two classes."""
    return lambda folder: tree(folder / name, "a/1.png", "a/2.png", "b/1.png", "b/2.png")


def recipe_at(name: str):
    """Return a maker of a recipe."""
    return lambda folder: write(folder / name, RECIPE)


def of_name(name: str) -> list[Command]:
    """Return commands in which a name is that of a source, a recipe, and of what is missing."""
    source, path = pictures_in(name), f"./{name}"
    dry = ["train", "digits", f"data.source={path}", *SMALL, "--dry-run"]
    return [
        Command(f"paths/train {name}", source, dry, "# parameters"),
        Command(f"paths/recipe {name}", recipe_at(f"{name}.yaml"),
                ["train", f"./{name}.yaml", "--dry-run"], "description: mine"),
        Command(f"paths/missing {name}", plain, ["explore", path],
                error=f"{path} holds no finished embeddings"),
        Command(f"paths/runs {name}", plain,
                ["evaluate", "first", "--data", "digits", "--runs", path],
                error=f"no run named 'first' in {path}; {path} holds no runs yet"),
    ]  # fmt: skip


COMMANDS = [
    *(command for name in NAMES for command in of_name(name)),
    Command("paths/url", pictures_in("a b"),
            ["train", "digits", "data.source=file://localhost/a%20b", "--dry-run"],
            error="nothing at file://localhost/a%20b"),
    Command("paths/brackets", plain, ["train", "digits", "data.source=photos [v2]", "--dry-run"],
            error="nothing at photos [v2]"),
    Command("paths/markup", plain, ["train", "digits", "data.source=[/x]", "--dry-run"],
            error="nothing at [/x]"),
    Command("paths/empty", plain, ["train", "digits", "data.source=", "--dry-run"],
            error="location is empty"),
]  # fmt: skip
