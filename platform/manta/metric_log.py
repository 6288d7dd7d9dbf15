"""Reader and writer of metrics.jsonl, the file in which a run logs its metrics.

Each line is one JSON object: `{"step", "time", "metrics"}`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

SYSTEM = "system/"
"""Prefix of metrics about the machine. They are a series in time: training the same steps again
after a resume adds new points, and does not repeat old ones."""


@dataclass(frozen=True, slots=True)
class MetricRecord:
    """One line of the file.

    Attributes:
        step: number of optimizer steps done.
        time: seconds since 1970.
        metrics: values by name; may be infinite or NaN.
        end: offset in the file of the byte after the line.
    """

    step: int
    time: float
    metrics: dict[str, float]
    end: int

    @property
    def of_training(self) -> bool:
        """Return whether the record holds any metric that is not about the machine."""
        return any(not name.startswith(SYSTEM) for name in self.metrics)


def read_metrics(
    path: str | Path, *, offset: int = 0, limit: int | None = None
) -> Iterator[MetricRecord]:
    """Yield the records from byte `offset` on, within about `limit` bytes if it is given.

    A damaged line is skipped; an unfinished last line is left for a later call.

    Raises:
        FileNotFoundError: there is no such file.
    """
    end = offset
    with open(path, "rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n") or (limit is not None and end - offset >= limit):
                return
            end += len(line)
            try:
                entry = json.loads(line)
                metrics = {name: float(value) for name, value in entry["metrics"].items()}
                yield MetricRecord(int(entry["step"]), float(entry["time"]), metrics, end)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue


def append(file: BinaryIO, step: int, metrics: Mapping[str, float]) -> None:
    """Write one line and flush it."""
    # JSON has no NaN and no infinities; `read_metrics` turns the strings back into floats.
    plain = {name: value if math.isfinite(value) else str(value) for name, value in metrics.items()}
    file.write(json.dumps({"step": step, "time": time.time(), "metrics": plain}).encode() + b"\n")
    file.flush()
