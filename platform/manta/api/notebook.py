"""Bars in a notebook's cell, which need no widgets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

from manta.bars import POLL_SECONDS, describe_metrics, noun_of_run, read_new_metrics, trial_line

if TYPE_CHECKING:
    from manta.runs.folder import RunFolder
    from manta.tuning.study.study_progress import StudyProgress

REDRAW_SECONDS = 0.2


class CellBar:
    """A bar in the output of the cell that runs; drawn by the first `update`.

    Args:
        title: what is counted.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._handle: Any = None
        self._drawn = 0.0

    def update(self, done: float, total: float | None, note: str = "") -> None:
        """Show `done` of `total` (None: not known), at most five times a second."""
        now = time.monotonic()
        if now - self._drawn < REDRAW_SECONDS and done != total:
            return
        self._drawn = now
        self._show(bar_html(self.title, done, total, note))

    def close(self) -> None:
        """Remove the bar."""
        if self._handle is not None:
            self._show("")

    def _show(self, html: str) -> None:
        from IPython import display

        shown: Any = display  # it has no types
        if self._handle is None:
            self._handle = shown.display(shown.HTML(html), display_id=True)
        else:
            self._handle.update(shown.HTML(html))


def bar_html(title: str, done: float, total: float | None, note: str) -> str:
    """Return a line of HTML with a bar; without one where `total` is None."""
    counted = f"{done:,.0f}" if total is None else f"{done:,.0f} of {total:,.0f}"
    bar = "" if total is None else f'<progress value="{done:g}" max="{total:g}"></progress> '
    return f"<div><code>{escape(title)}</code> {bar}{counted} {escape(note)}</div>"


class IngestBar:
    """Counter of the rows that were ingested and set aside: a `NamingProgress`."""

    noun = "images"

    def __init__(self) -> None:
        self.bar = CellBar("ingest")

    def __call__(self, rows: int, quarantined: int) -> None:
        self.bar.update(rows, None, f"{quarantined:,} set aside" if quarantined else self.noun)


class CellBars:
    """The callbacks of `Reporter` in a notebook."""

    def __init__(self) -> None:
        self.ingest, self._embed = IngestBar(), CellBar("embed")
        self._study = CellBar("trials")

    def embed(self, done: int, rows: int) -> None:
        """Show the rows that were embedded."""
        self._embed.update(done, rows, "rows")

    def study(self, progress: StudyProgress) -> None:
        """Print a line for the trial that ended, and show how many are left."""
        from manta.printing import say

        say(trial_line(progress.trial))
        best = progress.best
        note = "" if best is None else f"best {best.value:.4g} in trial {best.number}"
        self._study.update(progress.done, progress.trials, note)

    def training(self, folder: RunFolder, steps: int) -> Callable[[], None]:
        """Follow a local run's metrics in a thread; returns what ends that."""
        if not folder.is_local:
            return lambda: None
        done, bar = threading.Event(), CellBar("train")

        def follow() -> None:
            shown: dict[str, float] = {}
            noun = noun_of_run(folder.local)
            offset = 0
            while not done.wait(POLL_SECONDS):
                offset = read_new_metrics(folder.local / "metrics.jsonl", offset, shown)
                note = describe_metrics(shown, noun) if shown else "starting workers"
                bar.update(shown.get("step", 0), steps, note)

        thread = threading.Thread(target=follow, name="manta-cell-bar", daemon=True)
        thread.start()

        def stop() -> None:
            done.set()
            thread.join(timeout=5)
            bar.close()

        return stop

    def close(self) -> None:
        """Remove what is drawn."""
        for bar in (self.ingest.bar, self._embed, self._study):
            bar.close()


@contextmanager
def bars() -> Iterator[CellBars]:
    """Yield the bars of one act."""
    drawn = CellBars()
    try:
        yield drawn
    finally:
        drawn.close()
