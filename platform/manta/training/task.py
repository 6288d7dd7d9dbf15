"""What the driver hands to its workers, and what they hand back between rungs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from manta.data.stream import Executor


@dataclass(frozen=True, slots=True)
class Task:
    """What the driver hands to its workers; plain data, since it crosses machines.

    Attributes:
        experiment: resolved, as plain data.
        dataset: location of the ingested dataset.
        folder: URL of the run's folder.
        attempt: the lease's.
        run_id, tracking_uri: of the MLflow run.
        started: wall-clock time at which the user's command started.
        threads: torch threads of a worker.
        decode_tasks: at a time, for each worker.
        device: None: the GPU that Ray Train gives, or the CPU.
        trial: one of a study: evaluated at its own cadence only, on few rows, the last step
            included.
        components: of the user's own; `manta.training.components` registers them on arrival.
    """

    experiment: dict[str, Any]
    dataset: str
    folder: str
    attempt: str
    run_id: str
    tracking_uri: str
    started: float
    threads: int | None = None
    decode_tasks: int | None = None
    executor: Executor = "ray"
    device: str | None = None
    trial: bool = False
    components: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Rung:
    """A point of a run at which it was evaluated.

    Attributes:
        step: optimizer steps done.
        metrics: the evaluators' numbers, on rank 0, and the rates.
    """

    step: int
    metrics: dict[str, float]
