"""A resumed run goes on with the data that it began with, and says so where the source is other."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from manta.data import ingest, open_dataset, prepared
from manta.errors import DataError, RunError
from manta.runs.resumed_data import prepare_resumed

OWNER = "run 'photos'"


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def ingested(source: Path, cache: Path) -> str:
    """Ingest a source where a run would look for it, without Ray."""
    return ingest(source, prepared(source, cache), executor="local").location


class Begun:
    """A run that was started on four images."""

    def __init__(self, folder: Path) -> None:
        self.source, self.cache = folder / "photos", folder / "runs" / "datasets"
        for seed in range(4):
            picture(self.source / "ab"[seed % 2] / f"{seed}.png", seed)
        self.dataset = ingested(self.source, self.cache)
        self.record = {"dataset": self.dataset, "digest": open_dataset(self.dataset).digest}
        self.told: list[str] = []

    def resume(self, **changes: Any) -> str:
        record = self.record | changes
        return prepare_resumed(str(self.source), str(self.cache), record, OWNER, self.told.append)


@pytest.fixture
def begun(tmp_path: Path) -> Begun:
    return Begun(tmp_path)


def test_the_same_source_is_the_same_data_and_nothing_is_said(begun: Begun) -> None:
    assert begun.resume() == begun.dataset
    assert begun.resume(dataset=None) == begun.dataset, "a run that had not begun"
    assert begun.told == []


@pytest.mark.parametrize("is_ingested", [True, False])
def test_a_changed_source_is_said_and_the_data_of_then_are_used(
    begun: Begun, is_ingested: bool
) -> None:
    picture(begun.source / "a" / "new.png", 7)
    if is_ingested:
        assert ingested(begun.source, begun.cache) != begun.dataset
    assert begun.resume() == begun.dataset
    assert begun.told == [
        f"{begun.source} is not as it was when {OWNER} began, or read otherwise by this version: "
        f"going on with the data of then, {begun.dataset}"
    ]


def test_a_source_that_is_gone_is_said_and_the_data_of_then_are_used(begun: Begun) -> None:
    shutil.rmtree(begun.source)
    assert begun.resume() == begun.dataset
    (told,) = begun.told
    assert told.endswith(f"{OWNER} goes on with the data that it began with, {begun.dataset}")
    assert "\n" not in told
    shutil.rmtree(begun.dataset)
    with pytest.raises(DataError, match="nothing at"):
        begun.resume()


def test_without_the_data_of_then_it_is_refused(begun: Begun) -> None:
    shutil.rmtree(begun.dataset)
    picture(begun.source / "a" / "new.png", 7)
    ingested(begun.source, begun.cache)
    with pytest.raises(RunError, match=r"photos has changed since run 'photos' began, and the"):
        begun.resume()
    assert begun.told == []


def test_data_of_then_that_were_overwritten_are_not_taken_for_them(begun: Begun) -> None:
    picture(begun.source / "a" / "new.png", 7)
    other = ingested(begun.source, begun.cache)
    shutil.rmtree(begun.dataset)
    shutil.copytree(other, begun.dataset)
    with pytest.raises(RunError, match="start another --name"):
        begun.resume()


def test_a_cache_that_moved_is_no_change(begun: Begun) -> None:
    moved = begun.cache.with_name("moved")
    shutil.move(begun.cache, moved)
    begun.cache = moved
    assert Path(begun.resume()).parent == moved
    elsewhere = begun.cache.with_name("elsewhere")
    record = begun.record | {"dataset": begun.resume()}
    begun.cache = elsewhere
    assert begun.resume(**record) == record["dataset"], "the dataset of then, as it is named"
    assert begun.told == []
