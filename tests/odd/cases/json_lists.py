"""Lists in JSON, and folders with a `metadata` file as the Hugging Face library has them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from odd.case import Case, encoded, write
from odd.cases.lists import COLOURS, PIXELS, case, rows


def records(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def each(key: str, label: str, **more: Any) -> list[dict[str, Any]]:
    words = ["dog", "cat", "dog"]
    return [{key: f"images/{n}.png", label: word} | more for n, word in enumerate(words)]


IN_JSON = [
    case("jsonl", "x.jsonl", records(*each("image", "label", width=3))),
    case("jsonl_of_other_keys", "x.jsonl", records(*each("file_name", "category"))),
    case(
        "jsonl_nested",
        "x.jsonl",
        records(*({"image": {"path": row["p"]}, "meta": row} for row in each("p", "label"))),
        options={"labels": "meta.label"},
    ),
    case(
        "jsonl_of_base64",
        "x.jsonl",
        records(
            *(
                {"image": base64.b64encode(encoded(COLOURS[n])).decode(), "label": n}
                for n in range(3)
            )
        ),
        labels=[0, 1, 2],
    ),
    case(
        "jsonl_broken_line",
        "x.jsonl",
        records(*each("image", "label")) + "{oops\n",
        quarantined={"x.jsonl": "not a JSON object: line 4"},
    ),
    case(
        "jsonl_numbers_and_null",
        "x.jsonl",
        records(
            *(row | {"label": n} for row, n in zip(each("path", "x"), [5, None, 2.0], strict=True))
        ),
        labels=[1, None, 0],
        classes=["2", "5"],
    ),
    case(
        "json_lone_surrogates",
        "x.jsonl",
        '{"path": "images/0.png", "label": "\\ud800"}\n{"path": "\\udcff.png", "label": "a"}\n',
        rows=1,
        labels=[0],
        classes=[r"\ud800"],
        pixels={},
        quarantined={r"\xff.png": "No such file"},
    ),
    case("json_list", "x.json", json.dumps(each("path", "label"))),
    case(
        "json_of_paths_to_labels",
        "x.json",
        json.dumps({f"images/{n}.png": word for n, word in enumerate(["b", "a", "b"])}),
    ),
    case("json_coco", "x.json", json.dumps({"images": [], "annotations": []}), error="(COCO)"),
    case(
        "jsonl_nested_beyond_reading",
        "x.jsonl",
        records(*each("image", "label")) + "[" * 100_000 + "\n",
        quarantined={"x.jsonl": "not a JSON object: line 4"},
    ),
    case("json_nested_beyond_reading", "x.json", "[" * 100_000, error="is not JSON"),
    case(
        "jsonl_name_that_no_file_can_have",
        "x.jsonl",
        records(*each("image", "label")) + '{"image": "\\ud800.png"}\n{"image": "a\\u0000.png"}\n',
        quarantined={r"\ud800.png": "cannot be read", "a\0.png": "embedded null byte"},
    ),
    case("json_broken", "x.json", "[{", error="is not JSON"),
    case("jsonl_without_paths", "x.jsonl", '{"a": 1}\n', error="no key with the path of an image"),
]


def hugging_face(name: str, content: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        for number in range(3):
            write(folder / f"{number}.png", encoded(COLOURS[number]))
        write(folder / name, content)
        return folder

    return make


def hugging_face_parts(folder: Path) -> Path:
    for number, part in enumerate(["train", "test"]):
        write(folder / part / "0.png", encoded(COLOURS[number]))
        write(folder / part / "metadata.csv", f"file_name,label\n0.png,{'ab'[number]}\n")
    return folder


FOLDERS = [
    Case(
        "lists/metadata_csv",
        hugging_face("metadata.csv", rows("{n}.png,{l}", "file_name,label")),
        rows=3,
        labels=[1, 0, 1],
        pixels=PIXELS,
    ),
    Case(
        "lists/metadata_jsonl",
        hugging_face(
            "metadata.jsonl", records(*({"file_name": f"{n}.png", "text": "a"} for n in range(3)))
        ),
        rows=3,
        labels=None,
    ),
    Case(
        "lists/metadata_parts",
        hugging_face_parts,
        rows=1,
        labels=[0],
        classes=["a"],
        pixels={0: COLOURS[0]},
    ),
    Case(
        "lists/metadata_parts_test",
        hugging_face_parts,
        rows=1,
        pixels={0: COLOURS[1]},
        options={"split": "test"},
    ),
]


CASES: list[Case] = [*IN_JSON, *FOLDERS]
