"""Samples to shards and back to arrays, in process: parcels, limits, resumption, splits."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from manta.data import Holdout, Manifest, read_split
from manta.data._shards import Limits, Written, facts, read_unit, write_shard
from manta.data.plan import Plan
from manta.data.read import decode_rows, decode_steps, read_labels, read_rows
from manta.data.sources import Sample, Source
from manta.data.stream import stream
from manta.errors import DataError
from manta.files import Place
from manta.modalities.image import ImageDecoder, ImageInspector

COUNT, SIDE = 40, 12
SMALL = Limits(max_side=None, group_rows=4, shard_rows=16)

DECODER = ImageDecoder(SIDE)


def pixels(number: int, width: int = SIDE) -> np.ndarray:
    generator = np.random.default_rng(number)
    return generator.integers(0, 256, (SIDE, width, 3), dtype=np.uint8)


def png(number: int, width: int = SIDE) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels(number, width)).save(out, "PNG")
    return out.getvalue()


class Numbers(Source):
    """One unit of images whose label is their number modulo 3; those of `bad` are no images."""

    kind = "numbers"
    bad: tuple[int, ...] = ()

    @classmethod
    def claim(cls, place: Place) -> int:
        return 0

    def units(self) -> Iterator[range]:
        yield range(COUNT)

    def read(self, unit: range) -> Iterator[Sample]:
        for number in unit:
            data = b"nothing" if number in self.bad else png(number)
            yield Sample(f"{number}.png", data, number % 3)


def parcels(source: Source, limits: Limits = SMALL, skip: int = 0) -> list[pa.Table]:
    return list(
        read_unit(
            source,
            0,
            range(COUNT),
            ImageInspector(limits.max_side, limits.max_pixels),
            limits,
            skip,
        )
    )


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Forty images in three shards of row groups of four."""
    blocks = parcels(Numbers(Place.of(tmp_path)))
    written: list[Written] = []
    for number, block in enumerate(blocks):
        first = sum(one.shard.rows for one in written)
        place = Place.of(tmp_path)
        (place / "progress").make()
        written.append(write_shard(place, number, first, [(0, 0)], SMALL, block))
    return Manifest(
        location=str(tmp_path),
        rows=COUNT,
        labelled=True,
        classes=None,
        shards=[one.shard for one in written],
        sizes={},
        mean=[],
        std=[],
        moment_rows=0,
        source="",
        kind="numbers",
        quarantined=0,
        digest="".join(one.digest for one in written),
        bytes=0,
    )


def test_parcels_are_cut_by_the_limits_and_count_what_is_bad(tmp_path: Path) -> None:
    source = Numbers(Place.of(tmp_path))
    source.bad = (3, 20)
    counts = [facts(block)[0] for block in parcels(source)]
    assert [(count["taken"], count["good"], count["bad"]) for count in counts] == [
        (16, 15, 1),
        (32, 15, 1),
        (40, 8, 0),
    ]
    assert (
        sum(count["size"] for count in counts)
        == sum(len(png(number)) for number in range(COUNT) if number not in source.bad) + 0
    )
    resumed = [facts(block)[0] for block in parcels(source, skip=16)]
    assert resumed == counts[1:]


def test_a_shard_holds_its_rows_and_its_record(manifest: Manifest) -> None:
    assert [(shard.rows, shard.row_groups) for shard in manifest.shards] == [
        (16, [4, 4, 4, 4]),
        (16, [4, 4, 4, 4]),
        (8, [4, 4]),
    ]
    place = Place(manifest.location)
    record = Written.from_json((place / "progress" / "00001.json").read())
    assert record is not None
    assert (record.first, record.taken, sum(record.labels.values())) == (16, 32, 16)
    assert sum(record.sizes) == 16
    expected = np.stack([pixels(number) / 255 for number in range(16, 32)]).mean(axis=(0, 1, 2))
    assert np.allclose(np.array(record.moments[:3]) / record.moment_rows, expected)


