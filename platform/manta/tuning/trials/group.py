"""A trial with several workers: a Ray Train run that asks after each evaluation whether to go
on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from dataclasses import asdict
from typing import Any

import ray

from manta.errors import RunError, TrainingStopped
from manta.runs.checkpoint import CheckpointManifest, Checkpoints
from manta.training.images import Shared
from manta.training.loop import Worker
from manta.training.task import Rung, Task

_END = "end"


class Gate:
    """Between rank 0 and the trial: a rung goes one way, leave to go on the other. An actor without
    a CPU."""

    def __init__(self) -> None:
        self.rungs: queue.Queue[Any] = queue.Queue()
        self.answers: queue.Queue[bool] = queue.Queue()

    def ask(self, rung: Rung) -> bool:
        """Called by rank 0: whether to train on. Waits for the trial's answer."""
        self.rungs.put(rung)
        return self.answers.get()

    def answer(self, go_on: bool) -> None:
        self.answers.put(go_on)

    def next(self) -> Any:
        """Called by the trial: the next rung, or how the run ended. Waits for it."""
        return self.rungs.get()

    def end(self, how: Any) -> None:
        self.rungs.put((_END, how))


class Group:
    """The workers of one trial, with the face of one `Worker`.

    Stopping goes through the gate: the workers leave their loop, the Ray Train run ends as it would
    at its last step, and everything that it held is free again. A killed Ray Train controller would
    leak its placement group.
    """

    def __init__(
        self, task: Task, shared: Shared | None, *, workers: int, cpus: float, gpus: float
    ) -> None:
        self.task, self.shared = task, shared
        self.workers, self.cpus, self.gpus = workers, cpus, gpus
        self._gate: Any = None
        self._thread: threading.Thread | None = None

    def train(
        self, source: tuple[Checkpoints, CheckpointManifest] | None = None
    ) -> Generator[Rung]:
        """As `Worker.train`.

        Raises:
            TrainingStopped: the watch ended it.
            RunError: a worker failed.
        """
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
            if waiting:
                ray.get(self._gate.answer.remote(False))
            self._thread.join()
            ray.kill(self._gate)

    def _fit(self, source: tuple[Checkpoints, CheckpointManifest] | None) -> None:
        from ray.train import RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        place = None if source is None else (source[0].folder.url, source[1].step)
        config = {
            "task": asdict(self.task),
            "shared": self.shared,
            "gate": self._gate,
            "source": place,
        }
        resources = {"CPU": self.cpus} | ({"GPU": self.gpus} if self.gpus else {})
        trainer = TorchTrainer(
            group_loop,
            train_loop_config=config,
            scaling_config=ScalingConfig(
                num_workers=self.workers, use_gpu=self.gpus > 0, resources_per_worker=resources
            ),
            run_config=RunConfig(
                name=f"attempt-{self.task.attempt}", storage_path=f"{self.task.folder}/ray"
            ),
        )
        how: Exception | None = None
        try:
            found = trainer.fit().return_value
            if found is not None:
                how = TrainingStopped(found["message"], diagnosis=found["diagnosis"])
        except Exception as error:  # whatever ended the run is the trial's to report
            lines = [line for line in str(error).splitlines() if line.strip()]
            how = RunError(lines[-1].strip() if lines else type(error).__name__)
        ray.get(self._gate.end.remote(how))


def group_loop(config: dict[str, Any]) -> dict[str, str] | None:
    """What each Ray Train worker of a trial runs. Returns the watch's diagnosis, if it ended the
    trial."""
    from manta.runs.folder import RunFolder

    worker = Worker(Task(**config["task"]), config["shared"])
    source = None
    if config["source"] is not None:
        url, step = config["source"]
        donor = Checkpoints(RunFolder(url), None)
        source = donor, next(manifest for manifest in donor.committed() if manifest.step == step)
    try:
        with worker.sampling():
            for rung in worker.train(source):
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
