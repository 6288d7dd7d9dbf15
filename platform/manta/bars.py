"""Progress bars of long work, drawn on standard error."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from manta.metric_log import read_metrics
from manta.modalities import noun_of

POLL_SECONDS = 0.5


class _IngestCounter:
    """Counter of rows that draws itself from its first call on: a `NamingProgress`."""

    noun = "images"

    def __init__(self, console: Console, bar: Progress) -> None:
        self._console, self._bar = console, bar
        self._task = bar.add_task("ingest", total=None, aside="", noun=self.noun)

    def __call__(self, rows: int, quarantined: int) -> None:
        if self._console.is_terminal and not self._bar.live.is_started:
            self._bar.start()
        aside = f"{quarantined:,} set aside" if quarantined else ""
        self._bar.update(self._task, completed=rows, aside=aside, noun=self.noun)


@contextlib.contextmanager
def ingest_bar(console: Console) -> Iterator[_IngestCounter]:
    """Yield a callback `(rows, quarantined)` that draws a counter from its first call on.

    Its attribute `noun` is what the rows are called.
    """
    bar = Progress(
        TextColumn("ingest"),
        TextColumn("{task.completed:,.0f} {task.fields[noun]}"),
        TextColumn("{task.fields[aside]}"),
        console=console,
        transient=True,
    )
    try:
        yield _IngestCounter(console, bar)
    finally:
        _end(bar)


def training_bar(console: Console) -> Callable[[Any, int], Callable[[], None]]:
    """Return what `RunRequest.watch_folder` takes: it follows a local run's metrics with a bar.

    It is called with the run's folder and its steps, and returns what ends the bar.
    """

    def watch(folder: Any, steps: int) -> Callable[[], None]:
        if not folder.is_local:
            return lambda: None
        done = threading.Event()
        thread = threading.Thread(
            target=_follow, args=(console, folder.local / "metrics.jsonl", steps, done), daemon=True
        )
        thread.start()

        def stop() -> None:
            done.set()
            thread.join(timeout=5)

        return stop

    return watch


def _follow(console: Console, path: Path, steps: int, done: threading.Event) -> None:
    """Draw a bar from what is logged at `path` until `done` is set, what came last included."""
    bar = Progress(
        TextColumn("train"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[numbers]}"),
        TimeRemainingColumn(),
        console=console,
        transient=not console.is_terminal,
    )
    task = bar.add_task("train", total=steps, numbers="starting workers")
    shown: dict[str, float] = {}
    noun = noun_of_run(path.parent)
    offset = 0
    with bar:
        ended = False
        while not ended:
            ended = done.wait(POLL_SECONDS)
            offset = read_new_metrics(path, offset, shown)
            if shown:
                bar.update(task, completed=shown["step"], numbers=describe_metrics(shown, noun))


def noun_of_run(folder: Path) -> str:
    """Return what the samples of a run are called, by its experiment; images where it has none."""
    try:
        tree = yaml.safe_load((folder / "experiment.yaml").read_text())
        modality = tree["data"].get("modality")
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        modality = None
    return noun_of(modality).plural


def read_new_metrics(path: Path, offset: int, shown: dict[str, float]) -> int:
    """Merge what was logged after byte `offset` into `shown`, with `step`; return the new offset.

    A resume may have cut the file: it is then read from its beginning. There may be no file yet.
    """
    try:
        if path.stat().st_size < offset:
            offset = 0
        for record in read_metrics(path, offset=offset):
            shown.update(record.metrics, step=record.step)
            offset = record.end
    except OSError:
        pass
    return offset


def describe_metrics(shown: dict[str, float], noun: str = "images") -> str:
    """Return the numbers that a bar has room for: `loss 0.250  kNN 0.500  812 images/s`."""
    parts = [
        ("loss", "loss {:.3f}"),
        ("knn_top1", "kNN {:.3f}"),
        ("images_per_second", f"{{:.0f}} {noun}/s"),
    ]
    return "  ".join(text.format(shown[key]) for key, text in parts if key in shown)


@contextlib.contextmanager
def embed_bar(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback `(rows done, rows)` that draws a bar from its first call on.

    With it stand rows/s, of what was done since the first call, and the time left.
    """
    bar = Progress(
        TextColumn("embed"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} rows"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    task = bar.add_task("embed", total=None, rate="")
    first: tuple[float, int] | None = None

    def update(done: int, rows: int) -> None:
        nonlocal first
        now = monotonic()
        # Rows of an earlier start took no time in this one.
        first = first or (now, done)
        seconds, new = now - first[0], done - first[1]
        rate = f"{new / seconds:,.0f} rows/s" if new and seconds else ""
        bar.update(task, completed=done, total=rows, rate=rate)
        if console.is_terminal and not bar.live.is_started:
            bar.start()

    try:
        yield update
    finally:
        _end(bar)


@contextlib.contextmanager
def study_bar(console: Console) -> Iterator[Callable[[Any], None]]:
    """Yield what `StudyRequest.watch` takes: it prints a line for each trial that ended.

    Below the lines stands a bar with the best so far and the time left.
    """
    bar = Progress(
        TextColumn("trials"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[best]}"),
        console=console,
        transient=True,
    )
    task = bar.add_task("trials", total=None, best="")

    def update(progress: Any) -> None:
        trial, best = progress.trial, progress.best
        bar.update(
            task,
            completed=progress.done,
            total=progress.trials,
            best="" if best is None else f"best {best.value:.4g} in trial {best.number}",
        )
        if not bar.live.is_started:
            bar.start()
        console.print(trial_line(trial), highlight=False, markup=False, soft_wrap=True)

    try:
        yield update
    finally:
        _end(bar)


def trial_line(trial: Any) -> str:
    """Return a trial in one line: its state, value, budget, parameters, and why it failed."""
    name = f"trial {trial.number}" + (" (recipe)" if trial.default else "")
    value = "" if trial.value is None else f"{trial.value:.4g}"
    spent = f"{trial.epochs:>5.3g} epochs {trial.seconds:>5.0f} s"
    params = " ".join(f"{path}={_short(drawn)}" for path, drawn in trial.params.items())
    line = f"{name:<17} {trial.state:<8} {value:<7} {spent}  {params}"
    return f"{line}  {trial.reason}" if trial.state == "failed" else line


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _end(bar: Progress) -> None:
    """Stop a bar. Rich would print an empty line for one that was never drawn."""
    if bar.live.is_started:
        bar.stop()
