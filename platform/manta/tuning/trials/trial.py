"""One trial: the recipe with some values changed, trained until the scheduler stops it."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import psutil
from ray import tune

from manta.memory import release_freed_memory
from manta.tuning.trials.attempt import Attempt
from manta.tuning.trials.study_task import StudyTask

POINTER = "manta.json"
"""What Tune keeps for a checkpoint of a trial: where Manta's own lies."""


class StudyTrial(tune.Trainable):
    """What Ray Tune drives.

    With one worker the trial trains in this actor, which then takes the next trial; with several
    it is a Ray Train run. Tune's config holds `number` and `drawn` (names of parameters to values,
    or None for the recipe as it is).
    """

    def setup(self, config: dict[str, Any], *, task: StudyTask) -> None:
        """Open the actor's first trial."""
        self.task = task
        if task.resources.memory is not None:
            _limit_memory(task.resources.memory)
        self.attempt = Attempt(task, config["number"], config["drawn"])

    def step(self) -> dict[str, Any]:
        """Train to the next evaluation. Returns the result for Tune."""
        return self.attempt.step().to_tune(self.task.metrics)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Open the next trial in this actor."""
        self.attempt.close()
        if self.attempt.out_of_memory:
            # Memory that the allocator keeps counts against the limit, and the next trial would
            # fail for it.
            release_freed_memory()
        self.attempt = Attempt(self.task, new_config["number"], new_config["drawn"])
        return True

    def cleanup(self) -> None:
        """Close the actor's last trial."""
        self.attempt.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write a pointer: Manta's own checkpoint is on disk."""
        Path(checkpoint_dir, POINTER).write_text(json.dumps(self.attempt.pointer()))

    def load_checkpoint(self, checkpoint: str) -> None:
        """Go on from the trial's own after a pause, from another trial's where PBT copies it."""
        self.attempt.take_over(json.loads(Path(checkpoint, POINTER).read_text()))


def _limit_memory(data: int) -> None:
    """Limit what this process may add, in bytes, to the address space that it has by now."""
    used = psutil.Process().memory_info().vms
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (used + data, hard))
