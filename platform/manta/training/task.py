"""Messages between the driver and its workers: the task, and the rungs of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from manta.config import Experiment
from manta.data.stream import Executor


@dataclass(frozen=True, slots=True)
class Task:
    """Everything that a worker needs to train, in a form that can be pickled.

    Attributes:
        experiment: configuration of the run; it is not validated again in the worker.
        dataset: location of the ingested dataset.
        folder: path or URL of the run's folder.
        attempt: id of the lease under which the worker may write.
        run_id: id of the MLflow run; if empty, no metrics are logged.
        tracking_uri: URI of the MLflow store.
        started: wall-clock time at which the user's command started.
        threads: torch threads of a worker; None keeps torch's own number.
        decode_tasks: decode tasks at a time, for each worker.
        executor: what decodes the images: Ray tasks, or the worker itself.
        device: torch device; None: the GPU that Ray Train assigned, or the CPU.
        saves_views: whether the first step writes a contact sheet of views for the report.
        evaluates_untrained: whether the first evaluation during training includes the untrained
            encoder.
        evaluates_last_step: whether evaluators that are due at the last step run there too. If not,
            the evaluation at the end, which uses more rows, replaces them.
        components: the user's own; unpickling registers them (`manta.training.components`).
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
    """Point of a run at which it was evaluated.

    Attributes:
        step: number of optimizer steps done.
        metrics: the evaluators' numbers (on rank 0) and the rates of the clock.
    """

    step: int
    metrics: dict[str, float]
