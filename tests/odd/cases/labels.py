"""Labels as people have them: none, ids, floats, words, one class, in lists and in tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from manta.data import ingest
from odd.case import Case, Command, colour_of, encoded, write


def listed(*labels: str, header: str = "path,label") -> Callable[[Path], Path]:
    """Return a maker of a list with one image for each label."""

    def make(folder: Path) -> Path:
        rows = []
        for number, label in enumerate(labels):
            write(folder / f"{number}.png", encoded(colour_of(number)))
            rows.append(f"{number}.png,{label}")
        return write(folder / "list.csv", "\n".join([header, *rows]) + "\n")

    return make


def table(
    labels: Sequence[Any], kind: Any = None, *, column: str = "label", names: Any = None
) -> Callable[[Path], Path]:
    """Return a maker of a Parquet table with one image for each label.

    Args:
        names: of a Hugging Face ClassLabel.
    """

    def make(folder: Path) -> Path:
        images = [encoded(colour_of(number)) for number in range(len(labels))]
        content = pa.table({"image": images, column: pa.array(labels, type=kind)})
        if names is not None:
            features = {"label": {"names": list(names), "_type": "ClassLabel"}}
            told = json.dumps({"info": {"features": features}})
            content = content.replace_schema_metadata({"huggingface": told})
        pq.write_table(content, folder / "table.parquet")
        return folder / "table.parquet"

    return make


def case(name: str, make: Callable[[Path], Path], labels: Any, classes: Any, **rest: Any) -> Case:
    rows = rest.pop("rows", len(labels or ()) or 3)
    return Case(f"labels/{name}", make, rows=rows, labels=labels, classes=classes, **rest)


LISTS = [
    case("minus_one", listed("0", "1", "-1", "1"), [0, 1, None, 1], ["0", "1"]),
    case("other_negatives", listed("4", "-100", "6", "-2"), [0, None, 1, None], ["4", "6"]),
    case("minus_one_and_one", listed("-1", "1", "1"), [0, 1, 1], ["-1", "1"]),
    case("all_minus_one", listed("-1", "-1", "-1"), None, None),
    case("empty", listed("dog", "", "cat"), [1, None, 0], ["cat", "dog"]),
    case(
        "words_for_none",
        listed("b", "NaN", "None", "a"),
        [1, None, None, 0],
        ["a", "b"],
        notes=("'NaN' on 1 rows means no label; 'None' on 1 rows means no label",),
    ),
    case(
        "not_available",
        listed("b", "N/A", "a"),
        [1, None, 0],
        ["a", "b"],
        notes=("'N/A' on 1 rows means no label",),
    ),
    case("none_is_a_class", listed("b", "none", "none"), [0, 1, 1], ["b", "none"]),
    case(
        "none_beside_numbers",
        listed("4", "none", "7"),
        [0, None, 1],
        ["4", "7"],
        notes=("'none' on 1 rows means no label",),
    ),
    case("only_none", listed("None", "None"), None, None, notes=("'None' on 2 rows",), rows=2),
    case("digits_beyond_any_number", listed("7", "9" * 5000), [0, 1], ["7", "9" * 5000]),
    case("ids", listed("1000000007", "2000000", "2000000"), [1, 0, 0], ["2000000", "1000000007"]),
    case(
        "beyond_64_bits",
        listed("99999999999999999999", "5", "99999999999999999999"),
        [1, 0, 1],
        ["5", "99999999999999999999"],
    ),
    case("whole_floats", listed("3.0", "5.0", "3.0"), [0, 1, 0], ["3", "5"]),
    case("numbers_in_two_forms", listed("3", "3.0", "10"), [0, 0, 1], ["3", "10"]),
    case("fractions", listed("0.5", "1.25", "3"), None, None, notes=("measurements",)),
    case("words", listed("dog", "cat", "Äpfel", "cat"), [1, 0, 2, 0], ["cat", "dog", "Äpfel"]),
    case("words_and_a_number", listed("dog", "7", "dog"), [1, 0, 1], ["7", "dog"]),
    case("spaces_around", listed(" cat", "cat ", "dog"), [0, 0, 1], ["cat", "dog"]),
    case("zeros_in_front", listed("007", "7", "007"), [0, 1, 0], ["007", "7"]),
    case("one_class", listed("9", "9", "9"), [0, 0, 0], ["9"]),
    case("a_class_for_each_row", listed("a", "b", "c"), [0, 1, 2], ["a", "b", "c"]),
    case("not_wanted", listed("0", "1", "0"), None, None, options={"labels": "none"}),
]

TABLES = [
    case("table_minus_one", table([0, -1, 1], pa.int8()), [0, None, 1], ["0", "1"]),
    case("table_nulls", table([3, None, 5], pa.int64()), [0, None, 1], ["3", "5"]),
    case("table_ids", table([10**9 + 7, 2 * 10**6, 0]), [2, 1, 0], ["0", "2000000", "1000000007"]),
    case(
        "table_unsigned",
        table([2**63 + 5, 1, 1], pa.uint64()),
        [1, 0, 0],
        ["1", str(2**63 + 5)],
    ),
    case(
        "table_whole_floats",
        table([2.0, float("nan"), 7.0], pa.float64()),
        [0, None, 1],
        ["2", "7"],
    ),
    case("table_fractions", table([0.5, 0.25, 1.0]), None, None, notes=("measurements",)),
    case("table_words", table(["b", None, "a"]), [1, None, 0], ["a", "b"]),
    case(
        "table_dictionary",
        table(["b", "a", "b"], pa.dictionary(pa.int8(), pa.string())),
        [1, 0, 1],
        ["a", "b"],
    ),
    case("table_booleans", table([True, False, True]), [1, 0, 1], ["0", "1"]),
    case("declared", table([1, 0, 2], names=("c", "b", "a")), [1, 0, 2], ["c", "b", "a"]),
    case(
        "declared_with_none",
        table([-1, 0, None], pa.int64(), names=("cat", "dog")),
        [None, 0, None],
        ["cat", "dog"],
    ),
    case("declared_all_none", table([-1, -1, -1], names=("cat", "dog")), None, None),
    case(
        "named_column",
        table(["x", "y", "x"], column="breed"),
        [0, 1, 0],
        ["x", "y"],
        options={"labels": "breed"},
    ),
]

CASES = LISTS + TABLES


def prepared(*labels: str, folder: Path) -> None:
    """Ingest a list with these labels as `data.manta`."""
    ingest(listed(*labels)(folder / "raw"), folder / "data.manta", executor="local")


def dry_run(name: str, labels: Sequence[str], output: str, *more: str) -> Command:
    """Return a dry run that says what evaluators cannot do with these labels."""
    words = [
        "train",
        "digits",
        "data.source=./data.manta",
        "train.batch_size=2",
        "--dry-run",
        *more,
    ]
    make = partial(lambda folder, own: prepared(*own, folder=folder), own=labels)
    return Command(f"labels/{name}", make, words, output=output)


HALVED = "evaluation.holdout=0.5"

COMMANDS = [
    dry_run("dry_run_none", ["-1"] * 12, "need labels)", HALVED),
    dry_run("dry_run_one_class", ["3"] * 12, "need two classes, and all", HALVED),
    dry_run("dry_run_ids", [f"{id_}" for id_ in range(12)], "as ids are)", HALVED),
    dry_run("dry_run_some", ["0", "1", "-1", "-1"] * 4, "labels on 8 of 16 rows", HALVED),
    dry_run("dry_run_few", ["0", "1"] * 6, "labelled rows, which all vote", HALVED),
    dry_run(
        "dry_run_no_holdout", ["0", "1"] * 6, "holds out none of 12 rows", "evaluation.holdout=0.01"
    ),
]
