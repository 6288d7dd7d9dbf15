"""Where a run's time goes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Clock:
    """Where the time went. Rates leave out the first step (start-up) and evaluations, which are
    `away`."""

    def __init__(self, *, started: float) -> None:
        self.started = started
        self.first_step: float | None = None
        self._warm = False
        self.images = 0
        self.busy = self.waited = self.away = 0.0
        self._mark = time.perf_counter()
        self._wait = self._pause = 0.0

    def batch_ready(self) -> None:
        self._wait = time.perf_counter() - self._mark

    def stepped(self) -> None:
        """The optimizer has taken a step; what is looked at between two steps follows."""
        if self.first_step is None:
            self.first_step = time.time() - self.started

    def step_done(self, images: int) -> None:
        now = time.perf_counter()
        if not self._warm:
            self._warm = True
        else:
            self.images += images
            self.busy += now - self._mark - self._pause
            self.waited += self._wait
        self._pause = 0.0
        self._mark = now

    def go_on(self) -> None:
        """What happened since the last step was not this run's doing."""
        self._mark = time.perf_counter()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time in here is not training."""
        start = time.perf_counter()
        yield
        self._pause += time.perf_counter() - start
        self.away += time.perf_counter() - start

    def rates(self) -> dict[str, float]:
        if self.busy == 0:
            return {}
        return {
            "images_per_second": self.images / self.busy,
            "input_wait_fraction": self.waited / self.busy,
        }

    def summary(self) -> dict[str, float | None]:
        none: dict[str, float | None] = {"images_per_second": None, "input_wait_fraction": None}
        return none | self.rates() | {"first_step_seconds": self.first_step}
