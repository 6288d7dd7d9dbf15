"""A trial with several workers: a Ray Train run that asks after each rung whether to go on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from typing import Any

import ray

from manta.errors import MantaError, RunError, TrainingStopped
from manta.failures import described, innermost, whole_trace
from manta.runs.checkpoint import CheckpointManifest, Checkpoints
from manta.runs.folder import RunFolder
from manta.training.loop import Worker
from manta.training.mistakes import raised_on_purpose
from manta.training.supply import CachedRows
from manta.training.task import Rung, Task
from manta.tuning.trials.allocate import TrialResources

_END = "end"


class Gate:
    """Actor between rank 0 and the trial: rungs go one way, leave to go on the other way.

    It takes no CPU.
    """

    def __init__(self) -> None:
        self.rungs: queue.Queue[Any] = queue.Queue()
        self.answers: queue.Queue[bool] = queue.Queue()

    def ask(self, rung: Rung) -> bool:
        """Return whether to train on, for rank 0. Waits for the trial's answer."""
        self.rungs.put(rung)
        return self.answers.get()

    def answer(self, go_on: bool) -> None:
        """Answer rank 0's question."""
        self.answers.put(go_on)

    def next(self) -> Any:
        """Return the next rung, or how the run ended, for the trial. Waits for it."""
        return self.rungs.get()

    def end(self, reason: Exception | None) -> None:
        """Tell the trial that the run has ended; None: at its last step."""
        self.rungs.put((_END, reason))


class Group:
    """The workers of one trial, with the interface of one `Worker`.

    Stopping goes through the gate: the workers leave their loop, the Ray Train run ends as it would
    at its last step, and everything that it held is free again. A killed Ray Train controller would
    leak its placement group.
    """

    def __init__(self, task: Task, shared: CachedRows | None, resources: TrialResources) -> None:
        self.task, self.shared, self.resources = task, shared, resources
        self._gate: Any = None
        self._thread: threading.Thread | None = None

    def train(
        self, source: tuple[Checkpoints, CheckpointManifest] | None = None
    ) -> Generator[Rung]:
        """Yield rungs as `Worker.train` does.

        Raises:
            TrainingStopped: the watch ended it.
            RunError: a worker failed.
        """
        # Each of the two sides may wait in `next` or `ask` while the other one calls.
        self._gate = ray.remote(num_cpus=0, max_concurrency=4)(Gate).remote()
        self._thread = threading.Thread(
            target=self._fit, args=(source,), name="manta-group", daemon=True
        )
        self._thread.start()
        waiting = False
        try:
            while True:
                item = ray.get(self._gate.next.remote())
                if isinstance(item, tuple) and item[0] == _END:
                    if item[1] is not None:
                        raise item[1]
                    return
                waiting = True
                yield item
                ray.get(self._gate.answer.remote(True))
                waiting = False
        finally:
            # The generator is closed at its `yield` where the trial is stopped. The workers must
            # hear that before the thread is waited for, which ends with them.
            if waiting:
                ray.get(self._gate.answer.remote(False))
            self._thread.join()
            ray.kill(self._gate)

    def _fit(self, source: tuple[Checkpoints, CheckpointManifest] | None) -> None:
        from ray.train import RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        resources = self.resources
        each = {"CPU": resources.cpus} | ({"GPU": resources.gpus} if resources.gpus else {})
        trainer = TorchTrainer(
            group_loop,
            train_loop_config={
                "task": self.task,
                "shared": self.shared,
                "gate": self._gate,
                "source": None if source is None else (source[0].folder.url, source[1].step),
            },
            scaling_config=ScalingConfig(
                num_workers=resources.workers,
                use_gpu=resources.gpus > 0,
                resources_per_worker=each,
            ),
            run_config=RunConfig(
                name=f"attempt-{self.task.attempt}",
                storage_path=RunFolder(self.task.folder).url_of("ray"),
            ),
        )
        reason: Exception | None = None
        try:
            diagnosis = trainer.fit().return_value
            if diagnosis is not None:
                reason = TrainingStopped(diagnosis["message"], diagnosis=diagnosis["diagnosis"])
        except Exception as error:  # whatever ended the run is the trial's to report
            reason = _reason_of(error)
        ray.get(self._gate.end.remote(reason))


def _reason_of(error: Exception) -> MantaError:
    """Return the error of the rank that failed in one line, with the tracebacks of all."""
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    mine = raised_on_purpose(failures)
    if mine is not None:
        return mine
    trace = whole_trace(error)
    cause = next(iter(failures.values()), error)
    reason = RunError(described(innermost(cause), trace))
    reason.trace = trace
    return reason


def group_loop(config: dict[str, Any]) -> dict[str, str] | None:
    """Run one Ray Train worker of a trial. Returns the watch's diagnosis, if it ended the trial."""
    worker = Worker(config["task"], config["shared"])
    source = None
    if config["source"] is not None:
        url, step = config["source"]
        donor = Checkpoints(RunFolder(url), None)
        source = donor, next(manifest for manifest in donor.committed() if manifest.step == step)
    try:
        with worker.sampling():
            for rung in worker.train(source):
                # Before the trial hears of the rung: it may then point another trial to this
                # checkpoint.
                worker.checkpoints.wait()
                go_on = ray.get(config["gate"].ask.remote(rung)) if worker.rank == 0 else False
                if not worker.agreed(go_on):
                    break
    except TrainingStopped as error:
        return {"message": str(error), "diagnosis": error.diagnosis}
    finally:
        worker.checkpoints.wait()
        worker.close()
    return None
