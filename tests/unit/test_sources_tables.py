"""Cells of tables as images and labels, and the choice of columns."""

from __future__ import annotations

import base64
import datetime
import io
import json
import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from manta.data.labels import as_text, number_classes
from manta.data.sources import SourceOptions, open_source
from manta.data.sources._columns import NoImages, choose
from manta.data.sources._values import NULL, Cell, cells, from_text, label_of, labels, word_label
from manta.data.understanding import understand
from manta.errors import DataError
from manta.modalities.image import verify

Png = Callable[..., bytes]


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (3, 3),
        (True, 1),
        (2**63 - 1, 2**63 - 1),
        (2**63 + 5, "9223372036854775813"),
        (-(2**63) - 1, "-9223372036854775809"),
        (2.5, 2.5),
        (math.nan, None),
        (Decimal("4.00"), 4),
        (Decimal("4.25"), 4.25),
        (" cat ", "cat"),
        ("", None),
        ("  ", None),
        (None, None),
        (b"dog\n", "dog"),
        (datetime.date(2024, 5, 1), "2024-05-01"),
    ],
)
def test_labels_as_found(value: Any, label: Any) -> None:
    assert label_of(value) == label


@pytest.mark.parametrize(
    ("text", "label"),
    [("7\n", 7), ("07", "07"), ("-1", -1), ("1.0", "1.0"), ("a b", "a b"), ("", None)],
)
def test_labels_as_words(text: str, label: Any) -> None:
    assert word_label(text) == label


@pytest.mark.parametrize(
    "column",
    [
        pa.array([7, None, 9], pa.uint64()),
        pa.array([7, None, 9]).dictionary_encode(),
        pa.compute.run_end_encode(pa.array([7, None, 9])),
        pa.array([7.0, None, 9.0]),
        pa.array([Decimal(7), None, Decimal(9)]),
    ],
    ids=lambda column: str(column.type)[:12],
)
def test_labels_of_arrow_types(column: Any) -> None:
    assert labels(column) == [7, None, 9]


def test_text_that_is_no_utf8_is_shown() -> None:
    column = pa.array([b"caf\xe9"]).view(pa.string())
    assert [as_text(label) for label in labels(column)] == [r"caf\xe9"]


def test_text_is_an_image_or_a_path(make_png: Png) -> None:
    png = make_png(3)
    letters = base64.b64encode(png).decode()
    for text in (
        letters,
        letters.rstrip("="),
        base64.urlsafe_b64encode(png).decode(),
        f" {letters}\n",
    ):
        assert from_text(text).data == png
    assert from_text(f"data:image/png;base64,{letters}").data == png
    assert from_text("data:image/svg+xml,%3Csvg%3E").data == b"<svg>"
    assert from_text("data:image/png;base64,!!").reason == "its data URL is broken"
    for path in ("a/b.png", "AAAA/BBBB/CCCC/DDDD/EEEE/FFFF", "https://example.org/a.png"):
        assert from_text(path).path == path
    assert from_text("words, words! " * 400).reason is not None
    assert from_text("  ").reason == "the image column is empty"


def test_numbers_are_bytes_or_pixels(make_png: Png) -> None:
    png = make_png(1)
    signed = pa.array([np.frombuffer(png, np.int8).tolist()], pa.list_(pa.int8()))
    assert next(cells(signed))[0].data == png
    grey = next(cells(pa.array([[[0, 255], [128, 7]]])))[0]
    assert np.asarray(verify(grey.data or b""))[..., 0].tolist() == [[0, 255], [128, 7]]
    planes = np.arange(3 * 5 * 6).reshape(3, 5, 6)
    colour = next(cells(pa.array([planes.tolist()])))[0]
    assert np.array_equal(np.asarray(verify(colour.data or b"")), planes.transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([[[1, 2], [3]]], "not all of one length"),
        ([[[1, 300]]], "not all from 0 to 255"),
        ([[300, 2]], "not bytes"),
        ([[None, 2]], "a byte of the list is null"),
        ([[[[1] * 7] * 7] * 7], "pixels of the shape [7, 7, 7]"),
    ],
)
def test_numbers_that_are_neither(value: Any, reason: str) -> None:
    (cell,) = next(cells(pa.array(value)))
    assert cell.data is None
    assert reason in str(cell.reason)


