"""Measurement of where a run's time goes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Clock:
    """Clock of a worker's steps, whose rates leave out the first step and evaluations.

    Args:
        started: wall-clock time at which the user's command started.

    Attributes:
        first_step: seconds from the command's start to the end of the first step.
        images: number of images in all steps but the first.
        busy: seconds that these steps took.
        waited: the part of `busy` in which no batch was ready.
        away: seconds that evaluations took.
    """

    def __init__(self, *, started: float) -> None:
        self.started = started
        self.first_step: float | None = None
        self._warm = False
        self.images = 0
        self.busy = self.waited = self.away = 0.0
        # `_mark` is the end of the last step; `_wait` and `_pause` are the current step's.
        self._mark = time.perf_counter()
        self._wait = self._pause = 0.0

    def batch_ready(self) -> None:
        """Note that the next batch has arrived, for which the step has waited until now."""
        self._wait = time.perf_counter() - self._mark

    def stepped(self) -> None:
        """Note that the optimizer has taken a step, before logs, checks and evaluations."""
        if self.first_step is None:
            self.first_step = time.time() - self.started

    def step_done(self, images: int) -> None:
        """Count a step on a global batch of `images`, including the work that followed it."""
        now = time.perf_counter()
        if not self._warm:
            # The first step includes compilation, allocation and the start of the stream.
            self._warm = True
        else:
            self.images += images
            self.busy += now - self._mark - self._pause
            self.waited += self._wait
        self._pause = 0.0
        self._mark = now

    def go_on(self) -> None:
        """Start timing the next step now; the time since the last one is not counted."""
        self._mark = time.perf_counter()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Return a context whose time counts as `away`."""
        start = time.perf_counter()
        yield
        self._pause += time.perf_counter() - start
        self.away += time.perf_counter() - start

    def rates(self) -> dict[str, float]:
        """Return images per second and the fraction of time spent waiting; empty at first."""
        if self.busy == 0:
            return {}
        return {
            "images_per_second": self.images / self.busy,
            "input_wait_fraction": self.waited / self.busy,
        }

    def summary(self) -> dict[str, float | None]:
        """Return the rates, each None if unknown, and `first_step_seconds`."""
        none: dict[str, float | None] = {"images_per_second": None, "input_wait_fraction": None}
        return none | self.rates() | {"first_step_seconds": self.first_step}
