"""Parts of a dataset below the first folders, and lists that tell a part by name."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from itertools import islice

from manta.data.names import first_names, shown
from manta.data.sources._layout import (
    TEST,
    TRAIN,
    VALIDATION,
    divide,
    is_image_name,
    is_litter,
    is_own,
    leads_up,
    split_of,
)
from manta.files import Place

_MOST_FOLDERS, _MOST_ENTRIES, _DEEPEST = 64, 2000, 4
_UNSURE = frozenset(("dev", "eval", "evaluation", "prueba", "essai", "prova"))
"""Names of folders that tell a part only beside one of training."""
_LISTS = (".txt", ".csv", ".tsv", ".json", ".mat", ".lst")
_IN_TRAINING = re.compile(r"(?<![a-z])train(?:ing)?(?![a-z])")
_IN_OTHERS = re.compile(r"(?<![a-z])(?:test|val|valid|validation)(?![a-z])")
_TELLING = re.compile(r"(?<![a-z])(test|val|valid|validation|split|partition|setid)\d*(?![a-z])")


@dataclass(frozen=True)
class HeldOut:
    """Parts that lie deeper than the first folders.

    Attributes:
        folders: prefixes of the folders of each part but the training part.
        is_sure: whether one of them lies beside a folder of the training part.
        lists: names of files that may list a part.
        image: an image whose name tells a held-out part where others tell the training part.
    """

    folders: dict[str, list[str]] = field(default_factory=dict)
    is_sure: bool = False
    lists: list[str] = field(default_factory=list)
    image: str | None = None

    def other_than(self, part: str) -> tuple[str, ...]:
        """Return the prefixes of the folders of other parts."""
        return tuple(one for its, names in self.folders.items() if its != part for one in names)

    def notes(self, *, are_read: bool) -> list[str]:
        """Return lines on what is read though it may be held out.

        Args:
            are_read: whether no part was told apart.
        """
        if not are_read:
            return []
        names = [shown(name) for prefixes in self.folders.values() for name in prefixes]
        notes = []
        if names:
            notes.append(f"read too: {first_names(names)}; data.split=train leaves them out")
        if self.lists:
            listed = first_names([shown(name) for name in self.lists])
            notes.append(
                f"{listed} may name a test part, which is read too; a list of the training images "
                "as data.source leaves it out"
            )
        if self.image is not None:
            notes.append(
                f"images such as {shown(self.image)} are read too; a list of those of the training "
                "part as data.source leaves them out"
            )
        return notes


def find_held_out(root: Place, below: str) -> HeldOut:
    """Return the parts below a local folder, looking into its first sub-folders.

    Args:
        below: prefix of the folder that holds the data; lists may lie outside of it.
    """
    found = HeldOut()
    if not root.is_local:
        return found
    is_sure, waiting = False, deque([("", 0)])
    has_training, image = False, None
    for _ in range(_MOST_FOLDERS):
        if not waiting:
            break
        prefix, depth = waiting.popleft()
        folders, files = _entries(root, prefix)
        found.lists.extend(f"{prefix}{name}" for name in files if not is_image_name(name))
        for name in (name for name in files if is_image_name(name)):
            has_training = has_training or _IN_TRAINING.search(name.lower()) is not None
            if image is None and _IN_OTHERS.search(name.lower()):
                image = f"{prefix}{name}"
        is_inside = prefix.startswith(below)
        told = divide(folders) if is_inside else {}
        if len(told) > 1 and TRAIN in told:
            is_sure = True
        elif is_inside:
            told = _alone(folders)
        for part, names in told.items():
            if part != TRAIN:
                of_part = [f"{prefix}{name}/" for name in names]
                found.folders.setdefault(part, []).extend(of_part)
                folders = [name for name in folders if name not in names]
        if depth < _DEEPEST:
            waiting.extend((f"{prefix}{name}/", depth + 1) for name in folders)
    return HeldOut(found.folders, is_sure, sorted(found.lists), image if has_training else None)


def _entries(root: Place, prefix: str) -> tuple[list[str], list[str]]:
    """Return the sub-folders of a folder, sorted, and its images and files that may list a part."""
    place = root / prefix.rstrip("/") if prefix else root
    try:
        entries = sorted(islice(place.entries(), _MOST_ENTRIES))
    except OSError:
        return [], []
    folders = [name for name, is_dir in entries if is_dir and not is_litter(name)]
    folders = [name for name in folders if not (is_own(place / name) or leads_up(place / name))]
    lists = [name for name, is_dir in entries if not is_dir and _may_list(name)]
    images = [name for name, is_dir in entries if not is_dir and is_image_name(name)]
    return folders, [*lists, *images]


def _may_list(name: str) -> bool:
    lower = name.lower()
    return lower.endswith(_LISTS) and _TELLING.search(lower) is not None


def _alone(folders: list[str]) -> dict[str, list[str]]:
    """Return folders named as a held-out part where none beside them is of the training part."""
    told: dict[str, list[str]] = {}
    for name in folders if len(folders) > 1 else ():
        part = split_of(name)
        if part in (TEST, VALIDATION) and name.lower() not in _UNSURE:
            told.setdefault(part, []).append(name)
    return told
