"""Tables of several files, and columns that tell the parts of a dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

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


def half_named(folder: Path, *labels: int | str) -> Path:
    write(folder / "a.parquet", {"image": [A, B], "label": [1, 0]}, features("dog", "cat"))
    return write(folder / "b.parquet", {"image": [C] * len(labels), "label": list(labels)}).parent


def splits(*values: Any, column: str = "split") -> Callable[[Path], Path]:
    images = (THREE * 2)[: len(values)]
    return lambda folder: write(folder / "x.parquet", {"image": images, column: list(values)})


def listed(*values: str, column: str = "split") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        rows = [f"path,label,{column}"]
        for number, value in enumerate(values):
            (folder / f"{number}.png").write_bytes(THREE[number])
            rows.append(f"{number}.png,cat,{value}")
        (folder / "all.csv").write_text("\n".join(rows))
        return folder / "all.csv"

    return make


def listed_by_folder(folder: Path, *folders: str) -> Path:
    rows = ["file_name,label"]
    for number, name in enumerate(folders):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / f"{number}.png").write_bytes(THREE[number])
        rows.append(f"{name}/{number}.png,{'ab'[number % 2]}")
    (folder / "metadata.csv").write_text("\n".join(rows))
    return folder


def torn_split(folder: Path) -> Path:
    for number, part in enumerate(("train", "test", "train")):
        columns = {"image": THREE, "split": [part] * 3}
        write(folder / f"{number}.parquet", columns, compression="none", use_dictionary=False)
    path = folder / "2.parquet"
    chunk = pq.read_metadata(path).row_group(0).column(1)
    data = bytearray(path.read_bytes())
    start = chunk.data_page_offset
    data[start : start + 12] = b"\xff" * 12
    path.write_bytes(bytes(data))
    return folder


FER = ("Training", "PublicTest", "PrivateTest", "Training")

PARTS = [
    Case(
        "tables/numbers_beside_names",
        lambda folder: half_named(folder, 0, 1, -1),
        rows=5,
        labels=[1, 0, 0, 1, None],
        classes=["dog", "cat"],
        notes=("labels of b.parquet are numbers: read as places among the names",),
    ),
    Case(
        "tables/numbers_beyond_the_names",
        lambda folder: half_named(folder, 0, 7),
        rows=4,
        labels=[1, 2, 2, 0],
        classes=["7", "cat", "dog"],
    ),
    Case(
        "tables/words_beside_names",
        lambda folder: half_named(folder, "cat", "owl"),
        rows=4,
        labels=[0, 1, 0, 2],
        classes=["cat", "dog", "owl"],
    ),
    Case(
        "tables/unknown_split",
        splits("train", "test", "gallery", None),
        rows=2,
        pixels={1: COLOURS[0]},
        splits={"train": 2, "test": None},
        notes=("left out: rows whose split is gallery",),
    ),
    Case(
        "tables/unknown_split_beside_one",
        splits("train", "train", "gallery"),
        rows=2,
        notes=("left out: rows whose split is gallery",),
    ),
    Case(
        "tables/unknown_split_without_train",
        splits("gallery", "test", "query"),
        rows=2,
        pixels={1: COLOURS[2]},
        notes=("read as training rows: those whose split is gallery, query",),
    ),
    Case("tables/fer2013", splits(*FER, column="Usage"), rows=2, splits={"train": 2, "val": None}),
    Case(
        "tables/fer2013_test",
        splits(*FER, column="Usage"),
        rows=1,
        pixels={0: COLOURS[2]},
        options={"split": "test"},
    ),
    Case("tables/hold_out", splits("train", "hold_out", "hold-out"), rows=1),
    Case(
        "tables/split_of_folds",
        splits("0", "1", "2"),
        rows=3,
        notes=("column split is not understood as a split: 0, 1, 2",),
    ),
    Case("tables/is_test", splits(True, False, True, column="is_test"), rows=1),
    Case("tables/is_valid", splits(False, True, None, column="is_valid"), rows=2),
    Case(
        "tables/is_train_test",
        splits(True, False, True, column="is_train"),
        rows=1,
        pixels={0: COLOURS[1]},
        options={"split": "test"},
    ),
    Case(
        "tables/is_test_in_numbers",
        splits(1, 0, 1, column="is_test"),
        rows=3,
        notes=("column is_test is not understood as a split",),
    ),
    Case(
        "tables/split_in_numbers",
        splits(1, 0, 1),
        rows=3,
        notes=("column split is not understood as a split",),
    ),
    Case(
        "tables/torn_page_of_splits",
        torn_split,
        rows=3,
        splits={"train": 3, "test": None},
        quarantined={"2.parquet#0": "broken"},
    ),
    Case(
        "lists/unknown_split",
        listed("train", "test", "gallery"),
        rows=1,
        notes=("left out: rows whose split is gallery",),
    ),
    Case("lists/is_valid", listed("False", "True", "False", column="is_valid"), rows=2),
    Case(
        "lists/is_valid_in_numbers",
        listed("0", "1", "0", column="is_valid"),
        rows=3,
        notes=("column is_valid is not understood as a split",),
    ),
    Case(
        "metadata_list/paths_tell_parts",
        lambda folder: listed_by_folder(folder, "train", "test", "train"),
        rows=2,
        labels=[0, 0],
        splits={"train": 2, "test": None},
    ),
    Case(
        "metadata_list/paths_of_test",
        lambda folder: listed_by_folder(folder, "train", "test", "train"),
        rows=1,
        pixels={0: COLOURS[1]},
        options={"split": "test"},
    ),
    Case(
        "metadata_list/paths_tell_no_parts",
        lambda folder: listed_by_folder(folder, "train", "test", "more"),
        rows=3,
    ),
]
CASES = [
    *PARTS,
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
