"""All objectives on one small budget: accuracy, costs, the loss's time in a step, DCL's claim.

    python benchmarks/objectives.py [--part table|dcl|step] [--data 'cifar10/train-*.parquet']
        [--limit 10000] [--epochs 2] [--dcl-epochs 6] [--seeds 3] [--only moco,swav] [--out FOLDER]
        [--write docs/objectives.md]

table  Every objective by its CIFAR-10 recipe, except for images, epochs and batch: kNN (k=200) and
       RankMe on the held-out tenth, images/s, memory; and every untrained encoder, as it is and
       with BatchNorm's statistics of the data. One in ten images is held out, the same ones for all
       seeds. Runs read images that are decoded once; each has a process of its own with one thread,
       `--concurrent` at a time, and no tracking server. Memory is the peak of the process (VmHWM,
       set back before the objective is built) less what it had then with its libraries loaded.
       SimCLR comes first, since distill and clusterfit start from the encoder of its run of the
       same seed; then all objectives by seed, so that a part of the table can be used.
dcl    SimCLR and DCL at batches of 32, 64, 128 and 256, the same epochs on `--limit` images, and as
       many more held out, since a gap is small. Both have the same temperature, a low one and DCL's
       own, and AdamW's rate goes with the root of the batch: the positive in the denominator is the
       only difference. --write also draws docs/dcl.svg.
step   See _objectives_step.py.

Every run that ends is a line of FOLDER/runs.jsonl. A killed benchmark goes on from there, and more
seeds run only what is missing. A recipe that was changed since is run again, and so is a run that
failed. Without --data, images without labels are drawn, which only proves that everything runs.
"""

from __future__ import annotations

import argparse
import glob
import os
import sys
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _objectives_job import Job

    from manta.config import Experiment

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

RECIPES = Path(__file__).resolve().parents[1] / "jobs/recipes"
PARTS = ("table", "dcl", "step")
FIRST, FROM_FIRST = "simclr", ("clusterfit", "distill")
BATCHES, OF_RATE = (32, 64, 128, 256), 256
TEMPERATURES = (0.05, 0.1)
"""Temperatures at which SimCLR and DCL are compared."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=PARTS, action="append", help="default: all")
    parser.add_argument(
        "--data", help="Parquet of labelled 32 px images; without it, images are drawn"
    )
    parser.add_argument("--limit", type=int, default=10_000)
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--dcl-epochs", type=float, default=6)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--batch", type=int, default=128, help="of the table and of step, whatever the recipe says"
    )
    parser.add_argument(
        "--only", default="", help="names of objectives, with commas; SimCLR is always there"
    )
    parser.add_argument("--concurrent", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=Path("objectives-benchmark"))
    parser.add_argument(
        "--write", type=Path, help="a Markdown file with lines <!-- table:begin --> and so on"
    )
    words = parser.parse_args()
    words.out = words.out.absolute()
    words.out.mkdir(parents=True, exist_ok=True)
    parts = words.part or PARTS
    if set(parts) & {"table", "dcl"}:
        runs(words, [part for part in ("table", "dcl") if part in parts])
    if "step" in parts:
        from _objectives_step import step_table

        _publish(words, "step", step_table(names(words.only), batch=words.batch))


def names(only: str) -> list[str]:
    """Return the objectives that have a recipe for CIFAR-10, SimCLR first."""
    files = RECIPES.glob("*-cifar10.yaml")
    existing = sorted(file.stem.removesuffix("-cifar10").replace("-", "_") for file in files)
    chosen = {word.strip().replace("-", "_") for word in only.split(",") if word.strip()}
    if unknown := chosen - set(existing):
        missing = ", ".join(sorted(unknown))
        sys.exit(f"there is no recipe of {missing}; there are {', '.join(existing)}")
    chosen = chosen or set(existing)
    return [FIRST, *(name for name in existing if name in chosen and name != FIRST)]


def runs(words: argparse.Namespace, parts: list[str]) -> None:
    """Train what is missing of the table and of DCL's comparison, and write both."""
    from _objectives_job import Store
    from _objectives_run import perform
    from _objectives_write import dcl_plot, dcl_table, table

    from manta.cluster import connect
    from manta.training.supply import CachedRows

    connect(cpus=3 * words.concurrent + 2)  # a run's embedding job needs CPUs of its own
    store = Store(words.out)
    for part in parts:
        budget = Jobs(words, rows=words.limit if part == "table" else 2 * words.limit)
        jobs = budget.table() if part == "table" else budget.dcl()
        first, rows = budget.experiment(FIRST, 0, words.batch), budget.rows
        shared = CachedRows.decode(first, budget.dataset, bank=rows, queries=rows)
        say = partial(print, flush=True)
        perform(jobs, store, shared, concurrent=words.concurrent, say=say)
        by_key, limit = store.records(), words.limit
        records = [by_key[job.key] for job in jobs if job.key in by_key]
        if part == "table":
            text = table(records, epochs=words.epochs, limit=limit, batch=words.batch)
            _publish(words, part, text)
        else:
            text = dcl_table(records, batches=BATCHES, epochs=words.dcl_epochs, limit=limit)
            _publish(words, part, text)
            plot = (words.write.parent if words.write else words.out) / "dcl.svg"
            dcl_plot(records, plot, batches=BATCHES)
            print(f"wrote {plot}")


