"""Clips: Free Spoken Digit Dataset, 3,000 clips of ten digits by six speakers, a speaker left out.

Two tasks for each recipe. "one speaker unheard": one speaker, theo, is held out of training and of
the probes, and is scored. "each speaker left out": a linear probe learns from five speakers and is
scored on the sixth, each in turn; the encoder was trained, without labels, on clips of five of the
six. The floor is the same probe on means and deviations of log-mel bands over time.

The recipes are as they ship. Temperature and fade were chosen on theo, with another encoder.
"""

from __future__ import annotations

from collections.abc import Iterator

from _modalities_row import Options, Row, Trial

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
    changes = {"data.group": "speaker", "evaluation": EVALUATION[task]}
    trial = Trial(recipe, task, changes)
    runs = trial.runs(options, options.data / "fsdd/recordings.parquet")
    metrics = [run.metrics for run in runs]
    for key, title in MEASURES[task].items():
        yield trial.row(title, key, metrics, (f"floor_{key}", "log-mel statistics"))