def test_a_large_image_is_shrunk_and_a_bomb_refused(tmp_path: Path) -> None:
    class Wide(Numbers):
        def read(self, unit: range) -> Iterator[Sample]:
            yield Sample("wide.png", png(0, width=60))
            yield Sample("huge.png", png(1, width=70))

    limits = replace(SMALL, max_side=6, max_pixels=SIDE * 65)
    (block,) = parcels(Wide(Place.of(tmp_path)), limits)
    table = pa.ipc.open_stream(block["parcel"][0].as_buffer()).read_all().to_pylist()
    assert Image.open(io.BytesIO(table[0]["bytes"])).size == (30, 6)
    assert table[1]["bytes"] is None
    assert "decompression bomb: 70 x 12 pixels are over the limit of 780" in table[1]["reason"]


def test_rows_are_read_in_the_order_of_asking(manifest: Manifest) -> None:
    rows = np.array([39, 0, 17, 16, 3, 17])
    encoded = read_rows(manifest, rows, labels=True, paths=True)
    assert encoded.labels == [number % 3 for number in rows]
    assert encoded.paths == [f"{number}.png" for number in rows]
    assert read_labels(manifest, rows) == encoded.labels
    images = decode_rows(manifest, rows, encoded.data, DECODER)["image"]
    expected = np.stack([pixels(number).transpose(2, 0, 1) for number in rows.tolist()])
    assert np.array_equal(images, expected)
    parts = list(decode_steps(manifest, rows.reshape(3, 2), DECODER))
    assert [(step, part.tolist()) for step, part, _ in parts] == [
        (0, [39, 0]),
        (1, [17, 16]),
        (2, [3, 17]),
    ]
    assert np.array_equal(np.concatenate([part["image"] for _, _, part in parts]), expected)


def test_damage_after_the_ingest_is_said(manifest: Manifest) -> None:
    with pytest.raises(DataError, match=r"row 7 of .* was damaged after its ingest \(not an image"):
        decode_rows(manifest, np.array([7]), [b"nothing"], DECODER)
    Path(manifest.location, manifest.shards[1].path).unlink()
    with pytest.raises(DataError, match=r"shard-00001.parquet cannot be read: .*is the dataset"):
        read_rows(manifest, np.array([20]))


def test_splits_are_read_in_process(manifest: Manifest) -> None:
    holdout = Holdout(manifest, 0.25)
    index: list[int] = []
    for split in ("bank", "queries"):
        for rank in range(2):
            options: dict[str, Any] = {"rank": rank, "world": 2, "executor": "local"}
            for batch in read_split(manifest, holdout, split, decoder=DECODER, **options):
                assert batch.labels is not None
                assert batch.labels.tolist() == [row % 3 for row in batch.index.tolist()]
                first = pixels(int(batch.index[0])).transpose(2, 0, 1)
                assert np.array_equal(batch.data["image"][0].numpy(), first)
                index += batch.index.tolist()
    assert sorted(index) == list(range(COUNT))
    assert len(holdout.sample("queries")) == COUNT // 4


def test_a_stream_in_process_is_the_plan(manifest: Manifest) -> None:
    plan = Plan(manifest, seed=3, batch_size=8, holdout=0.1)
    batches = list(
        stream(manifest, plan, decoder=DECODER, start_step=2, stop_step=9, executor="local")
    )
    assert [batch.step for batch in batches] == list(range(2, 9))
    for batch in batches:
        rows = plan.indexes(*plan.locate(batch.step))
        assert batch.index.tolist() == rows.tolist()
        expected = np.stack([pixels(row).transpose(2, 0, 1) for row in rows.tolist()])
        assert np.array_equal(batch.data["image"].numpy(), expected)


def test_a_block_without_parcels_has_no_facts() -> None:
    """As a task of an ingest gives that goes on after the last sample: it has no columns."""
    assert facts(pa.table({})) == []