class Jobs:
    """The jobs of the benchmark, in their order, on the first `rows` images."""

    def __init__(self, words: argparse.Namespace, *, rows: int) -> None:
        from manta.data import open_dataset, prepare

        self.words, self.rows = words, rows
        self.dataset = prepare(subset(words, rows), words.out / "datasets")
        self.digest = open_dataset(self.dataset).digest

    def table(self) -> list[Job]:
        """Return the jobs of the table."""
        from _objectives_job import STARTS, encoder_words

        words = self.words
        chosen, seeds = names(words.only), range(words.seeds)
        jobs = [self._job(FIRST, FIRST, seed, words.batch) for seed in seeds]
        # One recipe for each encoder, the first that has it.
        recipes = {
            encoder_words(self.experiment(name, 0, words.batch)): name for name in reversed(chosen)
        }
        for seed in seeds:
            for start, recipe in product(STARTS, recipes.values()):
                jobs.append(self._job(start, recipe, seed, words.batch))
            jobs += [self._job(name, name, seed, words.batch) for name in chosen[1:]]
        return jobs

    def dcl(self) -> list[Job]:
        """Return the jobs of the comparison of SimCLR and DCL."""

        def changes(temperature: float, batch: int) -> list[str]:
            rate = self.experiment(FIRST, 0, OF_RATE).optimizer.lr * (batch / OF_RATE) ** 0.5
            words = (
                f"train.epochs={self.words.dcl_epochs}",
                f"optimizer.lr={rate:.3g}",
                "evaluation.holdout=0.5",
            )
            return [*words, f"objective.temperature={temperature}"]

        runs = product(TEMPERATURES, range(self.words.seeds), BATCHES, (FIRST, "dcl"))
        return [
            self._job(name, name, seed, batch, changes(t, batch)) for t, seed, batch, name in runs
        ]

    def experiment(self, name: str, seed: int, batch: int, more: Sequence[str] = ()) -> Experiment:
        """Return the recipe within the budget."""
        from manta.config import load

        changes = [
            f"data.source={self.dataset}",
            f"data.limit={self.rows}",
            f"train.epochs={self.words.epochs}",
            f"train.batch_size={batch}",
            f"train.seed={seed}",
            f"train.checkpoint_every={10**9}",
            "evaluation.evaluators=[{name: knn, k: 200}, {name: rank}]",
            *more,
        ]
        if name in FROM_FIRST:
            changes.append(f"objective.model={self._teacher(seed)}")
        return load(RECIPES / f"{name.replace('_', '-')}-cifar10.yaml", changes)

    def _teacher(self, seed: int) -> str:
        """Return the folder in which the table's SimCLR run of a seed leaves its encoder."""
        mark = self.experiment(FIRST, seed, self.words.batch).fingerprint()
        return str(self.words.out / "teachers" / f"{self.digest[:12]}-{mark}")

    def _job(self, name: str, recipe: str, seed: int, batch: int, more: Sequence[str] = ()) -> Job:
        from _objectives_job import Job

        experiment = self.experiment(recipe, seed, batch, more)
        return Job(
            name=name,
            experiment=experiment.model_dump(mode="json"),
            dataset=self.dataset,
            digest=self.digest,
            folder=str(self.words.out / "scratch" / f"{name}-{seed}-{batch}"),
            keep=self._teacher(seed) if name == FIRST and not more else None,
            teacher=self._teacher(seed) if name in FROM_FIRST else None,
        )


def subset(words: argparse.Namespace, rows: int) -> str:
    """Return a file of the first `rows` images.

    Nothing comes from other images then, clusters of the data included.
    """
    import hashlib

    import pyarrow as pa
    import pyarrow.parquet as pq
    from throughput import draw

    if not words.data:
        folder = words.out / f"drawn-{rows}"
        folder.mkdir(exist_ok=True)
        return str(folder / "drawn.parquet") if any(folder.iterdir()) else draw(folder, rows)
    source_digest = hashlib.sha256(words.data.encode()).hexdigest()[:8]
    path = words.out / f"first-{rows}-{source_digest}.parquet"
    if not path.exists():
        tables, count = [], 0
        for file in sorted(glob.glob(words.data)):
            tables.append(pq.read_table(file).slice(0, rows - count))
            count += len(tables[-1])
            if count == rows:
                break
        if count < rows:
            sys.exit(f"{words.data} has {count:,} images, and {rows:,} are needed; lower --limit")
        pq.write_table(pa.concat_tables(tables), path)
    return str(path)


def _publish(words: argparse.Namespace, mark: str, text: str) -> None:
    """Print a part's text, and write it to its file and to `--write`."""
    from _objectives_write import replace

    print(f"\n{text}\n", flush=True)
    (words.out / f"{mark}.md").write_text(f"{text}\n")
    if words.write:
        replace(words.write, mark, text)


if __name__ == "__main__":
    main()
