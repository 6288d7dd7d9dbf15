"""Schedules: pure functions of the step, so that a resumed run needs no fast-forward.

A schedule gives absolute values for what it is used for (a temperature, a momentum) and factors of
`optimizer.lr` for the learning rate. Durations are a number of steps when they are whole numbers
(`500`) and a fraction of the run when they are fractions (`0.1`).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

Duration = Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, le=1)]


class Schedule(BaseModel):
    """Base of all schedules: a linear warm-up from `warmup_from`, then the subclass's shape."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    warmup: Duration = Field(
        0, description="duration of the linear warm-up, in steps or as a fraction of the run"
    )
    warmup_from: float = Field(0.0, description="value from which the warm-up starts")

    def value(self, step: int, total_steps: int) -> float:
        """Return the value for optimizer step `step` (from 0) of `total_steps`.

        Steps past the end keep the last value.
        """
        warmup = steps(self.warmup, total_steps)
        if step < warmup:
            first = self.shape(0, max(total_steps - warmup, 1))
            return interpolate(self.warmup_from, first, (step + 1) / warmup)
        after = max(total_steps - warmup, 1)
        return self.shape(min(step - warmup, after), after)

    @abstractmethod
    def shape(self, step: int, total_steps: int) -> float:
        """Return the value `step` steps after the warm-up, out of `total_steps` that follow it."""


class Constant(Schedule):
    """The same value at every step."""

    name: Literal["constant"] = Field("constant", description="which schedule")
    at: float = Field(1.0, description="the value")

    def shape(self, step: int, total_steps: int) -> float:
        return self.at


class Linear(Schedule):
    """A straight line from `start` to `end`."""

    name: Literal["linear"] = Field("linear", description="which schedule")
    start: float = Field(1.0, description="value after the warm-up")
    end: float = Field(0.0, description="value at the end of the run")

    def shape(self, step: int, total_steps: int) -> float:
        return interpolate(self.start, self.end, step / total_steps)


class Cosine(Schedule):
    """Half a cosine from `start` to `end` (Loshchilov & Hutter 2017, SGDR, without restarts)."""

    name: Literal["cosine"] = Field("cosine", description="which schedule")
    start: float = Field(1.0, description="value after the warm-up")
    end: float = Field(0.0, description="value at the end of the run")

    def shape(self, step: int, total_steps: int) -> float:
        return interpolate(self.end, self.start, (1 + math.cos(math.pi * step / total_steps)) / 2)


class WarmupStableDecay(Schedule):
    """A constant `start` until the last `decay` of the run, then a line to `end` (MiniCPM).

    Hu et al. 2024.
    """

    name: Literal["warmup_stable_decay"] = Field(
        "warmup_stable_decay", description="which schedule"
    )
    start: float = Field(1.0, description="value after the warm-up")
    end: float = Field(0.0, description="value at the end of the run")
    decay: Duration = Field(0.2, description="duration of the last part, in steps or as a fraction")

    def shape(self, step: int, total_steps: int) -> float:
        decay = min(steps(self.decay, total_steps), total_steps)
        if decay == 0 or step <= total_steps - decay:
            return self.start
        return interpolate(self.end, self.start, (total_steps - step) / decay)


class Infinite(Schedule):
    """A cosine cooldown from `start` to `level`, a constant `level`, and an anneal to `end`.

    The constant phase can be of any length. Weights from it can be trained further without
    re-warming (Ibrahim et al. 2024, "Simple and Scalable Strategies to Continually Pre-train Large
    Language Models", infinite learning rate schedules).
    """

    name: Literal["infinite"] = Field("infinite", description="which schedule")
    start: float = Field(1.0, description="value after the warm-up")
    level: float = Field(0.5, description="value of the constant part")
    end: float = Field(0.0, description="value at the end of the run")
    cooldown: Duration = Field(
        0.2, description="duration of the cosine to `level`, in steps or as a fraction"
    )
    anneal: Duration = Field(
        0.1, description="duration of the last part, in steps or as a fraction"
    )

    def shape(self, step: int, total_steps: int) -> float:
        anneal = min(steps(self.anneal, total_steps), total_steps)
        cooldown = min(steps(self.cooldown, total_steps), total_steps - anneal)
        if step < cooldown:
            share = (1 + math.cos(math.pi * step / cooldown)) / 2
            return interpolate(self.level, self.start, share)
        if step <= total_steps - anneal or anneal == 0:
            return self.level
        return interpolate(self.end, self.level, (total_steps - step) / anneal)


SCHEDULES: dict[str, type[Schedule]] = {
    kind.model_fields["name"].default: kind
    for kind in (Constant, Linear, Cosine, WarmupStableDecay, Infinite)
}


def _tag(value: Any) -> str | None:
    if isinstance(value, (int, float, str)):
        return "number"
    return value.get("name") if isinstance(value, dict) else getattr(value, "name", None)


# `Union` and not `|`, since pydantic needs the union object at run time.
AnySchedule = Annotated[
    Union[Constant, Linear, Cosine, WarmupStableDecay, Infinite],  # noqa: UP007
    Field(discriminator="name"),
]

Scheduled = Annotated[
    Union[  # noqa: UP007
        Annotated[float, Tag("number")],
        Annotated[Constant, Tag("constant")],
        Annotated[Linear, Tag("linear")],
        Annotated[Cosine, Tag("cosine")],
        Annotated[WarmupStableDecay, Tag("warmup_stable_decay")],
        Annotated[Infinite, Tag("infinite")],
    ],
    Discriminator(_tag),
]
"""A config field that takes a number, or a schedule of absolute values."""


def value_of(scheduled: float | Schedule, step: int, total_steps: int) -> float:
    """Return the value at `step` of a number or a schedule."""
    return scheduled.value(step, total_steps) if isinstance(scheduled, Schedule) else scheduled


def steps(duration: int | float, total_steps: int) -> int:
    """Return a `Duration` as a number of steps."""
    return duration if isinstance(duration, int) else round(duration * total_steps)


def interpolate(start: float, end: float, fraction: float) -> float:
    """Return `start` at a fraction of 0, `end` at 1, and a straight line between them."""
    return start + (end - start) * fraction
