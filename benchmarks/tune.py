"""Costs of tuning: epochs to the same kNN, overhead of a trial, memory of trials that share data.

    python benchmarks/tune.py [--seeds 5] [--part epochs|overhead|memory]

epochs    TPE with ASHA against random search without stopping: epochs spent until a trial reaches a
          kNN, over several seeds. The kNN is what one in twenty of all seeds' random configurations
          reaches; and, since few draws make that of one seed a matter of luck, only beside it what
          random search of the same seed reached at its end. The recipe's own trial is paid by both,
          and counts for neither.
overhead  one trial at a time with one worker: wall time from the end of one trial to the end of the
          next, less its training steps and its evaluations.
memory    object store and private memory that ten processes add when they read the decoded data,
          against one.

The first two run on scikit-learn's digits, the last on 50,000 drawn images of 32 px, all in Ray
clusters of their own.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

RECIPE = Path(__file__).resolve().parents[1] / "jobs/recipes/digits.yaml"
QUICK = ["data.image_size=16", "train.batch_size=64", "train.precision=float32"]
SPACE = """
space:
  objective.temperature: {type: float, low: 0.03, high: 3.0, log: true}
  optimizer.lr: {type: float, low: 1.0e-6, high: 3.0e-2, log: true}
  views.strength: {type: float, low: 0.0, high: 2.0}
