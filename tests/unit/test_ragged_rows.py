"""Rows of unequal lengths, from a source through ingest, stream, cache and splits, in process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from manta.data import Limits, Manifest, Plan, RankBatch, read_split, stream
from manta.data._shards import read_unit, write_shard
from manta.data.cache import DecodedCache
from manta.data.sources import Sample, Source
from manta.errors import ConfigError
from manta.files import Place
from manta.leaves import Array, Layout, Leaf
from manta.modalities import BadSample, DecodingInspector, Draw
from manta.ragged import Ragged, joined

COUNT, MOST = 60, 50
LIMITS = Limits(group_rows=4, shard_rows=16)


def wave(number: int) -> np.ndarray:
    return np.arange(number % MOST, dtype=np.float32) + 100 * number


@dataclass(frozen=True)
class Waves:
    """Decoder of float32 bytes; where it draws, of at most five values from a drawn place."""

    draws: bool = False

    @property
    def layout(self) -> Layout:
        leaf = Leaf("float32", (None,), most=MOST)
        return {"wave": leaf, "first": Leaf("float32", (1,))}

    def __call__(self, data: bytes, draw: Draw | None) -> dict[str, Array]:
        if len(data) % 4:
            raise BadSample("not whole numbers")
        values = np.frombuffer(data, dtype=np.float32)
        if self.draws and len(values) > 5:
            start = 0 if draw is None else draw.below(len(values) - 5)
            values = values[start : start + 5]
        return {"wave": values, "first": values[:1] if len(values) else np.zeros(1, np.float32)}


class Numbers(Source):
    kind = "numbers"

    @classmethod
    def claim(cls, place: Place) -> int:
        return 0

    def units(self) -> Iterator[range]:
        yield range(COUNT + 1)

    def read(self, unit: range) -> Iterator[Sample]:
        for number in unit:
            data = b"odd" if number == COUNT else wave(number).tobytes()
            yield Sample(f"{number}.f32", data, number % 3)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    place, source = Place.of(tmp_path), Numbers(Place.of(tmp_path))
    (place / "progress").make()
    inspector = DecodingInspector(Waves(), "wave")
    written = []
    for number, block in enumerate(read_unit(source, 0, range(COUNT + 1), inspector, LIMITS, 0)):
        first = sum(one.shard.rows for one in written)
        shard = write_shard(place, number, first, [(0, 0)], LIMITS, block, column="wave")
        written.append(shard)
    assert [bad for one in written for bad in one.bad] == [[f"{COUNT}.f32", "not whole numbers"]]
    assert max(one.stats["length"]["most"] for one in written) == MOST - 1
    return Manifest(
        location=str(tmp_path), rows=COUNT, labelled=True, classes=None,
        shards=[one.shard for one in written], sizes={}, mean=[], std=[], moment_rows=0,
        source="", kind="numbers", quarantined=1, digest="x", bytes=0, version=2,
        modality="waves", column="wave",
    )  # fmt: skip


def plan_of(manifest: Manifest) -> Plan:
    return Plan(manifest, seed=3, batch_size=8, holdout=0.1)


def batches(manifest: Manifest, decoder: Waves, **options: int) -> list[RankBatch]:
    plan = plan_of(manifest)
    chosen = {"stop_step": 2 * plan.steps_per_epoch} | options
    return list(stream(manifest, plan, decoder=decoder, executor="local", **chosen))


def ragged(batch: RankBatch) -> Ragged:
    data = batch.data["wave"]
    assert isinstance(data, Ragged)
    return data


def equal(one: RankBatch, other: RankBatch) -> bool:
    here, there = ragged(one), ragged(other)
    return (
        one.step == other.step
        and torch.equal(one.index, other.index)
        and torch.equal(here.values, there.values)
        and torch.equal(here.lengths, there.lengths)
        and torch.equal(one.data["first"], other.data["first"])
    )


def test_a_stream_gives_every_row_its_own_length(manifest: Manifest) -> None:
    for batch in batches(manifest, Waves()):
        expected = [wave(row) for row in batch.index.tolist()]
        assert ragged(batch).lengths.tolist() == [len(row) for row in expected]
        assert np.array_equal(ragged(batch).values.numpy(), np.concatenate(expected))


@pytest.mark.parametrize("draws", [False, True])
def test_ranks_and_resumed_streams_see_the_same_rows(manifest: Manifest, draws: bool) -> None:
    decoder = Waves(draws)
    whole = batches(manifest, decoder)
    resumed = batches(manifest, decoder, start_step=4)
    assert all(equal(*pair) for pair in zip(whole[4:], resumed, strict=True))
    ranks = [batches(manifest, decoder, rank=rank, world=2) for rank in range(2)]
    for step, one, other in zip(whole, *ranks, strict=True):
        both = joined([one.data, other.data])
        parts = RankBatch(step.step, both, torch.cat([one.index, other.index]))
        assert equal(step, parts)


def test_another_epoch_draws_another_part_and_a_split_the_first(manifest: Manifest) -> None:
    decoder, drawn = Waves(True), {}
    for batch in batches(manifest, decoder):
        for row, first in zip(
            batch.index.tolist(), batch.data["first"][:, 0].tolist(), strict=True
        ):
            drawn.setdefault(row, []).append(first)
    assert sum(len(set(firsts)) > 1 for firsts in drawn.values()) > COUNT // 3
    parts = read_split(
        manifest, plan_of(manifest).holdout, "bank", decoder=decoder, executor="local"
    )
    for part in parts:
        wanted = [wave(row)[0] if row % MOST else 0 for row in part.index.tolist()]
        assert part.data["first"][:, 0].tolist() == wanted


def test_small_parts_make_the_same_batches(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = batches(manifest, Waves())
    monkeypatch.setattr("manta.data.read.PART_BYTES", 300)
    assert all(equal(*pair) for pair in zip(whole, batches(manifest, Waves()), strict=True))


def test_a_cache_refuses_a_decoder_that_draws(manifest: Manifest) -> None:
    with pytest.raises(ConfigError, match=r"set data\.cache=none$"):
        DecodedCache(manifest, plan_of(manifest), decoder=Waves(True))
