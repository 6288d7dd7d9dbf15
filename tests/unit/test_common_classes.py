"""One numbering for the classes of a bank and of queries, whatever either calls them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from manta.data import Holdout, Manifest, Shard
from manta.data.labels import told_apart
from manta.errors import ConfigError
from manta.evaluation.classes import CommonClasses, common_classes
from manta.evaluation.labels import label_notes
from manta.evaluation.rows import MOST_CLASSES, SplitRows, labels_tensor, most_classes
from manta.evaluators import LabelCounts, build
from manta.evaluators.knn import KNNConfig
from manta.evaluators.linear import LinearConfig
from manta.evaluators.rank import RankConfig


def data(source: str, classes: list[str] | None, *, rows: int = 10) -> Manifest:
    return Manifest(
        location="",
        rows=rows,
        labelled=True,
        classes=classes,
        shards=[Shard("", rows, [rows], 0)],
        sizes={},
        mean=[],
        std=[],
        moment_rows=0,
        source=source,
        kind="",
        quarantined=0,
        digest=source,
        bytes=0,
    )


def numbers(one: Any) -> list[int] | None:
    return None if one is None else one.tolist()


CASES: dict[str, tuple[Any, Any, Any, Any, Any, Any]] = {
    # bank, queries -> bank's numbers, queries' numbers, names, missing
    "the same names": ("a b", "a b", None, None, "a b", ""),
    "one is missing from the queries": ("a b c", "a c", None, [0, 2], "a b c", ""),
    "one is missing from the bank": ("a c", "a b c", None, [0, 2, 1], "a c b", "b"),
    "another order": ("a b", "b a", None, [1, 0], "a b", ""),
    "numbers of both": ("3 5 9", "5 9", None, [1, 2], "3 5 9", ""),
    "a number that the bank lacks": ("3 5", "5 7", None, [1, 2], "3 5 7", "7"),
    "numbers are places in names": ("a b c", "0 2", None, [0, 2], "a b c", ""),
    "names on the other side": ("1 2", "a b c", [1, 2], None, "a b c", ""),
    "an earlier dataset's numbers": (None, "4 9", None, [4, 9], "4 9", ""),
    "an earlier dataset's queries": ("4 9", None, [4, 9], None, "4 9", ""),
    "two earlier datasets": (None, None, None, None, None, ""),
    "names and an earlier dataset": ("a b", None, None, None, "a b", ""),
}


def described(source: str, classes: str | None) -> Manifest:
    return data(source, None if classes is None else classes.split())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_classes_go_by_what_they_are_called(case: tuple[Any, ...]) -> None:
    bank, queries, of_bank, of_queries, names, missing = case
    same = common_classes(described("bank", bank), described("test", queries))
    assert numbers(same.bank) == of_bank
    assert numbers(same.queries) == of_queries
    assert same.names == (None if names is None else names.split())
    assert same.missing == tuple(missing.split())


def test_two_classes_of_one_name_stay_two() -> None:
    same = common_classes(described("bank", "b c c"), described("test", "c b c"))
    assert numbers(same.queries) == [1, 0, 2]
    assert same.names == ["b", "c", "c (2)"]
    assert told_apart(["a", "a", "a (2)", "a"]) == ["a", "a (3)", "a (2)", "a (4)"]


def test_numbers_that_are_taken_for_places_are_told() -> None:
    told = common_classes(described("bank", "a b c"), described("test", "0 2")).note
    assert told == (
        "classes of test are numbers, and taken for places among those of bank (a, b, c)"
    )
    assert common_classes(described("bank", "a b"), described("test", "b")).note == ""


@pytest.mark.parametrize(
    ("bank", "queries"), [("a", "b"), ("1 2", "3 4"), ("a", "x y"), ("a b", "1 2"), ("1 7", "a b")]
)
def test_nothing_in_common_is_one_line(bank: Any, queries: Any) -> None:
    with pytest.raises(ConfigError, match=r"^bank and test have no class in common \(") as raised:
        common_classes(described("bank", bank), described("test", queries))
    assert "\n" not in str(raised.value)
    assert "leave --bank out" in str(raised.value)


def test_rows_without_a_label_stay_without_one() -> None:
    same: CommonClasses = common_classes(data("bank", ["a", "c"]), data("test", ["b", "c"]))
    test = data("test", ["b", "c"])
    rows = SplitRows(test, Holdout(test), "bank", 10, same.queries)
    assert rows.class_of(labels_tensor([0, None, 1])).tolist() == [2, -1, 1]
    plain = SplitRows(test, Holdout(test), "bank", 10)
    assert torch.equal(plain.class_of(torch.tensor([1, -1])), torch.tensor([1, -1]))


def test_ids_begin_where_no_dataset_has_classes() -> None:
    def rows(count: int, classes: list[str] | None = None, name: str = "x") -> SplitRows:
        manifest = data(name, classes, rows=count)
        return SplitRows(manifest, Holdout(manifest), "bank", 10)

    assert most_classes(rows(50), rows(50)) == 1_000
    assert most_classes(rows(5_000), rows(5_000)) == 5_000
    assert most_classes(rows(5_000), rows(3_000, name="y")) == 8_000
    assert most_classes(rows(50, [str(name) for name in range(2_000)])) == 2_000
    assert most_classes(rows(10**9)) == MOST_CLASSES


def test_notes_say_what_is_left_out_and_why() -> None:
    evaluators = [build(KNNConfig(k=20)), build(LinearConfig()), build(RankConfig())]

    def notes(bank: list[int], queries: list[int], *strange: str) -> list[str]:
        labels = torch.tensor(bank), torch.tensor(queries)
        counts = LabelCounts.of(*labels, bank_rows=len(bank), query_rows=len(queries))
        return label_notes(evaluators, counts, strange)

    assert notes([0, 1] * 20, [0, 1]) == []
    assert notes([-1, -1], [-1]) == ["left out: knn, linear (need labels)"]
    assert notes([0, 1] * 20 + [-1], [0, 1]) == [
        "labels on 42 of 43 rows; only evaluators that need none see the others"
    ]
    assert notes([0, 1] * 20, [0, 1, 7], "zebra") == [
        "1 of 3 labelled rows that are scored are of a class that probes cannot learn (zebra): "
        "they count as wrong, and retrieval leaves them out"
    ]
    assert notes([0, 1], [0]) == [
        "a single labelled row is scored: accuracies say little; hold out more rows",
        "knn: k=20 is more than the 2 labelled rows, which all vote",
    ]
    assert label_notes([build(RankConfig())], LabelCounts({}, {}, 3, 1)) == []
