"""Results of `benchmarks/modalities.py`: what a part measures, and how it is shown."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manta.api.run_result import Run


@dataclass(frozen=True)
class Options:
    """What the command line says.

    Attributes:
        seeds: 0 upwards, each of which is a run.
        data: folder of the data.
        scratch: for runs and ingested data.
        only: names of tasks; empty: all.
        local: whether runs are of the worker's loop alone, where a part can do that.
    """

    seeds: int
    data: Path
    scratch: Path
    only: tuple[str, ...] = ()
    local: bool = False

    def wants(self, task: str) -> bool:
        return not self.only or task in self.only


@dataclass(frozen=True)
class Row:
    """One method on one task by one measure.

    Attributes:
        trained, untrained: a value for each seed; of the same encoder before training.
        floor: value of what learns nothing, and what it is.
        published: values of others, by name; of their protocols, which differ.
        settings: of the runs, all that makes them what they are.
        seconds: of all runs together.
    """

    task: str
    method: str
    measure: str
    trained: Sequence[float]
    untrained: Sequence[float]
    floor: float
    floor_name: str
    better: str = "higher"
    published: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        """Whether the mean is on the better side of the floor and of the untrained encoder."""
        sign = 1 if self.better == "higher" else -1
        ours = sign * mean(self.trained)
        won = [ours > sign * self.floor, ours > sign * mean(self.untrained)]
        return {
            (True, True): "wins",
            (False, True): "loses to the floor",
            (True, False): "loses to the untrained encoder",
            (False, False): "loses to both",
        }[won[0], won[1]]

    def line(self) -> str:
        """Return a line of the table, in Markdown."""
        others = ", ".join(f"{name} {value:.3f}" for name, value in self.published.items())
        cells = (
            self.task,
            self.method,
            self.measure,
            spread(self.trained),
            spread(self.untrained),
            f"{self.floor:.3f} ({self.floor_name})",
            others,
            self.verdict,
        )
        return f"| {' | '.join(cells)} |"


@dataclass(frozen=True)
class Trial:
    """A recipe on a task, of which there is a run for each seed.

    Attributes:
        changes: of the recipe's settings; seed and name come with each run.
    """

    recipe: str
    task: str
    changes: Mapping[str, Any]
    begun: float = field(default_factory=time.perf_counter)

    @property
    def settings(self) -> dict[str, Any]:
        return {"tracking.register_model": False, **self.changes}

    def runs(self, options: Options, data: Path) -> Iterator[Run]:
        """Train with each seed; yield the runs."""
        import manta

        for seed in range(options.seeds):
            yield manta.train(
                self.recipe,
                data=data,
                name=f"{self.recipe}-{self.task.split()[0]}-{seed}",
                runs=options.scratch / "runs",
                overrides={**self.settings, "train.seed": seed},
                progress=False,
            )

    def row(
        self, title: str, key: str, metrics: Sequence[Mapping[str, float]], floor: tuple[str, str]
    ) -> Row:
        """Return the row of a metric.

        Args:
            title: of the measure.
            key: of the metric in each seed's.
            floor: key of the metric that learns nothing, and what it is.
        """
        return Row(
            self.task,
            self.recipe,
            title,
            [one[key] for one in metrics],
            [one[f"random_{key}"] for one in metrics],
            metrics[0][floor[0]],
            floor[1],
            settings=self.settings,
            seconds=time.perf_counter() - self.begun,
        )


HEAD = """| task | method | measure | trained | untrained | floor | published | |
|---|---|---|---|---|---|---|---|"""


def spread(values: Sequence[float]) -> str:
    """Return the mean over seeds, and the deviation where there are two or more."""
    if len(values) < 2:
        return f"{values[0]:.3f}"
    return f"{mean(values):.3f} ± {stdev(values):.3f}"


def write(path: Path, rows: Sequence[Row], words: Mapping[str, Any]) -> None:
    """Write all rows as JSON, with what the command line said."""
    content = {
        "command": dict(words),
        "rows": [asdict(row) | {"verdict": row.verdict} for row in rows],
    }
    path.write_text(json.dumps(content, indent=1, default=str) + "\n")
