"""Parquet as people have it: ways to hold images and labels, layouts of files."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from odd.case import Case, colour_of, encoded

COLOURS = [colour_of(number) for number in range(5)]
A, B, C = (encoded(colour) for colour in COLOURS[:3])
THREE = [A, B, C]
PIXELS = dict(enumerate(COLOURS[:3]))


def write(path: Path, columns: Any, features: Any = None, **options: Any) -> Path:
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    if features is not None:
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        table = table.replace_schema_metadata(metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


def one(columns: Callable[[], Any], features: Any = None) -> Callable[[Path], Path]:
    return lambda folder: write(folder / "x.parquet", columns(), features)


def case(name: str, columns: Callable[[], Any], features: Any = None, **expected: Any) -> Case:
    expected = {"rows": 3, "pixels": PIXELS, "labels": None} | expected
    if "error" in expected:
        expected = {key: expected[key] for key in expected if key in ("error", "options")}
    return Case(name=f"tables/{name}", make=one(columns, features), **expected)


def structs(data: list[Any]) -> list[Any]:
    return [{"bytes": one, "path": None} for one in data]


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def numbers(data: bytes) -> list[int]:
    return list(data)


def raw(shade: int) -> list[list[list[int]]]:
    return np.full((8, 6, 3), COLOURS[shade], np.uint8).tolist()


WAYS = [
    case("bytes", lambda: {"image": THREE}),
    case("large_binary", lambda: {"image": pa.array(THREE, pa.large_binary())}),
    case("binary_view", lambda: {"image": pa.array(THREE, pa.binary_view())}),
    case(
        "fixed_size_binary",
        lambda: {"image": pa.array([A.ljust(200, b"\0")] * 3, pa.binary(200))},
        pixels={2: COLOURS[0]},
    ),
    case("dictionary_of_bytes", lambda: {"image": pa.array(THREE).dictionary_encode()}),
    case("structs", lambda: {"image": structs(THREE)}),
    case("struct_with_bytes_alone", lambda: {"photo": [{"bytes": one} for one in THREE]}),
    case(
        "list_of_structs_is_a_row_each",
        lambda: {"images": [structs([A, B]), structs([C])], "label": [4, 9]},
        labels=[0, 0, 1],
        classes=["4", "9"],
    ),
    case("list_of_bytes", lambda: {"images": [[A], [B, C]]}),
    case(
        "empty_list",
        lambda: {"images": [structs([A]), [], structs([B])]},
        rows=2,
        pixels={1: COLOURS[1]},
        quarantined={"x.parquet#1": "list of images is empty"},
    ),
    case("base64", lambda: {"image": [text(one) for one in THREE]}),
    case("base64_in_lines", lambda: {"image": [base64.encodebytes(b).decode() for b in THREE]}),
    case(
        "base64_of_urls_without_padding",
        lambda: {"image": [base64.urlsafe_b64encode(b).decode().rstrip("=") for b in THREE]},
    ),
    case("data_urls", lambda: {"image": [f"data:image/png;base64,{text(b)}" for b in THREE]}),
    case("base64_in_structs", lambda: {"image": structs([text(one) for one in THREE])}),
    case("lists_of_uint8", lambda: {"image": pa.array(map(numbers, THREE), pa.list_(pa.uint8()))}),
    case("lists_of_int64", lambda: {"image": [numbers(one) for one in THREE]}),
    case(
        "lists_of_int8",
        lambda: {"image": [np.frombuffer(one, np.uint8).astype(np.int8).tolist() for one in THREE]},
    ),
    case("pixels_in_nested_lists", lambda: {"image": [raw(0), raw(1), raw(2)]}),
    case(
        "pixels_with_channels_first",
        lambda: {"image": [np.array(raw(n)).transpose(2, 0, 1).tolist() for n in range(3)]},
    ),
    case(
        "grey_pixels",
        lambda: {"image": [[[90] * 8] * 9, [[200] * 8] * 9, [[300] * 8] * 9]},
        rows=2,
        pixels={0: (90, 90, 90)},
        quarantined={"x.parquet#2": "pixels are not all from 0 to 255"},
    ),
    case(
        "nested_struct",
        lambda: {
            "sample": [{"image": {"bytes": b}, "meta": {"label": "ab"[b == A]}} for b in THREE]
        },
        labels=[1, 0, 0],
    ),
    case(
        "null_rows",
        lambda: {"image": [A, None, B], "label": [1, 1, None]},
        rows=2,
        labels=[0, None],
        pixels={1: COLOURS[1]},
        quarantined={"x.parquet#1": "null"},
    ),
    case(
        "null_structs",
        lambda: {"image": [None, {"bytes": None, "path": None}, {"bytes": B, "path": "b.png"}]},
        rows=1,
        pixels={0: COLOURS[1]},
        quarantined={"x.parquet#0": "null", "x.parquet#1": "null"},
    ),
    case("upper_case_name", lambda: {"Image": THREE, "md5": [b"x" * 16] * 3}),
    case("digests_are_no_images", lambda: {"scan": THREE, "sha256": [b"x" * 32] * 3}),
    case(
        "names_that_are_not_utf8",
        lambda: {
            "image": pa.StructArray.from_arrays(
                [pa.array(THREE), pa.array([b"a\xe9.png", b"b.png", b"c.png"]).view(pa.string())],
                ["bytes", "path"],
            )
        },
    ),
]

CHOICES = [
    case("two_image_columns", lambda: {"left": THREE, "right": THREE}, error="two image columns"),
    case(
        "two_image_columns_chosen",
        lambda: {"left": THREE, "right": THREE[::-1]},
        options={"column": "right"},
        pixels={0: COLOURS[2]},
    ),
    case(
        "mask_beside_image",
        lambda: {"mask": THREE[::-1], "image": THREE},
        notes=("images: image (also: mask; data.column chooses)",),
    ),
    case(
        "column_misspelt",
        lambda: {"image": THREE, "thumb": THREE},
        options={"column": "thum"},
        error="no column 'thum'; did you mean 'thumb'?",
    ),
    case(
        "column_that_is_no_image",
        lambda: {"image": THREE, "id": [1, 2, 3]},
        options={"column": "id"},
        error="column id of",
    ),
    case("no_images", lambda: {"id": [1], "size": [2.0]}, error="no column of images"),
    case(
        "declared_image_column",
        lambda: {"scan": structs(THREE), "thumbnail": THREE[::-1]},
        {"scan": {"_type": "Image"}, "thumbnail": {"_type": "Value", "dtype": "binary"}},
    ),
]


def labelled(name: str, values: Any, labels: Any, **expected: Any) -> Case:
    column = expected.pop("label_column", "label")
    return case(
        f"labels/{name}", lambda: {"image": THREE, column: values}, labels=labels, **expected
    )


LABELS = [
    labelled("strings", ["b", "a", "b"], [1, 0, 1], classes=["a", "b"]),
    labelled("uint64_beyond_long", pa.array([2**63 + 5, 7, 7], pa.uint64()), [1, 0, 0]),
    labelled("booleans", [True, False, None], [1, 0, None]),
    labelled("whole_floats", [2.0, None, 5.0], [0, None, 1], classes=["2", "5"]),
    labelled("measurements", [0.25, 0.5, 0.75], None, notes=("measurements",)),
    labelled("decimals", [Decimal("3.00"), Decimal("1.00"), None], [1, 0, None]),
    labelled("dictionary", pa.array(["x", "y", "x"]).dictionary_encode(), [0, 1, 0]),
    labelled("dates", pa.array([0, 400, 0], pa.date32()), [0, 1, 0]),
    labelled("large_strings", pa.array(["x", "", "w"], pa.large_string()), [1, None, 0]),
    labelled("minus_one_is_none", [-1, 3, 8], [None, 0, 1]),
    labelled(
        "not_utf8",
        pa.array([b"caf\xe9", b"tea", b"caf\xe9"]).view(pa.string()),
        [0, 1, 0],
        classes=[r"caf\xe9", "tea"],
    ),
    labelled("all_null", pa.nulls(3), None),
    labelled("lists", [[1, 2], [3], []], None, notes=("does not hold one a row",)),
    labelled("int8", pa.array([5, 5, 6], pa.int8()), [0, 0, 1]),
    labelled("named_target", [1, 0, 1], [1, 0, 1], label_column="target"),
    labelled("named_Class", ["u", "v", "v"], [0, 1, 1], label_column="Class"),
    labelled(
        "of_another_name",
        ["u", "v", "v"],
        [0, 1, 1],
        label_column="bird",
        options={"labels": "bird"},
    ),
    labelled("not_wanted", [0, 1, 1], None, options={"labels": "none"}),
    labelled("misspelt", [0, 1, 1], [], options={"labels": "lable"}, error="did you mean 'label'?"),
    case(
        "labels/fine_and_coarse",
        lambda: {"image": THREE, "coarse_label": [0, 0, 1], "fine_label": [5, 6, 7]},
        labels=[0, 1, 2],
        notes=("labels: fine_label (also: coarse_label; data.labels chooses)",),
    ),
    case(
        "labels/declared_names",
        lambda: {"image": structs(THREE), "kind": [1, 0, -1]},
        {"kind": {"names": ["cat", "dog", "owl"], "_type": "ClassLabel"}},
        labels=[1, 0, None],
        classes=["cat", "dog", "owl"],
    ),
    case(
        "labels/declared_names_in_a_struct",
        lambda: {"image": structs(THREE), "meta": [{"label": n} for n in (1, 0, 1)]},
        {"meta": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}},
        labels=[1, 0, 1],
        classes=["cat", "dog"],
    ),
]


CASES: list[Case] = [*WAYS, *CHOICES, *LABELS]
