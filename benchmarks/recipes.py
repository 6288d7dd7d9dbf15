"""kNN of every recipe after a few epochs of some images, beside the untrained encoder.

    python benchmarks/recipes.py [--data 'cifar10/train-*.parquet'] [--limit 5000] [--epochs 3]
    [--only moco,swav]

Every CIFAR-10 recipe is run as it is except for the number of images and epochs; one in ten images
is held out. Without --data, images are drawn, which only proves that the recipes run.
Recipes that start from another model start from the SimCLR run, which therefore comes first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

RECIPES = Path(__file__).resolve().parents[1] / "jobs/recipes"
FIRST = "simclr"
FROM_FIRST = ("clusterfit", "distill")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data")
    parser.add_argument("--limit", type=int, default=5_000)
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--only", default="", help="names of objectives, with commas")
    words = parser.parse_args()
    names = sorted(path.stem.removesuffix("-cifar10") for path in RECIPES.glob("*-cifar10.yaml"))
    chosen = [name for name in names if not words.only or name in words.only.split(",")]
    if FIRST in chosen or set(chosen) & set(FROM_FIRST):
        chosen = [FIRST, *(name for name in chosen if name != FIRST)]
    with tempfile.TemporaryDirectory() as scratch:
        from throughput import draw

        data = words.data or draw(Path(scratch), words.limit)
        print(f"{words.limit:,} images, {words.epochs:g} epochs, seed 0")
        head = f"{'recipe':<20}{'kNN':>8}{'untrained':>11}{'rank':>8}{'images/s':>10}{'seconds':>9}"
        print(head, flush=True)
        for name in chosen:
            print(row(name, data, words.limit, words.epochs, Path(scratch)), flush=True)


def row(name: str, data: str, limit: int, epochs: float, scratch: Path) -> str:
    """Train a recipe within the budget, and return its line of the table."""
    summary = scratch / f"{name}.json"
    recipe = str(RECIPES / f"{name}-cifar10.yaml")
    changes = [
        f"data.source={data}",
        f"data.limit={limit}",
        f"train.epochs={epochs}",
        "evaluation.evaluators=[{name: knn, k: 200}, {name: rank}]",
        "tracking.register_model=false",
    ]
    if name in FROM_FIRST:
        changes.append(f"objective.model={FIRST}")
    options = ["--name", name, "--runs", str(scratch / "runs"), "--summary", str(summary)]
    command = [sys.executable, "-m", "manta.cli", "train", recipe, *changes, *options]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
        return f"{name:<20}failed: {' '.join(last)}"
    results = json.loads(summary.read_text())
    metrics, seconds = results["metrics"], time.perf_counter() - start
    return (
        f"{name:<20}{metrics['knn_top1']:>8.3f}{metrics['random_knn_top1']:>11.3f}"
        f"{metrics['rankme']:>8.1f}{results['images_per_second']:>10.0f}{seconds:>9.0f}"
    )


if __name__ == "__main__":
    main()
