"""Rows that probes learn from and rows that they are scored on, of folders of images."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from manta.config import EvaluationConfig
from manta.data import LabelledBatch
from manta.errors import ConfigError
from manta.evaluation.rows import SplitRows, decoded, read_alone
from manta.evaluation.session import bank_and_queries
from manta.modalities.image import ImageDecoder


def images(folder: Path, classes: tuple[str, ...], each: int, seed: int) -> str:
    """A folder of `each` small pictures for every class."""
    draw = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return str(folder)


LIMITS = EvaluationConfig(holdout=0.25, bank_rows=1000, query_rows=1000)


def test_one_dataset_is_split(tmp_path: Path) -> None:
    data = images(tmp_path / "data", ("a", "b"), 20, 0)
    bank, queries = bank_and_queries(data, None, str(tmp_path / "cache"), LIMITS)
    assert (bank.split, queries.split) == ("bank", "queries")
    assert len(bank.indexes) + len(queries.indexes) == 40
    assert not set(bank.indexes.tolist()) & set(queries.indexes.tolist())
    assert 2 <= len(queries.indexes) <= 18


def test_two_datasets_are_taken_whole(tmp_path: Path) -> None:
    data = images(tmp_path / "data", ("a", "b"), 3, 0)
    other = images(tmp_path / "other", ("a", "b"), 5, 1)
    bank, queries = bank_and_queries(data, other, str(tmp_path / "cache"), LIMITS)
    assert (len(bank.indexes), len(queries.indexes)) == (10, 6)
    assert bank.manifest.digest != queries.manifest.digest


def test_sets_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    data = images(tmp_path / "data", ("a", "b"), 3, 0)
    same = images(tmp_path / "same", ("a", "b"), 3, 0)
    other = images(tmp_path / "other", ("c", "d"), 3, 1)
    cache = str(tmp_path / "cache")
    with pytest.raises(ConfigError, match="are the same images: each would find itself"):
        bank_and_queries(data, same, cache, LIMITS)
    with pytest.raises(ConfigError, match=r"no class in common \(c, d against a, b\); give both"):
        bank_and_queries(data, other, cache, LIMITS)


def test_classes_go_together_by_their_names(tmp_path: Path) -> None:
    data = images(tmp_path / "data", ("b", "c", "zebra"), 2, 0)
    other = images(tmp_path / "other", ("a", "b", "c"), 3, 1)
    bank, queries = bank_and_queries(data, other, str(tmp_path / "cache"), LIMITS)
    assert labels_of(bank) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert labels_of(queries) == [1, 1, 2, 2, 3, 3], "a class that the bank lacks comes after it"
    read = partial(decoded, decoder=ImageDecoder(8), executor="local")
    batches = read_alone(read, {"bank": bank, "queries": queries}, "queries")
    assert torch.cat([labels for _, labels in batches]).tolist() == [1, 1, 2, 2, 3, 3]


def labels_of(rows: SplitRows) -> list[int]:
    labels = rows.read_labels()
    assert labels is not None
    return labels.tolist()


def test_reading_alone_reads_what_all_ranks_would(tmp_path: Path) -> None:
    data = images(tmp_path / "data", ("a", "b"), 6, 0)
    bank, queries = bank_and_queries(data, None, str(tmp_path / "cache"), LIMITS)
    calls: list[tuple[str, int, int, int]] = []

    def read(rows: SplitRows, *, rank: int, world: int) -> Iterator[LabelledBatch]:
        calls.append((rows.split, rows.limit, rank, world))
        yield from ()

    splits = {"bank": bank, "queries": queries}
    assert list(read_alone(read, splits, "queries", 3)) == []
    assert list(read_alone(read, splits, "bank")) == []
    assert calls == [("queries", 3, 0, 1), ("bank", 1000, 0, 1)]
