"""Compare this checkout with an earlier commit: same numbers, same speed, and old work that opens.

    python benchmarks/before_after.py 9ec5c02 [--rounds 3] [--data 'cifar10/train-*.parquet']

Both run in this environment, taking turns, so that a drift of the machine meets both: the digits
recipe whole, and dcl-cifar10 for one epoch of 10,000 images where there are any. Losses, batch
digests and evaluations shall be equal bit for bit; images a second and the seconds to the first
step are ratios of medians. Then this checkout opens, resumes and evaluates what the commit made: a
run, a run that was killed, a study, a study that was killed, a dataset and an exported encoder.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXACT = ("loss", "batch_digest", "gradient_norm", "lr")
SIDES = ("before", "after")
SMALL = ["data.limit=900", "train.epochs=3"]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commit")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", help="CIFAR-10 as Parquet; without it only digits are trained on")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="manta-before-") as scratch:
        place = Path(scratch)
        with checkout(words.commit, place / "code") as before:
            code = {"before": before, "after": ROOT}
            same = compare(code, place, words.rounds, words.data)
            opened = open_old_work(code, place / "old")
    print("all numbers equal" if same else "NUMBERS DIFFER")
    print("all old work opens" if opened else "OLD WORK DOES NOT OPEN")
    return 0 if same and opened else 1


@contextlib.contextmanager
def checkout(commit: str, place: Path) -> Iterator[Path]:
    """Yield a working tree of the commit."""
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(place), commit], check=True)
    try:
        yield place
    finally:
        subprocess.run([*git, "remove", "--force", str(place)], check=True)


def start(code: Path, words: list[str]) -> subprocess.Popen[str]:
    """Start a command of a checkout in a process group of its own."""
    environment = os.environ | {"PYTHONPATH": str(code / "platform")}
    return subprocess.Popen(
        [sys.executable, "-m", "manta.cli", *words],
        cwd=code,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def run(code: Path, words: list[str], summary: Path | None = None) -> dict[str, Any]:
    """Run a command of a checkout to its end; return its summary."""
    more = [] if summary is None else ["--summary", str(summary)]
    process = start(code, [*words, *more])
    said, _ = process.communicate(timeout=1200)
    if process.returncode:
        raise SystemExit(f"manta {' '.join(words)} in {code} failed:\n{said}")
    return {} if summary is None else dict(json.loads(summary.read_text()))


def compare(code: dict[str, Path], place: Path, rounds: int, data: str | None) -> bool:
    """Train the same with both, in turns; print and return whether all numbers are equal."""
    recipes = {"digits": ["digits"]}
    if data is not None:
        more = [f"data.source={Path(data).absolute()}", "data.limit=10000", "train.epochs=1"]
        recipes["dcl-cifar10"] = ["dcl-cifar10", *more]
    same = True
    for recipe, words in recipes.items():
        summaries: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
        for number in range(rounds):
            for side in SIDES if number % 2 == 0 else reversed(SIDES):
                name, runs = f"{recipe}-{number}", place / side
                train = ["train", *words, "train.log_every=1", "--name", name, "--runs", str(runs)]
                summaries[side].append(run(code[side], train, place / f"{side}-{name}.json"))
            same &= equal_runs(*(place / side / f"{recipe}-{number}" for side in SIDES))
        print_ratios(recipe, summaries)
    return same


def logged(folder: Path) -> dict[int, dict[str, float]]:
    """Return the numbers of a run that depend on nothing but the code, by step."""
    steps: dict[int, dict[str, float]] = {}
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        exact = {k: v for k, v in record["metrics"].items() if k in EXACT or is_evaluation(k)}
        steps.setdefault(record["step"], {}).update(exact)
    return steps


def is_evaluation(name: str) -> bool:
    return name.removeprefix("random_").startswith(("knn", "linear", "rankme", "feature_std"))


def equal_runs(before: Path, after: Path) -> bool:
    """Print and return whether two runs logged the same numbers at the same steps."""
    old, new = logged(before), logged(after)
    numbers = sum(map(len, old.values()))
    differences = [
        f"step {step}, {name}: {value!r} and {new.get(step, {}).get(name)!r}"
        for step, values in old.items()
        for name, value in values.items()
        if new.get(step, {}).get(name) != value
    ]
    print(f"{before.name:<16} {numbers} numbers of {len(old)} steps, {len(differences)} differ")
    for difference in differences[:5]:
        print(f"    {difference}")
    return old.keys() == new.keys() and not differences


def print_ratios(recipe: str, summaries: dict[str, list[dict[str, Any]]]) -> None:
    for key in ("images_per_second", "first_step_seconds"):
        middle = {side: statistics.median(one[key] for one in summaries[side]) for side in SIDES}
        each = [
            new[key] / old[key]
            for old, new in zip(summaries["before"], summaries["after"], strict=True)
        ]
        rounds = ", ".join(f"{ratio:.2f}" for ratio in each)
        print(
            f"{recipe:<16} {key:<20} {middle['before']:8.1f} -> {middle['after']:8.1f}"
            f"   after / before {middle['after'] / middle['before']:.3f}   ({rounds})"
        )


def killed(code: Path, words: list[str], ready: Path) -> None:
    """Start a command and kill it, with all of its processes, once `ready` is there."""
    process = start(code, words)
    deadline = time.monotonic() + 180
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"manta {' '.join(words)} ended before {ready} was there")
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def open_old_work(code: dict[str, Path], place: Path) -> bool:
    """Make with the earlier code; open, resume and evaluate with this one."""
    before, runs = code["before"], place / "runs"
    made = ["--runs", str(runs)]
    tune = ["tune", "temperature", "--recipe", "digits", *SMALL, *made]
    run(before, ["train", "digits", "train.epochs=4", "--name", "whole", *made])
    half = ["train", "digits", "train.epochs=6", "train.log_every=1", "--name", "half", *made]
    killed(before, half, runs / "half/checkpoints/step-00000022/manifest.json")
    run(before, [*tune, "--trials", "3", "--name", "study"])
    killed(before, [*tune, "--trials", "8", "--name", "part"], runs / "part/trials/0002/run.json")
    run(before, ["ingest", "digits", str(place / "digits.manta")])
    run(before, ["export", "whole", str(place / "encoder"), "--format", "timm", *made])
    # The killed run goes on twice, from two copies of its folder: with the old code and the new.
    shutil.copytree(runs, place / "copy")
    copy = [str(place / "copy") if word == str(runs) else word for word in half]
    run(before, [*copy, "--resume"])
    run(code["after"], [*half, "--resume"])
    good = equal_runs(place / "copy/half", runs / "half")
    dataset, encoder = str(place / "digits.manta"), str(place / "encoder")
    numbers = []
    for number, model in enumerate(("whole", encoder)):
        words = ["evaluate", model, "--data", dataset, *made]
        results = [run(code[side], words, place / f"{side}-{number}.json") for side in SIDES]
        # Metrics that are new have nothing to be equal to.
        old, new = (result["metrics"] for result in results)
        numbers.append(old == {name: new.get(name) for name in old})
    print(f"evaluations of a run and of an exported encoder are equal: {numbers}")
    run(code["after"], ["train", "digits", f"data.source={dataset}", *SMALL, "--name", "n", *made])
    shown = [run(code[side], ["study", "study", *made], place / f"s-{side}.json") for side in SIDES]
    studies = shown[0]["best"] == shown[1]["best"]
    again = [*tune, "--trials", "8", "--name", "part", "--resume"]
    resumed = run(code["after"], again, place / "part.json")
    states = [trial["state"] for trial in resumed["trials"]]
    print(f"study shown alike: {studies}; the killed study has {len(states)} trials: {states}")
    return good and all(numbers) and studies and "running" not in states


if __name__ == "__main__":
    sys.exit(main())
