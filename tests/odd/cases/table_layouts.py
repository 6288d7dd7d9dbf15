"""Folders of Parquet as people have them: parts, partitions, other files, broken ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from odd.case import Case, colour_of, encoded
from odd.cases.tables import PIXELS, THREE, A, B, C, write

COLOURS = [colour_of(number) for number in range(5)]


def beside(folder: Path) -> Path:
    for number, data in enumerate(THREE):
        (folder / "images").mkdir(exist_ok=True)
        (folder / "images" / f"{number}.png").write_bytes(data)
    paths = [f"images/{number}.png" for number in range(3)]
    images = [{"bytes": None, "path": path} for path in [*paths, "images/gone.png"]]
    return write(folder / "x.parquet", {"image": images, "label": [0, 1, 1, 0]})


def paths_of_photographs(folder: Path) -> Path:
    for number in range(5):
        (folder / f"{number}.png").write_bytes(encoded(COLOURS[number]))
    names = [f"{number}.png" for number in range(5)]
    write(folder / "metadata.parquet", {"file_name": names, "label": list("abbab")})
    return folder


def photographs_beside(folder: Path) -> Path:
    for number in range(5):
        (folder / f"{number}.png").write_bytes(encoded(COLOURS[number]))
    write(folder / "x.parquet", {"image": THREE})
    return folder


def unrelated_beside(folder: Path) -> Path:
    for number in range(5):
        (folder / f"{number}.png").write_bytes(encoded(COLOURS[number]))
    write(folder / "embeddings.parquet", {"x": [0.5, 0.25]})
    return folder


def parts(folder: Path) -> Path:
    for number, name in enumerate(["train-00000-of-00002", "train-00001-of-00002", "test-0"]):
        write(folder / "data" / f"{name}.parquet", {"image": [THREE[number]], "label": [number]})
    (folder / "README.md").write_text("# A dataset\n")
    return folder


def stems(folder: Path) -> Path:
    for number, name in enumerate(["mnist_train", "mnist_test"]):
        write(folder / f"{name}.parquet", {"image": [THREE[number]]})
    return folder


def hive(folder: Path) -> Path:
    for number, name in enumerate(["split=train/label=cat", "split=train/label=a%20dog"]):
        write(folder / name / "part-0.parquet", {"image": [THREE[number]]})
    write(folder / "split=test" / "label=cat" / "part-0.parquet", {"image": [C]})
    (folder / "_SUCCESS").write_bytes(b"")
    return folder


def column_of_splits(folder: Path) -> Path:
    columns = {"image": THREE, "label": [0, 1, 1], "split": ["train", "test", "train"]}
    return write(folder / "x.parquet", columns)


def mixed(folder: Path) -> Path:
    write(folder / "a.parquet", {"image": [A], "label": ["x"]})
    write(folder / "b.parquet", {"img": [B], "label": ["y"]})
    write(folder / "meta.parquet", {"id": [1]})
    return folder


def other_names(folder: Path) -> Path:
    for number, names in enumerate([["cat", "dog"], ["dog", "cat"]]):
        features = {"label": {"names": names, "_type": "ClassLabel"}}
        columns = {"image": [THREE[number]], "label": [0]}
        write(folder / f"{number}.parquet", columns, features)
    return folder


def broken_beside(folder: Path) -> Path:
    write(folder / "a.parquet", {"image": THREE})
    whole = (folder / "a.parquet").read_bytes()
    (folder / "b.parquet").write_bytes(whole[:-20])
    (folder / "c.parquet").write_bytes(b"")
    return folder


def torn(folder: Path) -> Path:
    noise = [encoded(colour_of(n)) + bytes(np.random.default_rng(n).bytes(4000)) for n in range(6)]
    path = write(folder / "x.parquet", {"image": noise}, row_group_size=3, use_dictionary=False)
    content = bytearray(path.read_bytes())
    footer = pq.ParquetFile(path).metadata.row_group(1).column(0)
    content[footer.data_page_offset : footer.data_page_offset + 40] = b"\xff" * 40
    path.write_bytes(bytes(content))
    return path


def nothing(folder: Path) -> Path:
    return write(folder / "x.parquet", pa.table({"image": pa.array([], pa.binary())}))


def not_a_table(folder: Path) -> Path:
    (folder / "x.parquet").write_bytes(b"")
    return folder / "x.parquet"


def upper_case(folder: Path) -> Path:
    write(folder / "X.PARQUET", {"image": THREE})
    return folder


def spark(folder: Path) -> Path:
    for number in range(2):
        write(folder / "x.parquet" / f"part-{number}.snappy.parquet", {"image": [THREE[number]]})
    (folder / "x.parquet" / "_SUCCESS").write_bytes(b"")
    (folder / "x.parquet" / "_metadata").write_bytes(b"")
    return folder / "x.parquet"


def doubled(folder: Path) -> Path:
    table = pa.Table.from_arrays([pa.array([A]), pa.array([B])], names=["image", "image"])
    return write(folder / "x.parquet", table)


def class_folders(folder: Path) -> Path:
    for number, name in enumerate(["dog", "cat"]):
        write(folder / name / "x.parquet", {"image": [THREE[number]]})
    return folder


def pattern(folder: Path) -> str:
    for number, name in enumerate(["a [1]", "a [2]", "b"]):
        write(folder / "in [v2]" / f"{name}.parquet", {"image": [THREE[number]]})
    return f"{folder}/in [v2]/a*.parquet"


def a_picture_of_the_readme(folder: Path) -> Path:
    (folder / "teaser.png").write_bytes(encoded())
    write(folder / "data" / "x.parquet", {"image": THREE})
    return folder


def workbook(folder: Path) -> Path:
    (folder / "x.xlsx").write_bytes(b"PK")
    return folder / "x.xlsx"


def packed(folder: Path) -> Path:
    (folder / "x.zip").write_bytes(b"PK")
    return folder / "x.zip"


CASES: list[Case] = [
    Case(
        "tables/paths_beside",
        beside,
        rows=3,
        labels=[0, 1, 1],
        pixels=PIXELS,
        quarantined={"images/gone.png": "No such file"},
    ),
    Case(
        "tables/photographs_and_their_table", paths_of_photographs, rows=5, labels=[0, 1, 1, 0, 1]
    ),
    Case("tables/photographs_and_others", photographs_beside, error="image files (0.png)"),
    Case(
        "tables/photographs_and_another_table",
        unrelated_beside,
        rows=5,
        quarantined={"embeddings.parquet": "not an image"},
    ),
    Case("tables/parts", parts, rows=2, labels=[0, 1], pixels={1: COLOURS[1]}),
    Case("tables/parts_test", parts, rows=1, pixels={0: COLOURS[2]}, options={"split": "test"}),
    Case("tables/parts_all", parts, rows=3, options={"split": "all"}),
    Case("tables/parts_missing", parts, error="no part 'val'", options={"split": "val"}),
    Case("tables/part_within_a_name", stems, rows=1, pixels={0: COLOURS[0]}),
    Case(
        "tables/hive", hive, rows=2, labels=[0, 1], classes=["a dog", "cat"], pixels={0: COLOURS[1]}
    ),
    Case(
        "tables/column_of_splits", column_of_splits, rows=2, labels=[0, 1], pixels={1: COLOURS[2]}
    ),
    Case(
        "tables/column_of_splits_test",
        column_of_splits,
        rows=1,
        pixels={0: COLOURS[1]},
        options={"split": "test"},
    ),
    Case(
        "tables/mixed_columns",
        mixed,
        rows=2,
        labels=[0, 1],
        notes=("other columns in b.parquet: img, label", "left out: meta.parquet"),
    ),
    Case("tables/other_order_of_names", other_names, rows=2, labels=[0, 1], classes=["cat", "dog"]),
    Case(
        "tables/broken_beside",
        broken_beside,
        rows=3,
        quarantined={"b.parquet": "not a readable Parquet", "c.parquet": "not a readable"},
    ),
    Case("tables/torn_page", torn, rows=3, quarantined={"x.parquet#3": "broken from here"}),
    Case("tables/no_rows", nothing, error="has no rows"),
    Case("tables/zero_bytes", not_a_table, error="not a readable Parquet"),
    Case("tables/upper_case_suffix", upper_case, rows=3),
    Case("tables/spark", spark, rows=2, pixels={1: COLOURS[1]}),
    Case("tables/two_columns_of_one_name", doubled, error="has two columns named 'image'"),
    Case(
        "tables/class_folders",
        class_folders,
        rows=2,
        labels=[0, 1],
        classes=["cat", "dog"],
        pixels={0: COLOURS[1]},
        options={"labels": "folders"},
    ),
    Case("tables/pattern_below_marks", pattern, rows=2, pixels={1: COLOURS[1]}),
    Case("tables/a_picture_of_the_readme", a_picture_of_the_readme, rows=3, labels=None),
    Case("tables/workbook", workbook, error="save it as .csv"),
    Case("tables/zip", packed, error="unpack it into a folder"),
]
