"""Journal of how much of a run's metrics file the tracking server has received.

The metrics file (`manta.metric_log` has its format) is the queue between training and the server:
nothing is lost when a process dies, and nothing is held in memory. A small file beside it says up
to which byte it was shipped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from manta.files import Place
from manta.metric_log import MetricRecord, read_metrics


@dataclass(slots=True)
class Shipped:
    """Position up to which the server has received the metrics file.

    Attributes:
        offset: number of bytes of the file that it has.
        skip: by metric, the last step that it has of lines that a rewind removed from the file.
            Training logs those points again, and they must not be sent twice.
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
    """Remove the incomplete line that a killed process left at the end of the file."""
    if not path.exists():
        return
    with open(path, "rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


def rewind(path: Path, shipped_path: Path, step: int) -> None:
    """Remove from the file what training logged after `step`, and update the server's position."""
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
    # In this order a kill between the two writes does no harm: the position is then too early, and
    # some lines are sent twice. They are equal, and MLflow keeps one of each. In the other order
    # the position could lie behind lines that were never sent.
    after.save(shipped_path)
    Place.of(path).write(b"".join(kept))
