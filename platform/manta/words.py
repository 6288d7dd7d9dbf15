"""Words of users that may be a name or a path, and the one rule that tells them apart.

A bare word is a name: of a recipe, a search space, a run, a study or a model. A path has a slash,
and that of a file a suffix too. What is nothing by the rule is looked for the other way, and
`./photos` is always the path.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable

_OF_PATHS = ("/", "./", "../", "~")


def is_path(word: str) -> bool:
    """Return whether a word is a path or a URL in any case, and never a name."""
    return word in (".", "..") or word.startswith(_OF_PATHS) or "://" in word


def places(word: str, named: str, *, of_file: bool = False) -> list[str]:
    """Return where a word may lie, the likelier place first.

    Args:
        named: where it lies if it is a name.
        of_file: it means a file, whose path may be told by its suffix.
    """
    if is_path(word):
        return [word]
    looks_like_path = "/" in word or (of_file and os.path.splitext(word)[1] != "")
    return [word, named] if looks_like_path else [named, word]


def choice(
    word: str, places: list[str], noun: str, exists: Callable[[str], bool] = os.path.exists
) -> str | None:
    """Return a line on which of two places is meant; None where there are not both.

    Args:
        places: from `places`.
        noun: of what has the name, such as "run".
    """
    there = [place for place in places if exists(place)]
    if len(there) < 2 or os.path.realpath(there[0]) == os.path.realpath(there[1]):
        return None
    if there[0] == word:
        return f"{word} is taken for the path; write {there[1]} for the {noun} of that name"
    return f"{word} is taken for the {noun} of that name; write ./{word} for what lies here"


def as_path(location: str | os.PathLike[str]) -> str:
    """Return the word for a location that is a path for sure, such as a `pathlib.Path`."""
    word = os.fspath(location)
    bare = not is_path(word) and "/" not in word
    return f"./{word}" if bare and not isinstance(location, str) else word


def in_shell(path: str) -> str:
    """Return a path as it is written in a shell's command: in quotes, and never an option."""
    return shlex.quote(f"./{path}" if path.startswith("-") else path)
