"""Bars for long work, drawn on standard error."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

POLL_SECONDS = 0.5


@contextlib.contextmanager
def ingest_bar(console: Console) -> Iterator[Callable[[int, int], None]]:
    """A callback `(rows, quarantined)` that draws a counter from its first call on."""
    bar = Progress(
        TextColumn("ingest"),
        TextColumn("{task.completed:,.0f} images"),
        TextColumn("{task.fields[aside]}"),
        console=console,
        transient=True,
    )
    task = bar.add_task("ingest", total=None, aside="")

    def update(rows: int, quarantined: int) -> None:
        if console.is_terminal and not bar.live.is_started:
            bar.start()
        bar.update(task, completed=rows, aside=f"{quarantined:,} set aside" if quarantined else "")

    try:
        yield update
    finally:
        _end(bar)


def training_bar(console: Console) -> Callable[[Any, int], Callable[[], None]]:
    """For `RunRequest.watch_folder`: follows a local run's metrics file with a bar."""

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


def _follow(console: Console, path: Any, steps: int, done: threading.Event) -> None:
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
    offset = 0
    with bar:
        while not done.wait(POLL_SECONDS):
            offset = read_new_metrics(path, offset, shown)
            if shown:
                bar.update(task, completed=shown["step"], numbers=describe_metrics(shown))


def read_new_metrics(path: Any, offset: int, shown: dict[str, float]) -> int:
    """Merge the lines after `offset` into `shown`; returns the new offset. A resume may have cut
    the file."""
    try:
        size = path.stat().st_size
        if size < offset:
            offset = 0
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
    except OSError:
        return offset
    whole = data[: data.rfind(b"\n") + 1]
    for line in whole.splitlines():
        with contextlib.suppress(json.JSONDecodeError, KeyError):
            entry = json.loads(line)
            shown["step"] = entry["step"]
            shown.update(entry["metrics"])
    return offset + len(whole)


def describe_metrics(shown: dict[str, float]) -> str:
    parts = [
        ("loss", "loss {:.3f}"),
        ("knn_top1", "kNN {:.3f}"),
        ("images_per_second", "{:.0f} images/s"),
    ]
    return "  ".join(text.format(shown[key]) for key, text in parts if key in shown)


@contextlib.contextmanager
def embed_bar(console: Console) -> Iterator[Callable[[int, int], None]]:
    """A callback `(rows done, rows)` that draws a bar with rows/s and the time left from its first
    call on."""
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
    begun: list[tuple[float, int]] = []

    def update(done: int, rows: int) -> None:
        begun.append((time.monotonic(), done))
        seconds, new = (
            time.monotonic() - begun[0][0],
            done - begun[0][1],
        )  # rows of an earlier start took no time
        bar.update(
            task, completed=done, total=rows, rate=f"{new / seconds:,.0f} rows/s" if new else ""
        )
        if console.is_terminal and not bar.live.is_started:
            bar.start()
        del begun[1:]

    try:
        yield update
    finally:
        _end(bar)


@contextlib.contextmanager
def study_bar(console: Console) -> Iterator[Callable[[Any], None]]:
    """For `StudyRequest.watch`: a line for each trial, above a bar with the best so far and the
    time left."""
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

    def update(standing: Any) -> None:
        trial, best = standing.trial, standing.best
        bar.update(
            task,
            completed=standing.done,
            total=standing.asked,
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
    value = "" if trial.value is None else f"{trial.value:.4g}"
    given = " ".join(f"{key}={_short(value)}" for key, value in trial.params.items())
    name = f"trial {trial.number}" + (" (recipe)" if trial.default else "")
    text = f"{name:<17} {trial.state:<8} {value:<7} {trial.epochs:>5.3g} epochs {trial.seconds:>5.0f} s  {given}"
    return f"{text}  {trial.reason}" if trial.state == "failed" else text


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _end(bar: Progress) -> None:
    """Rich prints an empty line for a bar that was never drawn."""
    if bar.live.is_started:
        bar.stop()
