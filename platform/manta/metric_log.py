"""The format of metrics.jsonl, in which a run logs its metrics: written and read here alone.

One JSON object a line: `{"step", "time", "metrics"}`.
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
"""Prefix of numbers about the machine. They are a series in time: a replay of training adds to
them, and does not repeat them."""


@dataclass(frozen=True, slots=True)
class MetricRecord:
    """One line of the file.

    Attributes:
        step: optimizer steps done.
        time: seconds since 1970.
        metrics: by name; may be infinite or NaN.
        end: the byte after the line.
    """

    step: int
    time: float
    metrics: dict[str, float]
    end: int

    @property
    def of_training(self) -> bool:
        """Whether it holds more than numbers about the machine."""
        return any(not name.startswith(SYSTEM) for name in self.metrics)


def read_metrics(
    path: str | Path, *, offset: int = 0, limit: int | None = None
) -> Iterator[MetricRecord]:
    """Yield the records from byte `offset` on; with `limit`, those in about so many bytes.

    A line that is torn is passed over, one that is still being written is left for later.

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
    """Write one line and flush it. Numbers that JSON has no word for are written as strings."""
    plain = {name: value if math.isfinite(value) else str(value) for name, value in metrics.items()}
    file.write(json.dumps({"step": step, "time": time.time(), "metrics": plain}).encode() + b"\n")
    file.flush()