"""
IMAGES, FEW = 50_000, 600
WHOLE, RANDOM_TRIALS, ASHA_TRIALS, ONE_IN = 9, 20, 48, 20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--part", choices=("epochs", "overhead", "memory"), action="append")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "space.yaml").write_text(SPACE)
        parts = {
            "memory": memory,
            "overhead": lambda: overhead(folder),
            "epochs": lambda: epochs(folder, words.seeds),
        }
        for part in words.part or parts:
            parts[part]()


def study(folder: Path, name: str, **changes: Any) -> tuple[Any, Any]:
    """Run a study; return it, and its record."""
    from manta.config import load
    from manta.tuning.study.study import StudyRequest
    from manta.tuning.trials.driver import search

    recipe = load(RECIPE, [*QUICK, *changes.pop("recipe", ["data.limit=900"])])
    request = StudyRequest(
        folder / "space.yaml", recipe, str(folder / "runs"), name=name, changes={**changes}
    )
    return search(request)


def epochs(folder: Path, seeds: int) -> None:
    """Print epochs to the target for each seed, and the median ratio."""
    shared: dict[str, Any] = {
        "compare": [],
        "scheduler.max": WHOLE,
        "recipe": ["evaluation.holdout=0.3"],
    }
    randoms, ashas = [], []
    for seed in range(seeds):
        common = {**shared, "seed": seed}
        random_changes = {"sampler": "random", "trials": RANDOM_TRIALS, **common, **_off()}
        asha_changes = {"sampler": "tpe", "trials": ASHA_TRIALS, **common}
        randoms.append(study(folder, f"random-{seed}", **random_changes)[1])
        ashas.append(study(folder, f"asha-{seed}", **asha_changes)[1])
        best, best_asha = max(drawn(randoms[-1])), max(drawn(ashas[-1]))
        print(f"seed {seed}: best kNN of random {best:.3f}, of tpe+asha {best_asha:.3f}")
    pooled = sorted((value for record in randoms for value in drawn(record)), reverse=True)
    one_in_many = pooled[len(pooled) // ONE_IN - 1]
    targets = {
        f"what one in {ONE_IN} random configurations reaches": [one_in_many] * seeds,
        "what random search of the same seed ended with": [max(drawn(each)) for each in randoms],
    }
    for words, values in targets.items():
        ratios = []
        for seed, (random, asha, target) in enumerate(zip(randoms, ashas, values, strict=True)):
            spent = {"random": until(random, target), "tpe+asha": until(asha, target)}
            # A search that never got there has spent at least all it had: too kind to random,
            # impossible for the other.
            base = spent["random"] or sum(trial.epochs for trial in random.trials)
            ratios.append(spent["tpe+asha"] / base if spent["tpe+asha"] else float("inf"))
            print(f"seed {seed}: target kNN {target:.3f}, epochs {spent}, ratio {ratios[-1]:.2f}")
        median = statistics.median(ratios)
        print(f"epochs to {words}, TPE+ASHA / random: median {median:.2f} (target: at most 0.5)")


def drawn(record: Any) -> list[float]:
    """Return the values of complete trials that a sampler proposed."""
    return [trial.value for trial in record.complete if not trial.default]


def until(record: Any, target: float) -> float | None:
    """Return the epochs of all trials up to the first that reaches the target.

    The recipe's own trial is paid too, but cannot be that first one.
    """
    spent = 0.0
    for trial in record.trials:
        good = [resource for resource, value in sorted(trial.rungs.items()) if value >= target]
        if good and not trial.default:
            return spent + good[0]
        spent += trial.epochs
    return None


def overhead(folder: Path) -> None:
    """Print the median over trials after the first."""
    finished, record = study(
        folder,
        "overhead",
        sampler="random",
        trials=8,
        **{"resources.concurrent": 1, "scheduler.max": 1},
        **_off(),
    )
    trials = [trial for trial in finished.load().trials if trial.number]
    ends = [trial.datetime_complete for trial in finished.load().trials]
    rest = []
    for before, trial in zip(ends, trials, strict=False):
        noted = trial.user_attrs
        wall = (trial.datetime_complete - before).total_seconds()
        rest.append(wall - noted["manta.training_seconds"] - noted["manta.evaluation_seconds"])
    median, every = statistics.median(rest), [round(value, 2) for value in rest]
    print(f"overhead of a trial: median {median:.2f} s, all {every}")
    print("(target: at most 1.5 s; the first step of a trial, a warm-up, counts as overhead here)")
    assert len(record.complete) == 8


def memory() -> None:
    """Print what ten readers add against one."""
    import ray
    from throughput import draw

    from manta.cluster import connect
    from manta.config import load
    from manta.data import prepare

    connect(cpus=12)
    with tempfile.TemporaryDirectory() as cache:
        recipe = load(RECIPE, [f"data.source={draw(Path(cache), IMAGES)}"])
        dataset = prepare(recipe.data.source, cache)
        added = {count: _added(ray, recipe, dataset, count) for count in (1, 10)}
    one, ten = (stored + private for stored, private in (added[1], added[10]))
    print(
        f"memory for data (object store, private): one trial {added[1]} MiB, "
        f"ten {added[10]} MiB, {ten / one:.2f} times"
    )
    print("(target: at most 1.3: the object store, and what a process adds as it reads an epoch)")


def _added(ray: Any, recipe: Any, dataset: str, count: int) -> tuple[int, int]:
    """Return MiB that `count` readers add, in the object store and in private memory."""
    from manta.training.supply import CachedRows

    before = _stored()
    shared = CachedRows.decode(recipe, dataset, bank=500, queries=200)
    shared.cache.wait()
    actor = ray.remote(num_cpus=1)(_Reader)
    readers = [actor.remote() for _ in range(count)]
    # Read a few rows first, so that what libraries import and allocate then is not counted.
    data = recipe.data.model_copy(update={"limit": FEW})
    few = recipe.model_copy(update={"data": data})
    first_rows = CachedRows.decode(few, dataset, bank=10, queries=10)
    ray.get([reader.read.remote(few, first_rows) for reader in readers])
    private = sum(ray.get([reader.read.remote(recipe, shared) for reader in readers]))
    stored = _stored() - before
    for reader in readers:
        ray.kill(reader)
    return round(stored), round(private)


def _stored() -> float:
    """Return the MiB in the object store."""
    from ray._private.internal_api import memory_summary

    match = re.search(r"Plasma memory usage (\d+) MiB", memory_summary(stats_only=True))
    if match is None:
        raise SystemExit("Ray's memory summary has changed; correct this benchmark")
    return float(match[1])


class _Reader:
    """A process that reads an epoch, as a trial does."""

    def read(self, recipe: Any, shared: Any) -> float:
        """Return the MiB of private memory that reading an epoch adds at its end."""
        import psutil

        import manta.training.loop  # noqa: F401
        from manta.runs.build import plan_of

        before = psutil.Process().memory_full_info().uss
        plan = plan_of(recipe, shared.manifest)
        steps = plan.steps_per_epoch
        for batch in shared.batches(plan, rank=0, world=1, start=0, stop=steps):
            last = batch
        after = psutil.Process().memory_full_info().uss
        del last
        return (after - before) / 2**20


def _off() -> dict[str, Any]:
    return {"scheduler.name": "none"}


if __name__ == "__main__":
    main()
