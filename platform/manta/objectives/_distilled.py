"""The common part of methods over prototypes: frozen prototypes, a centre, DINO's view pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manta.batch import Progress
from manta.functional import dino, upcast
from manta.objectives._config import Temperature
from manta.objectives._parts import Prototypes
from manta.schedules import steps, value_of


class WaitingPrototypes(Prototypes):
    """Prototypes that stay frozen while `waiting`, as they would first learn to become all alike.

    Their gradient is zero then, not missing, since DistributedDataParallel waits for it.
    """

    def __init__(self, width: int, count: int) -> None:
        super().__init__(width, count)
        self.waiting = False

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.detach() + 0 * self.weight if self.waiting else self.weight
        return F.linear(F.normalize(x, dim=1), F.normalize(weight, dim=1))

    def wait(self, duration: int | float, progress: Progress) -> None:
        """Freeze the prototypes until `duration` of the run is over."""
        self.waiting = progress.step < steps(duration, progress.total_steps)


class Centre(nn.Module):
    """The moving average of a teacher's logits `[K]`, constant within a step."""

    mean: Tensor

    def __init__(self, width: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(width))
        self._collected: list[Tensor] = []  # one for each micro-batch of the step

    @torch.no_grad()
    def collect(self, logits: Sequence[Tensor]) -> None:
        """Remember the logits `[B, K]` of some views for the end of the step."""
        self._collected.append(upcast(torch.cat(list(logits))).mean(0))

    @torch.no_grad()
    def advance(self, average: Callable[[Tensor], Tensor]) -> None:
        """Move towards the collected mean; `average` is the objective's, over ranks."""
        mean = average(torch.stack(self._collected).mean(0))
        self.mean.lerp_(mean.to(self.mean.dtype), 1 - self.momentum)
        self._collected.clear()


def other_views(
    targets: Sequence[Tensor], seen: Sequence[Tensor]
) -> Iterable[tuple[Tensor, Tensor]]:
    """Yield (target, seen) for each global view's target and every other view.

    The global views come first in `seen`.
    """
    return (
        (target, view) for i, target in enumerate(targets) for j, view in enumerate(seen) if i != j
    )


def distilled(
    targets: Sequence[Tensor],
    seen: Sequence[Tensor],
    centre: Centre,
    progress: Progress,
    *,
    student_temperature: Temperature,
    teacher_temperature: Temperature,
) -> Tensor:
    """Return DINO's loss of logits, mean over the pairs of `other_views`."""
    at = (progress.step, progress.total_steps)
    losses = [
        dino(
            view,
            target,
            student_temperature=value_of(student_temperature, *at),
            teacher_temperature=value_of(teacher_temperature, *at),
            center=centre.mean,
        )
        for target, view in other_views(targets, seen)
    ]
    return torch.stack(losses).mean()
