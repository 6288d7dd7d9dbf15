"""Units: frames of unequal numbers by row, clustered and kept as sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from manta.errors import ConfigError, DataError
from manta.files import Place
from manta.materials import (
    FrameBlocks,
    Frames,
    RowWork,
    SampleSequences,
    Target,
    UnitsMaterial,
    units,
)
from manta.modalities.audio import Audio, AudioConfig

ROWS, KINDS = 300, 4


def kinds_of(row: int) -> np.ndarray:
    return np.random.default_rng(row).integers(0, KINDS, row % 7)


@dataclass(frozen=True)
class ToyFrames:
    """Frames near one of four corners; none in every seventh row."""

    fault: str = ""

    def reader(self, workshop: Any) -> ToyFrames:
        return self

    def open(self, data: Any) -> FrameBlocks:
        def blocks(rows: np.ndarray) -> Iterator[tuple[int, Frames]]:
            for row in rows[::-1] if self.fault == "order" else rows:
                noise = np.random.default_rng(row + 10_000).normal(0, 0.02, (row % 7, 3))
                frames = np.eye(KINDS, 3)[kinds_of(row)] + noise
                if self.fault == "nan" and row == 5:
                    frames[0, 0] = np.nan
                if not (self.fault == "few" and row == 299):
                    yield int(row), frames.astype(np.float32)

        return blocks


class HereWorkshop:
    """A workshop in this process, which does its chunks in an order of its own."""

    def __init__(self, folder: Path, order: Callable[[list[int]], list[int]]) -> None:
        self.rows, self.folder, self.order = ROWS, folder, order
        self.worked: list[int] = []
        self.stop_after = 10_000

    def notify(self, message: str) -> None:
        return None

    def scratch(self, identity: str) -> Place:
        place = Place.of(self.folder / "parts")
        place.make()
        return place

    def over_rows(
        self, work: RowWork[Any], rows: Any, *, chunk: int, done: Set[int] = frozenset()
    ) -> Iterator[tuple[int, Any]]:
        numbers = [number for number in range(-(-len(rows) // chunk)) if number not in done]
        for number in self.order(numbers):
            if len(self.worked) == self.stop_after:
                raise KeyboardInterrupt
            self.worked.append(number)
            yield number, work.open(None)(rows[number * chunk : (number + 1) * chunk])


def made(
    folder: Path, order: Callable[[list[int]], list[int]] = sorted, **changes: Any
) -> SampleSequences:
    folder.mkdir(exist_ok=True)
    material = UnitsMaterial(**({"frames": ToyFrames(), "clusters": KINDS} | changes))
    material.make(HereWorkshop(folder, order), Target("units", Place.of(folder / "units")))
    return SampleSequences(folder / "units")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "CHUNK", 32)


def test_equal_frames_get_equal_units_row_by_row(tmp_path: Path) -> None:
    sequences = made(tmp_path / "a")
    everything = sequences[torch.arange(ROWS)]
    assert everything.lengths.tolist() == [row % 7 for row in range(ROWS)]
    kinds = np.concatenate([kinds_of(row) for row in range(ROWS)])
    pairs = set(zip(kinds.tolist(), everything.values.tolist(), strict=True))
    assert len(pairs) == KINDS, "one unit for each kind"
    assert sequences.values.dtype == np.uint8
    assert np.load(tmp_path / "a/units/centroids.npy").shape == (KINDS, 3)


def test_the_order_of_tasks_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "FIT_FRAMES", 200)
    made(tmp_path / "a")
    made(tmp_path / "b", lambda numbers: numbers[::-1])
    for file in ("values.npy", "offsets.npy", "centroids.npy"):
        a, b = ((tmp_path / name / "units" / file).read_bytes() for name in "ab")
        assert a == b
    made(tmp_path / "c", seed=1)
    c = (tmp_path / "c/units/centroids.npy").read_bytes()
    assert c != (tmp_path / "a/units/centroids.npy").read_bytes(), "a seed draws other frames"


def test_few_rows_and_few_frames_of_each_are_fitted_to(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[int] = []
    from sklearn.cluster import MiniBatchKMeans

    fit = MiniBatchKMeans.fit

    def watched(model: Any, frames: Any) -> Any:
        fitted.append(len(frames))
        return fit(model, frames)

    monkeypatch.setattr(MiniBatchKMeans, "fit", watched)
    monkeypatch.setattr(units, "FIT_ROWS", 100)
    monkeypatch.setattr(units, "FIT_FRAMES", 250)
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        made(Path(scratch) / "a")
    assert fitted == [sum(min(row % 7, 2) for row in range(0, ROWS, 3))]


def test_another_start_goes_on_from_the_chunks_that_are_there(tmp_path: Path) -> None:
    expected = made(tmp_path / "whole")
    (tmp_path / "a").mkdir()
    material = UnitsMaterial(ToyFrames(), KINDS)
    target = Target("units", Place.of(tmp_path / "a/units"))
    chunks = -(-ROWS // 32)
    killed = HereWorkshop(tmp_path / "a", sorted)
    killed.stop_after = chunks + 4  # all of the fit, and four of the assignment
    with pytest.raises(KeyboardInterrupt):
        material.make(killed, target)
    assert not (tmp_path / "a/units").exists()
    second = HereWorkshop(tmp_path / "a", sorted)
    material.make(second, target)
    assert second.worked == list(range(4, chunks))
    assert np.array_equal(SampleSequences(tmp_path / "a/units").values, expected.values)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("nan", r"^a frame of row 5 holds numbers that are not finite$"),
        ("order", r"came out of turn"),
        ("few", r"^row 299 and those after it have no frames; ingest again$"),
    ],
)
def test_frames_that_are_wrong_are_named(tmp_path: Path, fault: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        made(tmp_path / "a", frames=ToyFrames(fault))


def test_more_units_than_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^2000 units of 897 frames: lower their number$"):
        made(tmp_path / "a", clusters=2_000)


def test_its_stand_in_has_a_unit_for_each_row(tmp_path: Path) -> None:
    assert UnitsMaterial(ToyFrames(), 5).stand_in(tmp_path / "units", 12)
    assert SampleSequences(tmp_path / "units").lengths(torch.arange(12)).tolist() == [1] * 12


@dataclass(frozen=True)
class PlacedFrames(ToyFrames):
    """The same, a frame every 160 samples."""

    step: float = 160.0


@pytest.mark.parametrize(
    ("frames", "most", "sentence"),
    [
        (
            PlacedFrames(),
            11.0,
            r"^data: units have their places in whole clips, and of longer",
        ),
        (ToyFrames(), 9.0, r"^units of this model have no places in clips"),
        (PlacedFrames(), 9.0, None),
    ],
)
def test_units_that_views_are_laid_beside_have_places(
    tmp_path: Path, frames: Any, most: float, sentence: str | None
) -> None:
    """Of clips longer than the ten seconds of `data.longest` a drawn part is decoded."""
    workshop: Any = HereWorkshop(tmp_path, sorted)
    workshop.modality = Audio(AudioConfig(source="x"), {"seconds": {"least": 0.1, "most": most}})
    material, place = UnitsMaterial(frames, KINDS, placed=True), Place.of(tmp_path / "units")
    if sentence is not None:
        with pytest.raises(ConfigError, match=sentence):
            material.make(workshop, Target("units", place))
        assert not workshop.worked, "it is said before anything is computed"
        return
    material.make(workshop, Target("units", place))
    sequences = SampleSequences(tmp_path / "units")
    assert sequences.step == 160.0
    numbers = torch.tensor([[-1.0, 0.0, 2.9, 3.0]])
    row = sequences[torch.tensor([3])].values.tolist()
    assert len(row) == 3
    assert sequences.at(torch.tensor([3]), numbers).tolist() == [[-1, row[0], row[2], -1]]
    assert "placed" not in repr(material), "runs that want places share what was made with others"
