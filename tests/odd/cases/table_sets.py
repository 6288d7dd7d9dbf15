"""Tables of several files, and columns that tell the parts of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from odd.case import Case, colour_of
from odd.cases.tables import THREE, A, B, C, write

COLOURS = [colour_of(number) for number in range(3)]


def features(*names: str) -> dict[str, Any]:
    return {"label": {"names": list(names), "_type": "ClassLabel"}}


def doubled(folder: Path) -> Path:
    columns = {"image": THREE, "label": [0, 1, 2]}
    return write(folder / "x.parquet", columns, features("crane", "dog", "crane"))


def doubled_in_two(folder: Path) -> Path:
    names = [("crane", "dog", "crane"), ("dog", "crane", "crane")]
    for number, declared in enumerate(names):
        columns = {"image": [A, B, C], "label": [0, 1, 2]}
        write(folder / f"{number}.parquet", columns, features(*declared))
    return folder


CASES = [
    Case(
        "tables/two_classes_of_one_name",
        doubled,
        rows=3,
        labels=[0, 1, 2],
        classes=["crane", "dog", "crane"],
        notes=("3 classes (crane 1, dog 1, crane (2) 1)",),
    ),
    Case(
        "tables/two_classes_of_one_name_in_two_files",
        doubled_in_two,
        rows=6,
        labels=[0, 1, 2, 1, 0, 2],
        classes=["crane", "dog", "crane"],
    ),
]
