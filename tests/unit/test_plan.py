"""The order of samples: pure, complete, the same for any number of ranks, and mixed."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manta.data.holdout import Holdout, Split
from manta.data.manifest import Manifest, Shard
from manta.data.plan import Plan
from manta.errors import ConfigError, DataError


def manifest(shards: list[list[int]]) -> Manifest:
    made = [Shard(f"{n}.parquet", sum(groups), groups, 0) for n, groups in enumerate(shards)]
    facts = {
        "labelled": False,
        "classes": None,
        "sizes": {},
        "mean": [],
        "std": [],
        "moment_rows": 0,
        "source": "",
    }
    rows = sum(shard.rows for shard in made)
    return Manifest(
        location="", rows=rows, shards=made, kind="", quarantined=0, digest="", bytes=0, **facts
    )


EVEN = manifest([[128] * 16] * 8)  # 16,384 rows
UNEVEN = manifest([[128] * 7 + [3], [1], [128, 128, 77], [5] * 40, [128] * 20])


def epoch_of(plan: Plan, epoch: int, world: int = 1) -> np.ndarray:
    """`[steps, batch]`, ranks' parts side by side."""
    parts = [
        np.concatenate(
            [
                plan.segment(epoch, n, rank=rank, world=world).indexes
                for n in range(plan.segments_per_epoch)
            ]
        )
        for rank in range(world)
    ]
    return np.concatenate(parts, axis=1)


def test_the_order_is_a_pure_function_of_seed_epoch_and_manifest() -> None:
    plan = Plan(UNEVEN, seed=3, batch_size=64)
    order = epoch_of(plan, 2)
    epoch_of(plan, 7)  # what was asked before does not matter
    assert np.array_equal(epoch_of(plan, 2), order)
    assert np.array_equal(epoch_of(Plan(UNEVEN, seed=3, batch_size=64), 2), order)
    assert np.array_equal(epoch_of(pickle.loads(pickle.dumps(plan)), 2), order)
    for other in (epoch_of(plan, 3), epoch_of(Plan(UNEVEN, seed=4, batch_size=64), 2)):
        assert (other == order).mean() < 0.02


def test_the_order_of_today_is_the_order_of_tomorrow() -> None:
    # A run that is resumed under a later version must see the same batches; change this only with a
    # major version.
    plan = Plan(UNEVEN, seed=0, batch_size=64)
    assert plan.indexes(0, 0)[:6].tolist() == [2088, 693, 1600, 706, 3740, 3751]
    assert plan.holdout.sample("queries")[:6].tolist() == [5, 10, 29, 34, 47, 50]


@pytest.mark.parametrize("data", [EVEN, UNEVEN])
def test_an_epoch_holds_every_training_row_once_but_the_remainder(data: Manifest) -> None:
    plan = Plan(data, seed=0, batch_size=96)
    train = np.setdiff1d(np.arange(data.rows), plan.holdout.sample("queries"))
    assert len(train) == plan.train_rows
    dropped = []
    for epoch in range(3):
        seen = epoch_of(plan, epoch).ravel()
        assert len(seen) == plan.steps_per_epoch * 96 == plan.train_rows // 96 * 96
        assert len(np.unique(seen)) == len(seen)
        assert np.isin(seen, train).all()
        dropped.append(frozenset(np.setdiff1d(train, seen).tolist()))
    assert len(set(dropped)) == 3


