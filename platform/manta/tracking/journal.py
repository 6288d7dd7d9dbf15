"""The metrics file of a run: what was logged, and how much of it the tracking server has.

One JSON object a line, `{"step", "time", "metrics"}`. The file is the queue between training and
the server, so nothing is lost with a process and nothing is held in memory. A small file beside it
says up to which byte it was shipped.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from manta.files import Place

SYSTEM = "system/"
"""Prefix of numbers about the machine. They are a series in time: a replay of training adds to
them, and does not repeat them."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line.

    Attributes:
        step: optimizer steps done.
        time: seconds since 1970.
        metrics: by name.
        end: the byte after the line.
    """

    step: int
    time: float
    metrics: dict[str, float]
    end: int

    @property
    def of_training(self) -> bool:
        return any(not name.startswith(SYSTEM) for name in self.metrics)


@dataclass(slots=True)
class Shipped:
    """How far the server is.

    Attributes:
        offset: bytes of the file that it has.
        skip: by name, the last step that it has of lines that a rewind took out of the file. A
            replay logs those points again, and the server gets them once.
    """

    offset: int = 0
    skip: dict[str, int] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Shipped:
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            return cls()

    def save(self, path: Path) -> None:
        Place.of(path).write(json.dumps({"offset": self.offset, "skip": self.skip}).encode())

    def missing(self, record: Record) -> dict[str, float]:
        """The metrics of `record` that no earlier attempt has shipped."""
        return {
            name: value
            for name, value in record.metrics.items()
            if record.step > self.skip.get(name, -1)
        }


def read_metrics(
    path: str | Path, *, offset: int = 0, limit: int | None = None
) -> Iterator[Record]:
    """The records from byte `offset` on; with `limit`, those in about so many bytes. A line that is
    torn is passed over, one that is still being written is left for later."""
    end = offset
    with open(path, "rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n") or (limit is not None and end - offset >= limit):
                return
            end += len(line)
            try:
                found = json.loads(line)
                metrics = {name: float(value) for name, value in found["metrics"].items()}
                yield Record(int(found["step"]), float(found["time"]), metrics, end)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue


def append(file: BinaryIO, step: int, metrics: Mapping[str, float]) -> None:
    """Write one line and flush it. Numbers that JSON has no word for are written as strings."""
    plain = {name: value if math.isfinite(value) else str(value) for name, value in metrics.items()}
    file.write(json.dumps({"step": step, "time": time.time(), "metrics": plain}).encode() + b"\n")
    file.flush()


def mend(path: Path) -> None:
    """Take away the part of a line that a killed process left at the end."""
    if not path.exists():
        return
    with open(path, "rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


def rewind(path: Path, shipped_path: Path, step: int) -> None:
    """Take out of the file what training logged after `step`, and note how far the server is with
    what remains."""
    shipped = Shipped.load(shipped_path)
    kept: list[bytes] = []
    after = Shipped(skip=dict(shipped.skip))
    content = path.read_bytes()
    start = 0
    for record in read_metrics(path):
        line, start = content[start : record.end], record.end
        was_shipped = record.end <= shipped.offset
        if record.step <= step or not record.of_training:
            kept.append(line)
            after.offset += len(line) if was_shipped else 0
        elif was_shipped:
            after.skip |= {
                name: max(record.step, after.skip.get(name, -1)) for name in record.metrics
            }
    # In this order a kill in between costs nothing: lines that are sent twice are equal, and MLflow
    # keeps one of them.
    after.save(shipped_path)
    Place.of(path).write(b"".join(kept))
