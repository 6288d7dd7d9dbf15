"""What the driver gives to its workers, and what they give back between rungs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from manta.config import Experiment
from manta.data.stream import Executor


@dataclass(frozen=True, slots=True)
class Task:
    """Everything that a worker needs to train; it is pickled on its way.

    Attributes:
        experiment: validated where the task was made, and nowhere after.
        dataset: location of the ingested dataset.
        folder: URL of the run's folder.
        attempt: number of the lease under which the worker may write.
        run_id: of the MLflow run; without one, no metrics are logged.
        tracking_uri: of the MLflow server.
        started: wall-clock time at which the user's command started.
        threads: torch threads of a worker.
        decode_tasks: decode tasks at a time, for each worker.
        executor: what decodes: Ray tasks, or the worker itself.
        device: None takes the GPU that Ray Train gives, or the CPU.
        saves_views: the first step leaves a contact sheet of views for the report.
        evaluates_untrained: the first evaluation during training measures the untrained encoder
            too.
        evaluates_last_step: evaluators that are due at the last step run as at any other; without
            it that is left to the evaluation at the end, which uses more rows.
        components: of the user's own; `manta.training.components` registers them on arrival.
    """

    experiment: Experiment
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
    saves_views: bool = True
    evaluates_untrained: bool = True
    evaluates_last_step: bool = False
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