def chosen(columns: dict[str, Any], features: Any = None, **options: str) -> tuple[str, str | None]:
    schema = pa.table(columns).schema
    if features is not None:
        content = json.dumps({"info": {"features": features}})
        schema = schema.with_metadata({"huggingface": content})
    found = choose(schema, SourceOptions(**options), "x.parquet")
    return found.image, found.label


X = [b"x"]


@pytest.mark.parametrize(
    ("columns", "options", "expected"),
    [
        ({"image": X, "mask": X, "label": [1]}, {}, ("image", "label")),
        ({"image": X, "mask": X}, {"column": "mask"}, ("mask", None)),
        ({"photo": X, "md5": X}, {}, ("photo", None)),
        ({"any": X, "Class": ["a"]}, {}, ("any", "Class")),
        ({"any": X, "y": [1], "label": [1]}, {}, ("any", "label")),
        ({"any": X, "y": [1]}, {"labels": "none"}, ("any", None)),
        ({"any": X, "breed_id": [1]}, {"labels": "breed_id"}, ("any", "breed_id")),
        ({"image": ["a.png"], "path": ["b"]}, {}, ("image", None)),
        ({"file_name": ["a.png"], "text": ["b"]}, {}, ("file_name", None)),
        ({"s": [{"image": b"x", "label": 1}]}, {}, ("s.image", "s.label")),
        ({"image": X, "label": X}, {}, ("image", None)),
        ({"image": X, "label": X}, {"labels": "label"}, ("image", "label")),
        ({"image": X, "labels": [[1]], "cls": [1]}, {}, ("image", "cls")),
    ],
)
def test_choice_of_columns(
    columns: dict[str, Any], options: dict[str, str], expected: tuple[str, str | None]
) -> None:
    assert chosen(columns, **options) == expected


def test_declared_features_choose() -> None:
    features = {"a": {"_type": "Image"}, "kind": {"_type": "ClassLabel", "names": ["x"]}}
    assert chosen({"b": X, "a": X, "kind": [0]}, features) == ("a", "kind")
    nested = {"a": {"feature": {"_type": "Image"}, "_type": "Sequence"}}
    assert chosen({"b": [X], "a": [X]}, nested) == ("a", None)


@pytest.mark.parametrize(
    ("columns", "options", "line"),
    [
        (
            {"left": X, "right": X, "up": X},
            {},
            "x.parquet has three image columns: left, right, up",
        ),
        ({"image": X}, {"column": "imgae"}, "no column 'imgae'; did you mean 'image'?"),
        (
            {"image": X, "n": [0.5]},
            {"column": "n"},
            "column n of x.parquet holds double, not images",
        ),
        ({"image": X, "n": [[1]]}, {"labels": "n"}, "not one label a row"),
        ({"image": X, "n": [1]}, {"labels": "m"}, "no column 'm'"),
        ({"n": [1]}, {}, "no column of images"),
    ],
)
def test_choices_that_cannot_be(
    columns: dict[str, Any], options: dict[str, str], line: str
) -> None:
    with pytest.raises(DataError, match=r"x\.parquet") as refused:
        chosen(columns, **options)
    assert line in str(refused.value)


def test_a_table_without_images_is_told_apart() -> None:
    with pytest.raises(NoImages):
        chosen({"n": [1]})


