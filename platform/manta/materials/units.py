"""Units: clusters of frames, as a sequence of its own length per sample (HuBERT, S104)."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from manta.errors import ConfigError, DataError
from manta.files import Place
from manta.materials._base import MATERIALS, Material, RowIndexes, RowReader, Target, Workshop
from manta.materials._sequences import OFFSETS, write_sequences
from manta.modalities import Modality, SignalFrames
from manta.splitmix import GOLDEN, mix

FIT_ROWS, FIT_FRAMES = 20_000, 200_000
"""Most rows, spread over the data, and most frames of them, to which centroids are fitted."""
CHUNK = 1_024
"""Rows whose units are one result of a task."""
DECODED = 64
"""Rows that are decoded at a time."""
CENTROIDS = "centroids.npy"

Frames = npt.NDArray[np.float32]
"""`[T, D]`, the frames of one row in their order."""
FrameBlocks = Callable[[RowIndexes], Iterator[tuple[int, Frames]]]
"""Function that yields `(row number, frames)` of each of the rows, in their order."""


class FrameReader(Protocol):
    """Producer of frames: plain data that can be pickled, and what a task makes of it.

    One whose frames have places has an attribute `step`, as `SampleSequences.step`.
    """

    def open(self, data: RowReader) -> FrameBlocks:
        """Return the function from rows to their frames; called once in each process."""


class FrameSource(Protocol):
    """What frames are to be taken: a frozen dataclass, which names them in an objective."""

    def reader(self, workshop: Workshop) -> FrameReader:
        """Return their producer; called in the driver."""


@dataclass(frozen=True, slots=True)
class LayerFrames:
    """Frames that are the outputs of an encoder's layer: cells of a map, row by row, or tokens.

    Attributes:
        model: as `ModelMaterial.model`.
        layer: submodule of the encoder, such as `layer3` or `blocks.5`; None: its last stage.
    """

    model: str
    layer: str | None = None

    def reader(self, workshop: Workshop) -> FrameReader:
        reader: FrameReader = workshop.layer_frames(self.model, self.layer)
        return reader


@dataclass(frozen=True, slots=True)
class RawFrames:
    """Frames of the raw signal, such as the cepstra of sounds: see `Modality.frames`."""

    def reader(self, workshop: Workshop) -> FrameReader:
        return _RawReader(workshop.modality.frames())


@MATERIALS.register("units")
@dataclass(frozen=True, slots=True)
class UnitsMaterial(Material):
    """A folder of `SampleSequences`: for each frame of each sample, its cluster by k-means.

    The centroids, `[clusters, D]` float32, lie beside the sequences in `centroids.npy`.

    Attributes:
        frames: what is clustered.
        clusters: number of clusters.
        seed: of the k-means and of the frames that it is fitted to.
        placed: whether it is refused where the units have no places in their rows.
    """

    last: ClassVar[str | None] = OFFSETS
    frames: FrameSource
    clusters: int
    seed: int = 0
    placed: bool = field(default=False, repr=False)

    def make(self, workshop: Workshop, target: Target) -> None:
        """Fit centroids to a sample of the frames, then assign every frame, by Ray Data tasks.

        The centroids and the units of each chunk of rows are kept as soon as they are there, so
        that another start of the run goes on from them.
        """
        parts = workshop.scratch(repr(self))
        reader = self.frames.reader(workshop)
        step: float | None = getattr(reader, "step", None)
        if self.placed:
            _check_placed(workshop.modality, step)
        if (parts / CENTROIDS).exists():
            centroids = np.load(io.BytesIO((parts / CENTROIDS).read()), allow_pickle=False)
        else:
            workshop.notify(f"{target.name}: fitting {self.clusters} units")
            centroids = self._fitted(workshop, reader)
            (parts / CENTROIDS).write(_bytes(centroids))
        rows = np.arange(workshop.rows)
        done = {int(name[:-4]) for name, _ in parts.entries() if name.endswith(".npz")}
        workshop.notify(f"{target.name}: assigning units to the frames of {len(rows):,} rows")
        work = _Assigning(reader, centroids)
        for number, (lengths, units) in workshop.over_rows(work, rows, chunk=CHUNK, done=done):
            (parts / f"{number}.npz").write(_bytes(lengths, units))
        (target.place / CENTROIDS).write(_bytes(centroids))
        numbers = range(-(-len(rows) // CHUNK))
        lengths = np.concatenate([_loaded(parts, number, "lengths") for number in numbers])
        units = (_loaded(parts, number, "units") for number in numbers)
        kind = np.min_scalar_type(self.clusters - 1)
        write_sequences(target.place, lengths, units, kind, step=step)

    def _fitted(self, workshop: Workshop, reader: FrameReader) -> npt.NDArray[np.float32]:
        """Return centroids `[clusters, D]` of a sample of the frames."""
        from sklearn.cluster import MiniBatchKMeans

        rows = np.arange(0, workshop.rows, max(1, -(-workshop.rows // FIT_ROWS)))
        most = max(1, FIT_FRAMES // len(rows))
        work = _Sampling(reader, most, self.seed)
        sampled = dict(workshop.over_rows(work, rows, chunk=CHUNK))
        # In the order of rows and not in that in which tasks ended: the same data, the same units.
        frames = [some for number in sorted(sampled) for some in sampled[number]]
        if (count := sum(map(len, frames))) < self.clusters:
            raise ConfigError(f"{self.clusters} units of {count:,} frames: lower their number")
        model = MiniBatchKMeans(self.clusters, random_state=self.seed, n_init=3, batch_size=4096)
        centroids = model.fit(np.concatenate(frames)).cluster_centers_
        return np.asarray(centroids, dtype=np.float32)

    def stand_in(self, path: Path, rows: int) -> bool:
        """Write one unit for each row."""
        ones, zeros = np.ones(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64)
        write_sequences(Place.of(path), ones, [zeros], "u1", step=1.0 if self.placed else None)
        return True


@dataclass(frozen=True, slots=True)
class _RawReader:
    """Producer of the frames of decoded rows."""

    frames: SignalFrames

    @property
    def step(self) -> float:
        return self.frames.step

    def open(self, data: RowReader) -> FrameBlocks:
        def blocks(rows: RowIndexes) -> Iterator[tuple[int, Frames]]:
            for start in range(0, len(rows), DECODED):
                some = rows[start : start + DECODED]
                decoded = data.decoded(some, self.frames.decoder)
                yield from zip(some.tolist(), self.frames(decoded), strict=True)

        return blocks


@dataclass(frozen=True, slots=True)
class _Sampling:
    """Work that returns some frames of each row that has any."""

    reader: FrameReader
    most: int
    seed: int

    def open(self, data: RowReader) -> Callable[[RowIndexes], list[Frames]]:
        blocks = self.reader.open(data)
        return lambda rows: [
            frames[_drawn(self.seed, row, len(frames), self.most)]
            for row, frames in _checked(blocks, rows)
            if len(frames)
        ]


@dataclass(frozen=True, slots=True)
class _Assigning:
    """Work that returns the number of frames of each row, and the units of all, end to end."""

    reader: FrameReader
    centroids: npt.NDArray[np.float32]

    def open(self, data: RowReader) -> Callable[[RowIndexes], tuple[Any, Any]]:
        from sklearn.metrics import pairwise_distances_argmin

        blocks = self.reader.open(data)

        def assigned(rows: RowIndexes) -> tuple[Any, Any]:
            units = [
                # Row by row, so that no sum depends on which rows a task has.
                pairwise_distances_argmin(frames, self.centroids).astype(np.int32)
                if len(frames)
                else np.empty(0, dtype=np.int32)
                for _, frames in _checked(blocks, rows)
            ]
            return np.array([len(row) for row in units], dtype=np.int64), np.concatenate(units)

        return assigned


def _check_placed(modality: Modality[Any], step: float | None) -> None:
    """Check that units can be looked up by the place of a view in its row.

    Raises:
        ConfigError: they have no places, or views come from drawn parts of rows.
    """
    if modality.decoder().draws:
        raise ConfigError(
            f"data: units have their places in whole {modality.noun}, and of longer ones a drawn "
            "part is decoded; raise data.longest to that of the longest"
        )
    if step is None:
        raise ConfigError(
            f"units of this model have no places in {modality.noun}; name a model with frames over "
            "time, such as one of encoder.name=wave"
        )


def _checked(blocks: FrameBlocks, rows: RowIndexes) -> Iterator[tuple[int, Frames]]:
    """Yield the frames of each row.

    Raises:
        DataError: a row's are missing, or not numbers.
    """
    wanted = iter(rows.tolist())
    for row, frames in blocks(rows):
        if row != next(wanted, None):
            raise DataError(f"the frames of row {row} came out of turn: its reader must keep order")
        if not np.isfinite(frames).all():
            raise DataError(f"a frame of row {row} holds numbers that are not finite")
        yield row, np.ascontiguousarray(frames, dtype=np.float32)
    if (missing := next(wanted, None)) is not None:
        raise DataError(f"row {missing} and those after it have no frames; ingest again")


def _drawn(seed: int, row: int, count: int, most: int) -> npt.NDArray[np.int64]:
    """Return at most `most` of `count` positions, ascending: a function of seed and row alone."""
    if count <= most:
        return np.arange(count)
    words = mix(mix(np.array([seed], dtype=np.int64)) + np.array([row], dtype=np.int64))
    keys = mix(words + np.arange(1, count + 1) * np.int64(GOLDEN))
    return np.sort(np.argsort(keys, kind="stable")[:most])


def _bytes(array: npt.NDArray[Any], units: npt.NDArray[Any] | None = None) -> bytes:
    """Return the file of an array, or of a chunk's lengths and units."""
    file = io.BytesIO()
    if units is None:
        np.save(file, array, allow_pickle=False)
    else:
        np.savez(file, lengths=array, units=units)
    return file.getvalue()


def _loaded(parts: Place, number: int, what: str) -> npt.NDArray[Any]:
    with np.load(io.BytesIO((parts / f"{number}.npz").read()), allow_pickle=False) as chunk:
        array: npt.NDArray[Any] = chunk[what]
    return array
