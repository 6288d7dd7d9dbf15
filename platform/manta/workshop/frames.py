"""Frames of a layer of a saved encoder, for `UnitsMaterial`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from manta.data.arrays import RowIndexes, as_tensors
from manta.materials import FrameBlocks, Frames, RowReader

BATCH = 64
"""Rows that go through the encoder at a time; fixed, so that sums do not depend on the tasks."""


@dataclass(frozen=True, slots=True)
class LayerFrameReader:
    """Producer of the frames of an encoder's layer, as `manta.materials.FrameReader` describes it.

    Attributes:
        stored: reference to the files of the saved encoder, by name.
        layer: submodule of the encoder; None: its last stage.
        step: as `SampleSequences.step`, of whole rows; None: frames are of what the encoder is
            given in evaluations.
    """

    stored: Any
    layer: str | None
    step: float | None = None

    @classmethod
    def of(
        cls, files: dict[str, bytes], layer: str | None, *, rate: float | None = None
    ) -> LayerFrameReader:
        """Return the producer; the files go into Ray's object store, once.

        Args:
            rate: units of the row's axis in a second, to the run that wants the frames.

        Raises:
            ConfigError: the encoder has no such layer.
        """
        exported, _ = _loaded(files, layer)  # a wrong layer raises here, not in an actor
        return cls(ray.put(files), layer, _step(exported, rate))

    def open(self, data: RowReader) -> FrameBlocks:
        from manta.ragged import Data, moved

        exported, reader = _loaded(ray.get(self.stored), self.layer)
        exported.to(data.device)
        preprocess = exported.preprocess
        decoder = preprocess.decoder()

        def blocks(rows: RowIndexes) -> Iterator[tuple[int, Frames]]:
            for start in range(0, len(rows), BATCH):
                some = rows[start : start + BATCH]
                columns = moved(as_tensors(data.decoded(some, decoder)), data.device)
                prepared: Data = preprocess.ready(columns)
                lengths = [None] * len(some)
                if self.step is not None:
                    prepared = preprocess.whole(columns)
                    lengths = exported.encoder.token_lengths(prepared).tolist()
                frames = reader.frames(prepared).cpu().numpy()
                parts = (row[:length] for row, length in zip(frames, lengths, strict=True))
                yield from zip(some.tolist(), parts, strict=True)

        return blocks


def _step(exported: Any, rate: float | None) -> float | None:
    """Return the distance of two frames in a run's units; None where frames have no places."""
    preprocess, encoder = exported.preprocess, exported.encoder
    has_lengths = hasattr(encoder, "token_lengths") and preprocess.spec.form == "sequence"
    if rate is None or preprocess.rate is None or not has_lengths:
        return None
    (stride,) = encoder.patch_size
    return float(stride * rate / preprocess.rate)


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the files of a saved encoder, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def _loaded(files: dict[str, bytes], layer: str | None) -> tuple[Any, Any]:
    from manta.encoders.layers import LayerReader, stages
    from manta.serving.export import load_exported

    with tempfile.TemporaryDirectory(prefix="manta-encoder-") as scratch:
        for name, data in files.items():
            (Path(scratch) / name).write_bytes(data)
        exported = load_exported(scratch).eval()
    chosen = stages(exported.encoder)[-1] if layer is None else layer
    return exported, LayerReader(exported.encoder, [chosen])