def test_a_table_in_parts_by_rows_needs_no_images_to_be_told(tmp_path: Path, make_png: Png) -> None:
    columns = {
        "image": [make_png(n) for n in range(4)],
        "split": ["train", "validation", "test", None],
    }
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    source = open_source(tmp_path / "x.parquet")
    assert source.parts() == {"test": ["test"], "train": ["", "train"], "val": ["validation"]}
    counts = {
        split: sum(len(list(one.read(unit))) for unit in one.units())
        for split in ("train", "val", "test", "all")
        if (one := open_source(tmp_path / "x.parquet", SourceOptions(split=split)))
    }
    assert counts == {"train": 2, "val": 1, "test": 1, "all": 4}


def test_pixels_are_stored_without_loss(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 9, 7, 3))
    pq.write_table(pa.table({"image": pixels.tolist()}), tmp_path / "x.parquet")
    source = open_source(tmp_path / "x.parquet")
    samples = [sample for unit in source.units() for sample in source.read(unit)]
    decoded = [np.asarray(verify(sample.data or b"").convert("RGB")) for sample in samples]
    assert np.array_equal(decoded, pixels)
    assert Image.fromarray(decoded[0]).size == (7, 9)


def test_class_folders_in_a_store_are_listed_once(make_png: Png) -> None:
    store = fsspec.filesystem("memory")
    for number in range(3):
        store.pipe(f"/stored/{number}/x.png", make_png(number))
        store.pipe(f"/packed/data/{number}.parquet", _packed(make_png(number)))
    assert open_source("memory://stored").kind == "folder"
    source = open_source("memory://packed")
    assert source.kind == "parquet"
    found = [sample.path for unit in source.units() for sample in source.read(unit)]
    assert found == [f"data/{number}.parquet#0" for number in range(3)]


def _packed(data: bytes) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"image": [data]}), file)
    return file.getvalue()


def test_a_part_of_many_files_lists_a_few(tmp_path: Path, make_png: Png) -> None:
    for part, files in (("train", 8), ("test", 5)):
        for number in range(files):
            table = pa.table({"image": [make_png(number)]})
            pq.write_table(table, tmp_path / f"{part}-{number}.parquet")
    source = open_source(tmp_path)
    assert len(source.parts()["train"]) == 8
    told = understand(source, 8, number_classes({}), None, {}).parts
    first = [f"train-{number}.parquet" for number in range(4)]
    assert told["train"] == [*first, "and 4 more"]
    assert told["test"] == [f"test-{number}.parquet" for number in range(5)]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()])
def test_whole_columns_are_read_as_single_values_are(kind: Any) -> None:
    rows = [
        {"bytes": b"a", "path": "a.png"},
        {"bytes": b"b", "path": None},
        {"bytes": None, "path": "c.png"},
        {"bytes": None, "path": None},
        None,
        {"bytes": b"", "path": ""},
    ]
    fast = pa.array(rows, pa.struct([("bytes", kind), ("path", pa.string())]))
    slow = pa.array(rows, pa.struct([("bytes", kind), ("path", pa.string()), ("more", pa.int8())]))
    for start in (0, 2):
        assert list(cells(fast.slice(start))) == list(cells(slow.slice(start)))
    data = pa.array([b"a", None, b""], kind)
    assert list(cells(data)) == [[Cell(b"a")], [Cell(reason=NULL)], [Cell(b"")]]
    torn = pa.array([b"\xe9.png"]).view(pa.string())
    named = pa.StructArray.from_arrays([pa.array([b"a"], kind), torn], ["bytes", "path"])
    assert list(cells(named)) == [[Cell(b"a", "\udce9.png")]]


def test_a_remote_stream_is_read_once(make_png: Png) -> None:
    table = pa.table({"image": [make_png(number) for number in range(6)], "label": list(range(6))})
    with (
        fsspec.open("memory://streams/x.arrow", "wb") as file,
        pa.ipc.new_stream(file, table.schema) as stream,
    ):
        stream.write_table(table, max_chunksize=1)
    source = open_source("memory://streams/x.arrow")
    (unit,) = source.units()
    found = list(source.read(unit))
    assert [sample.label for sample in found] == list(range(6))
    assert found[5].path == "x.arrow#5"
    assert found[5].data == make_png(5)
