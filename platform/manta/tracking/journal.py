"""How much of a run's metrics file the tracking server has.

The file (`manta.metric_log` has its format) is the queue between training and
the server, so nothing is lost with a process and nothing is held in memory. A small file beside it
says up to which byte it was shipped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from manta.files import Place
from manta.metric_log import MetricRecord, read_metrics


@dataclass(slots=True)
class Shipped:
    """Position of the server in the file.

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

    def missing(self, record: MetricRecord) -> dict[str, float]:
        """Return the metrics of `record` that no earlier attempt has shipped."""
        return {
            name: value
            for name, value in record.metrics.items()
            if record.step > self.skip.get(name, -1)
        }


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