@pytest.mark.parametrize("world", [2, 4, 8])
def test_ranks_together_see_the_batches_of_one(world: int) -> None:
    plan = Plan(UNEVEN, seed=1, batch_size=64)
    alone = epoch_of(plan, 1)
    assert np.array_equal(epoch_of(plan, 1, world), alone)
    for step in (0, 17, plan.steps_per_epoch - 1):
        parts = [plan.indexes(1, step, rank=rank, world=world) for rank in range(world)]
        assert {len(part) for part in parts} == {64 // world}
        assert np.array_equal(np.concatenate(parts), alone[step])


def test_ranks_read_few_row_groups_in_common() -> None:
    plan = Plan(EVEN, seed=0, batch_size=256)
    read = [
        np.concatenate(
            [np.unique(plan.segment(0, n, rank=r, world=4).indexes // 128) for n in range(3)]
        )
        for r in range(4)
    ]
    groups = [set(part.tolist()) for part in read]
    shared = sum(len(a & b) for i, a in enumerate(groups) for b in groups[i + 1 :])
    assert shared <= 3  # those on the borders


def test_batches_mix_row_groups_and_shards() -> None:
    plan = Plan(EVEN, seed=0, batch_size=256)
    for epoch in range(2):
        for batch in epoch_of(plan, epoch):
            assert len(np.unique(batch // 128)) >= 28
            assert len(np.unique(batch // 2048)) >= 6
    # Two rows of one row group rarely stand side by side.
    flat = epoch_of(plan, 0).ravel()
    assert (flat[1:] // 128 == flat[:-1] // 128).mean() < 0.25


def test_segments_partition_an_epoch_and_mix_enough_rows() -> None:
    plan = Plan(EVEN, seed=0, batch_size=100, shuffle_rows=1500)
    starts = [plan.segment_start(n) for n in range(plan.segments_per_epoch + 1)]
    assert (starts[0], starts[-1]) == (0, plan.steps_per_epoch)
    assert min(np.diff(starts)) * 100 >= 1500
    owner = np.repeat(np.arange(plan.segments_per_epoch), np.diff(starts))
    assert [plan.segment_of(step) for step in range(plan.steps_per_epoch)] == owner.tolist()


def test_held_out_rows_do_not_depend_on_seed_or_batch() -> None:
    plan = Plan(EVEN, seed=0, batch_size=64, holdout=0.1)
    held = plan.holdout.sample("queries")
    assert np.array_equal(
        Plan(EVEN, seed=9, batch_size=32, holdout=0.1).holdout.sample("queries"), held
    )
    assert not np.isin(epoch_of(plan, 0), held).any()
    assert np.array_equal(held // 10, np.arange(len(held)))  # one in each ten
    share = np.bincount(held % 10, minlength=10) / len(held)
    assert share.min() > 0.07
    assert share.max() < 0.13


@pytest.mark.parametrize("split", ["bank", "queries"])
def test_a_sample_is_spread_over_the_split_and_the_same_again(split: Split) -> None:
    holdout = Holdout(EVEN, 0.1)
    rows = holdout.sample(split, 200)
    assert np.array_equal(rows, Holdout(EVEN, 0.1).sample(split, 200))
    assert len(np.unique(rows)) == 200
    assert (np.diff(rows) > 0).all()
    assert np.isin(rows, holdout.sample(split)).all()
    assert np.histogram(rows, bins=10, range=(0, EVEN.rows))[0].tolist() == pytest.approx(
        [20] * 10, abs=1
    )
    assert len(holdout.sample(split, 10**6)) == holdout.size(split)


def test_where_nothing_is_held_out_all_rows_are_the_bank() -> None:
    holdout = Holdout(EVEN, limit=1000)
    assert np.array_equal(holdout.sample("bank"), np.arange(1000))
    assert len(holdout.sample("queries")) == 0
    assert (holdout.size("bank"), holdout.size("queries")) == (1000, 0)


def test_no_holdout() -> None:
    plan = Plan(EVEN, seed=0, batch_size=64, holdout=0.0)
    assert plan.train_rows == EVEN.rows
    assert len(plan.holdout.sample("queries")) == 0
    assert np.array_equal(np.sort(epoch_of(plan, 0).ravel()), np.arange(EVEN.rows))


def test_limit_takes_the_first_rows() -> None:
    plan = Plan(EVEN, seed=0, batch_size=50, limit=1000)
    seen = np.concatenate([epoch_of(plan, epoch).ravel() for epoch in range(4)])
    assert plan.rows == 1000
    assert (plan.train_rows, plan.held_out_rows, plan.steps_per_epoch) == (900, 100, 18)
    assert seen.max() < 1000
    assert len(np.unique(seen)) == 900


@pytest.mark.parametrize(
    ("batch", "world", "lanes"),
    [
        (256, 1, 8),
        (256, 4, 8),
        (256, 16, 16),
        (240, 3, 24),
        (12, 3, 6),
        (100, 1, 5),
        (100, 2, 4),
        (7, 7, 7),
        (20, 10, 10),
    ],
)
def test_lanes(batch: int, world: int, lanes: int) -> None:
    plan = Plan(EVEN, seed=0, batch_size=batch)
    assert plan.lanes(world) == lanes
    assert batch % lanes == lanes % world == 0


def test_errors_name_the_fix() -> None:
    with pytest.raises(
        DataError, match=r"900 training rows \(1000 less 100 held out\).*lower train.batch_size"
    ):
        Plan(EVEN, seed=0, batch_size=901, limit=1000)
    with pytest.raises(
        ConfigError, match=r"train.batch_size 64 is no multiple of resources.workers 3"
    ):
        Plan(EVEN, seed=0, batch_size=64).lanes(3)


def test_the_cache_is_filled_in_the_order_of_need() -> None:
    plan = Plan(EVEN, seed=5, batch_size=256)
    groups = plan.groups_first_needed(1)
    assert np.array_equal(np.sort(groups), np.arange(128))
    first = np.unique(plan.segment(1, 0).indexes // 128)
    place = np.argsort(groups)[first]
    assert place.max() < 1.5 * len(first)


@settings(max_examples=60, deadline=None)
@given(
    shards=st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=6), min_size=1, max_size=6),
    batch=st.integers(1, 12).map(lambda n: 2 * n),
    seed=st.integers(0, 2**31),
    period=st.integers(2, 12),
    shuffle=st.integers(1, 200),
)
def test_any_layout(
    shards: list[list[int]], batch: int, seed: int, period: int, shuffle: int
) -> None:
    data = manifest(shards)
    try:
        plan = Plan(data, seed=seed, batch_size=batch, holdout=1 / period, shuffle_rows=shuffle)
    except DataError:
        return
    held = np.zeros(data.rows, dtype=bool)
    held[plan.holdout.sample("queries")] = True
    assert np.array_equal(plan.holdout.sample("bank"), np.flatnonzero(~held))
    assert np.array_equal(
        plan.holdout.queries_below(np.arange(data.rows + 1)), np.append(0, np.cumsum(held))
    )
    seen = epoch_of(plan, 1)
    assert seen.shape == (plan.steps_per_epoch, batch)
    assert len(np.unique(seen)) == seen.size
    assert not held[seen].any()
    two = epoch_of(plan, 1, world=2)
    if plan.lanes(1) == plan.lanes(2):
        assert np.array_equal(two, seen)
    assert len(np.unique(two)) == seen.size
