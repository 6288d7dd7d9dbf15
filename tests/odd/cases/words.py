"""Mistyped words of a command: one line that says where help is."""

from __future__ import annotations

from odd.case import Command


def nothing(_folder: object) -> None:
    """Leave the folder empty."""


def said(name: str, *words: str, error: str) -> Command:
    return Command(f"words/{name}", nothing, words, error=error)


COMMANDS = [
    said("option", "train", "digits", "--nmae", "x", error="No such option: --nmae"),
    said("command", "trian", "digits", error="Did you mean 'train'?"),
    said("no_recipe", "train", error="Missing argument 'recipe'"),
    said("no_data", "evaluate", "first", error="Missing option '--data'"),
    said("flag_with_value", "train", "digits", "--resume=3", error="does not take a value"),
    said("no_number", "ingest", "a", "b", "--max-side", "big", error="unable to parse string as"),
    said("kind", "list", "recipe", error="'recipe' can be listed"),
    said("surplus", "doctor", "now", error="unexpected extra argument"),
]
