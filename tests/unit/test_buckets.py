"""Steps of rows of like lengths: complete, the same on any ranks and when resumed, less padding."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from manta.config import from_mapping
from manta.data import ingest, open_dataset
from manta.data.lengths import FILE, open_lengths, write_lengths, write_part
from manta.data.manifest import Manifest, Shard
from manta.data.plan import Plan
from manta.data.sources import SourceOptions
from manta.errors import ConfigError, DataError
from manta.files import Place
from manta.modalities.series import Series, SeriesConfig

GROUPS = [[128] * 9, [128] * 7 + [40], [77, 128, 128]]
ROWS = sum(map(sum, GROUPS))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Return a dataset of nothing but its lengths, which differ a hundredfold."""
    place = Place.of(tmp_path_factory.mktemp("dataset"))
    (place / "progress").make()
    generator = np.random.default_rng(0)
    for shard, groups in enumerate(GROUPS):
        write_part(place, shard, np.exp(generator.uniform(2, 6.6, sum(groups))).astype(np.int64))
    write_lengths(place, len(GROUPS), ROWS)
    return Manifest(
        location=place.url, rows=ROWS, labelled=False, classes=None,
        shards=[Shard(f"{n}.parquet", sum(of), of, 0) for n, of in enumerate(GROUPS)],
        sizes={}, mean=[], std=[], moment_rows=0, source="", kind="", quarantined=0, digest="",
        bytes=0, modality="waves", column="wave",
    )  # fmt: skip


def plan_of(manifest: Manifest, *, buckets: bool = True) -> Plan:
    return Plan(manifest, seed=3, batch_size=32, shuffle_rows=512, buckets=buckets)


def epoch_of(plan: Plan, epoch: int, world: int = 1) -> npt.NDArray[np.int64]:
    """Return `[steps, batch]`, ranks' parts side by side."""
    numbers = range(plan.segments_per_epoch)
    parts = [
        np.concatenate([plan.segment(epoch, n, rank=r, world=world).indexes for n in numbers])
        for r in range(world)
    ]
    return np.concatenate(parts, axis=1)


def padding(lengths: npt.NDArray[np.int32], steps: npt.NDArray[np.int64]) -> float:
    """Return the share of the values of padded batches that are padding."""
    rows = lengths[steps]
    return 1 - float(rows.sum() / (rows.max(1).sum() * steps.shape[1]))


def test_a_segment_has_the_rows_that_it_has_without_buckets(manifest: Manifest) -> None:
    plan, plain = plan_of(manifest), plan_of(manifest, buckets=False)
    assert plan.segments_per_epoch > 2
    for number in range(plan.segments_per_epoch):
        mine, other = (one.segment(1, number).indexes for one in (plan, plain))
        assert mine.shape == other.shape
        assert np.array_equal(np.sort(mine, axis=None), np.sort(other, axis=None))
    assert len(np.unique(epoch_of(plan, 1))) == plan.steps_per_epoch * 32


def test_steps_need_less_padding(manifest: Manifest) -> None:
    lengths = open_lengths(manifest)
    shares = [padding(lengths, epoch_of(plan_of(manifest, buckets=on), 0)) for on in (False, True)]
    assert shares[0] > 0.6
    assert shares[1] < 0.3
    # Of each rank by itself, since each pads its own part.
    mine = epoch_of(plan_of(manifest), 0, world=2)[:, :16]
    assert padding(lengths, mine) < 0.3


def test_any_number_of_ranks_has_the_same_steps(manifest: Manifest) -> None:
    plan = plan_of(manifest)
    whole = epoch_of(plan, 2)
    for world in (2, 4, 8):
        assert np.array_equal(epoch_of(plan, 2, world), whole)


def test_any_step_is_found_again(manifest: Manifest) -> None:
    plan = plan_of(manifest)
    whole = epoch_of(plan, 1)
    again = pickle.loads(pickle.dumps(plan))
    assert len(pickle.dumps(plan)) < ROWS, "a plan travels without the table"
    for step in (0, 1, plan.steps_per_epoch // 2, plan.steps_per_epoch - 1):
        assert np.array_equal(again.indexes(1, step), whole[step])


def test_lengths_come_in_no_order_and_ties_are_drawn(manifest: Manifest) -> None:
    lengths = open_lengths(manifest)
    steps = epoch_of(plan_of(manifest), 0)
    medians = np.median(lengths[steps], axis=1)
    neighbours = np.corrcoef(medians[:-1], medians[1:])[0, 1]
    assert abs(neighbours) < 0.4
    assert not np.array_equal(steps, epoch_of(plan_of(manifest), 1))


def test_the_table_of_a_dataset_is_mapped_and_not_read(manifest: Manifest) -> None:
    lengths = open_lengths(manifest)
    assert isinstance(lengths, np.memmap)
    assert lengths.dtype == np.int32
    assert len(lengths) == ROWS


def test_an_ingest_keeps_the_lengths_of_its_rows(tmp_path: Path) -> None:
    rows = [6, 30, 11, 4, 9]
    lines = [",".join(["a", *map(str, range(n))]) for n in rows]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    data = SeriesConfig(source=str(tmp_path / "rows.csv"))
    options, modality = SourceOptions.of(data), Series(data, {})
    report = ingest(
        data.source, tmp_path / "set", options=options, modality=modality, executor="local"
    )
    dataset = open_dataset(report.location)
    assert open_lengths(dataset).tolist() == rows
    (tmp_path / "set" / FILE).unlink()
    moved = open_dataset((tmp_path / "set").rename(tmp_path / "moved"))
    with pytest.raises(DataError, match=r"has no lengths.npy, which data.buckets needs"):
        Plan(moved, seed=0, batch_size=2, buckets=True)


def test_images_have_no_buckets() -> None:
    shards = [Shard("0.parquet", 8, [8], 0)]
    images = Manifest(
        location="", rows=8, labelled=False, classes=None, shards=shards, sizes={}, mean=[],
        std=[], moment_rows=0, source="", kind="", quarantined=0, digest="", bytes=0,
    )  # fmt: skip
    with pytest.raises(ConfigError, match="images have none"):
        Plan(images, seed=0, batch_size=2, buckets=True)


def test_runs_from_before_there_were_buckets_resume() -> None:
    recipe = {"data": {"source": "digits"}, "objective": {"name": "dcl"}}
    assert from_mapping(recipe).fingerprint() == "d4bf06ef060c"
    series = recipe | {"data": {"source": "x", "modality": "series"}}
    bucketed = recipe | {"data": series["data"] | {"buckets": True}}
    assert from_mapping(series).fingerprint() != from_mapping(bucketed).fingerprint()
