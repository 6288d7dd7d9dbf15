"""Clips: Free Spoken Digit Dataset, 3,000 clips of ten digits by six speakers, a speaker left out.

Two tasks for each recipe. "one speaker unheard": one speaker, theo, is held out of training and of
the probes, and is scored. "each speaker left out": a linear probe learns from five speakers and is
scored on the sixth, each in turn; the encoder was trained, without labels, on clips of five of the
six. The floor is the same probe on means and deviations of log-mel bands over time.

The recipes are as they ship. Temperature and fade were chosen on theo, with another encoder.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from _modalities_row import Options, Row

RECIPES = ("dcl-audio",)
UNHEARD, EACH = "one speaker unheard", "each speaker left out"
MEASURES = {
    UNHEARD: {"linear_top1": "linear probe", "knn_top1": "kNN, k=20"},
    EACH: {"leave_group_out_top1": "linear probes"},
}
EVALUATION = {
    UNHEARD: {
        "holdout_group": ["theo"],
        "evaluators": [{"name": "knn", "k": 20}, {"name": "linear"}],
    },
    EACH: {
        "holdout": 0.1,  # groups are held out whole: one speaker, whom probes hear all the same
        "holdout_group": [],
        "evaluators": [{"name": "knn", "k": 20}, {"name": "leave_group_out"}],
    },
}


def rows(options: Options) -> Iterator[Row]:
    """Train and score every recipe in both ways; yield a row for each measure."""
    for recipe in RECIPES:
        for task in (UNHEARD, EACH):
            if options.wants(task) or options.wants(recipe):
                yield from of_task(options, recipe, task)


def of_task(options: Options, recipe: str, task: str) -> Iterator[Row]:
    """Yield the accuracies of a recipe on speakers that its probes have not heard."""
    import manta

    begun = time.perf_counter()
    data = options.data / "fsdd/recordings.parquet"
    settings = {
        "data.group": "speaker",
        "evaluation": EVALUATION[task],
        "tracking.register_model": False,
    }
    metrics = []
    for seed in range(options.seeds):
        run = manta.train(
            recipe,
            data=data,
            name=f"{recipe}-{task.split()[0]}-{seed}",
            runs=options.scratch / "runs",
            overrides={**settings, "train.seed": seed},
            progress=False,
        )
        metrics.append(run.metrics)
    for measure, title in MEASURES[task].items():
        yield Row(
            f"spoken digits, {task}",
            recipe,
            title,
            [one[measure] for one in metrics],
            [one[f"random_{measure}"] for one in metrics],
            metrics[0][f"floor_{measure}"],
            "log-mel statistics",
            settings=settings,
            seconds=time.perf_counter() - begun,
        )
