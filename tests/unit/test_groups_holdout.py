"""Holdout of whole groups: which rows, how many, and that nothing changes without groups."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manta.data import _whole_groups
from manta.data import groups as groups_module
from manta.data.groups import Groups, in_order, open_groups, write_groups
from manta.data.holdout import Holdout
from manta.data.manifest import Manifest, Shard
from manta.data.plan import Plan
from manta.errors import ConfigError, DataError
from manta.files import Place


def dataset(folder: Path, runs: list[tuple[str | None, int]]) -> Manifest:
    """A dataset of which only the groups are there."""
    rows = sum(count for _, count in runs)
    write_groups(Place(str(folder)), in_order([runs]))
    names = {name for name, _ in runs if name is not None}
    digest = hashlib.sha256(repr((str(folder), runs)).encode()).hexdigest()
    sizes = [64] * (rows // 64) + ([rows % 64] if rows % 64 else [])
    return Manifest(
        location=str(folder),
        rows=rows,
        labelled=False,
        classes=None,
        shards=[Shard("0.parquet", rows, sizes, 0)],
        sizes={},
        mean=[],
        std=[],
        moment_rows=0,
        source="",
        kind="",
        quarantined=0,
        digest=digest,
        bytes=0,
        groups=len(names),
    )


EARLIER = [5, 10, 29, 34, 47, 50, 63, 70, 89, 90, 101, 116]
RUNS = st.lists(
    st.tuples(st.sampled_from([None, *"abcdefgh"]), st.integers(1, 40)), min_size=2, max_size=30
).filter(lambda runs: len({name for name, _ in runs} - {None}) > 1)


@given(RUNS, st.floats(0.02, 0.7), st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_groups_are_whole_and_every_row_is_in_one_part(
    tmp_path_factory: pytest.TempPathFactory,
    runs: list[tuple[str | None, int]],
    fraction: float,
    batch: int,
) -> None:
    manifest = dataset(tmp_path_factory.mktemp("groups"), runs)
    split = Holdout(manifest, fraction)
    queries, bank = split.sample("queries"), split.sample("bank")
    assert np.array_equal(np.sort(np.concatenate([queries, bank])), np.arange(manifest.rows))
    assert (np.diff(queries) > 0).all()
    assert (np.diff(bank) > 0).all()
    groups = open_groups(manifest)
    assert groups is not None
    of_queries, of_bank = set(groups.of(queries)) - {-1}, set(groups.of(bank)) - {-1}
    assert of_queries
    assert of_bank
    assert not of_queries & of_bank
    below = [int((queries < row).sum()) for row in range(manifest.rows + 1)]
    assert split.queries_below(np.arange(manifest.rows + 1)).tolist() == below
    again = pickle.loads(pickle.dumps(split))
    assert np.array_equal(again.pick("bank", np.arange(split.bank_rows)), bank)


@pytest.mark.parametrize(
    ("sizes", "fraction", "rows"),
    [
        ([500] * 6, 0.1, 500),  # a sixth is the nearest
        ([15, 10, 85], 0.09, 10),
        ([90, 10], 0.1, 10),
        ([50, 50], 0.01, 50),  # one in any case
        ([50, 50], 0.99, 50),  # and one is left
        ([7] * 100, 0.1, 70),
        (list(range(1, 60)), 0.2, 354),
    ],
)
def test_the_share_is_as_near_as_whole_groups_allow(
    tmp_path: Path, sizes: list[int], fraction: float, rows: int
) -> None:
    manifest = dataset(tmp_path, [(f"g{number}", size) for number, size in enumerate(sizes)])
    split = Holdout(manifest, fraction)
    assert split.query_rows == rows
    (line,) = split.notes(fraction)
    assert f"{rows:,} of {sum(sizes):,} rows, {rows / sum(sizes):.1%}" in line
    assert f"({fraction:.1%} was asked)" in line


def test_groups_do_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    runs: list[tuple[str | None, int]] = [(f"g{number % 40}", 3) for number in range(200)]
    held = []
    for number, order in enumerate((runs, runs[::-1], sorted(runs))):
        (tmp_path / str(number)).mkdir()
        held.append(sorted(Holdout(dataset(tmp_path / str(number), order), 0.2).held_groups))
    assert held[0] == held[1] == held[2]
    assert len(held[0]) == 8


def test_named_groups_are_held_out_and_no_others(tmp_path: Path) -> None:
    runs = [("jackson", 10), ("theo", 20), (None, 5), ("jackson", 3), ("lucas", 90)]
    manifest = dataset(tmp_path, runs)
    plan = Plan(manifest, seed=0, batch_size=16, holdout=0.5, holdout_group=["jackson"])
    assert plan.holdout.held_groups == ["jackson"]
    expected = [*range(10), *range(35, 38)]
    assert plan.holdout.sample("queries").tolist() == expected
    seen = np.concatenate([plan.indexes(0, step) for step in range(plan.steps_per_epoch)])
    assert not set(seen) & set(expected)
    assert len(set(seen)) == plan.steps_per_epoch * 16
    with pytest.raises(ConfigError, match="no group 'jakson'; did you mean 'jackson'"):
        Holdout(manifest, names=["jakson"])
    with pytest.raises(ConfigError, match="no group 'zzz'; known: jackson, theo, lucas"):
        Holdout(manifest, names=["zzz"])


def test_what_cannot_be_divided_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"all grouped rows are of one group \(a\)"):
        Holdout(dataset(tmp_path, [("a", 10), (None, 4)]), 0.1)
    manifest = dataset(tmp_path, [("a", 10), ("b", 4)])
    with pytest.raises(ConfigError, match="names all groups"):
        Holdout(manifest, names=["a", "b"])
    with pytest.raises(ConfigError, match="needs groups, and the data have none"):
        _whole_groups.named_groups(None, ["a"], 4)
    (tmp_path / groups_module.FILE).unlink()
    with pytest.raises(DataError, match=r"groups.parquet cannot be read"):
        Holdout(dataset_without_file(tmp_path), 0.1)


def dataset_without_file(folder: Path) -> Manifest:
    manifest = dataset(folder, [("a", 3), ("b", 3)])
    (folder / groups_module.FILE).unlink()
    return manifest


def test_without_groups_the_rows_are_those_of_earlier_versions(tmp_path: Path) -> None:
    manifest = dataset(tmp_path, [(None, 10_000)])
    queries = Holdout(manifest, 0.1).sample("queries")
    assert queries[:12].tolist() == EARLIER
    assert Holdout(manifest, 0.1).notes(0.1) == []


def test_ten_million_rows_are_divided_within_seconds(tmp_path: Path) -> None:
    rows = 10_000_000
    numbers = np.arange(rows, dtype=np.int64) % 5_000
    lengths = np.ones(rows, dtype=np.int64)
    groups = Groups([f"g{n}" for n in range(5_000)], np.arange(rows), lengths, numbers)
    held = _whole_groups.choose_groups(groups, 0.1, rows)
    assert len(held) == 500
    nothing = np.empty(0, dtype=np.int64)
    stretches = _whole_groups.stretches_of(groups, held, nothing, rows)
    assert int(stretches.below(np.array([rows]))[0]) == rows // 10
