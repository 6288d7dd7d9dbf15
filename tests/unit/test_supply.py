"""Images that several runs share: which rows a rank reads of them, and with which labels."""

import numpy as np
import torch

from manta.data import Holdout, Manifest, Shard
from manta.evaluation.rows import SplitRows
from manta.modalities.image import ImageDecoder
from manta.training import supply
from manta.training.supply import CachedRows

ROWS = 90
MANIFEST = Manifest(
    location="", rows=ROWS, labelled=True, classes=None, shards=[Shard("", ROWS, [ROWS], 0)],
    sizes={}, mean=[], std=[], moment_rows=0, source="", kind="", quarantined=0, digest="", bytes=0,
)  # fmt: skip
HOLDOUT = Holdout(MANIFEST, 1 / 3)
LABELS = {row: row % 7 for row in range(ROWS)}


class CacheInMemory:
    """Decoded rows as `DecodedCache` gives them; every pixel of a row is its number."""

    decoder = ImageDecoder(4)

    def steps(self, indexes: np.ndarray):
        for rows in indexes:
            pixels = rows.astype(np.uint8)[:, None, None, None]
            yield {"image": np.broadcast_to(pixels, (len(rows), 3, 4, 4)).copy()}


def read(rows: SplitRows, *, labels=LABELS, world: int = 1):
    source = CachedRows(MANIFEST, CacheInMemory(), labels)
    return [list(source.read(rows, rank=rank, world=world)) for rank in range(world)]


def test_ranks_read_a_split_once_and_in_order():
    rows = SplitRows(MANIFEST, HOLDOUT, "bank", 50)
    batches = [batch for part in read(rows, world=3) for batch in part]
    index = torch.cat([batch.index for batch in batches])
    assert index.tolist() == rows.indexes.tolist()
    assert len(index) == 50
    pixels = torch.cat([batch.data["image"] for batch in batches])
    assert torch.equal(pixels[:, 0, 0, 0].long(), index)
    assert torch.cat([batch.labels for batch in batches]).tolist() == [n % 7 for n in index]


def test_rows_come_in_batches_of_bounded_size(monkeypatch):
    monkeypatch.setattr(supply, "ROWS_A_BATCH", 16)
    (batches,) = read(SplitRows(MANIFEST, HOLDOUT, "bank", 50))
    assert [len(batch.index) for batch in batches] == [16, 16, 16, 2]


def test_queries_are_the_rows_that_are_held_out():
    (batches,) = read(SplitRows(MANIFEST, HOLDOUT, "queries", ROWS))
    index = torch.cat([batch.index for batch in batches]).tolist()
    bank = SplitRows(MANIFEST, HOLDOUT, "bank", ROWS).indexes.tolist()
    assert sorted(index + bank) == list(range(ROWS))
    assert len(index) == 30


def test_data_without_labels_have_none():
    (batches,) = read(SplitRows(MANIFEST, HOLDOUT, "bank", 10), labels={})
    assert [batch.labels for batch in batches] == [None]
