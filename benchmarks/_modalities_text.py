"""Sentences: questions of TREC by their six kinds, and pairs of SICK by how related they are.

TREC: `dcl-text` trains on the 5,452 questions of the official training part without their labels;
probes learn from that part and are scored on the 500 questions of the official test part. The floor
is the same probe on tf-idf. SICK: recipes train on 14,750 sentences of Wikipedia, and cosines of
the 4,927 pairs of the official test part are held against people's scores; nothing is learnt from
SICK. The floor is the cosine of tf-idf.

The recipes are as they ship, with the same settings for both tasks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from _modalities_row import Options, Row

LINES = {"data.labels": "first", "data.encoding": "latin-1"}
PLAIN = {"data.labels": None, "data.encoding": "utf-8"}


def rows(options: Options) -> Iterator[Row]:
    """Train and score; yield a row for each measure."""
    if options.wants("TREC"):
        yield from of_questions(options, "dcl-text")
    if options.wants("SICK"):
        for recipe in ("dcl-text", "mirror-bert"):
            yield from of_pairs(options, recipe)


def of_questions(options: Options, recipe: str) -> Iterator[Row]:
    """Yield the accuracies on TREC."""
    import manta

    begun, folder = time.perf_counter(), options.data / "text"
    settings = {
        **LINES,
        "evaluation": {"holdout": 0.1, "evaluators": [{"name": "knn", "k": 20}]},
        "tracking.register_model": False,
    }
    metrics = []
    for seed in range(options.seeds):
        run = manta.train(
            recipe,
            data=folder / "TREC.train.all",
            name=f"{recipe}-TREC-{seed}",
            runs=options.scratch / "runs",
            overrides={**settings, "train.seed": seed},
            progress=False,
        )
        metrics.append(
            manta.evaluate(
                run,
                folder / "TREC.test.all",
                bank=folder / "TREC.train.all",
                evaluators=["knn", "linear"],
                runs=options.scratch / "runs",
                progress=False,
            ).metrics
        )
    for measure, title in (("knn_top1", "kNN"), ("linear_top1", "linear probe")):
        yield Row(
            "TREC",
            recipe,
            title,
            [one[measure] for one in metrics],
            [one[f"random_{measure}"] for one in metrics],
            metrics[0][f"floor_{measure}"],
            "tf-idf",
            settings=settings,
            seconds=time.perf_counter() - begun,
        )


def of_pairs(options: Options, recipe: str) -> Iterator[Row]:
    """Yield the rank correlation on SICK."""
    import manta

    begun, folder = time.perf_counter(), options.data / "text"
    pairs = {"name": "similarity", "pairs": str(folder / "SICK_test_annotated.txt")}
    settings = {
        **PLAIN,
        "evaluation": {"holdout": 0.02, "evaluators": [pairs]},
        "tracking.register_model": False,
    }
    metrics = []
    for seed in range(options.seeds):
        run = manta.train(
            recipe,
            data=folder / "clinc_wiki_sents.txt",
            name=f"{recipe}-SICK-{seed}",
            runs=options.scratch / "runs",
            overrides={**settings, "train.seed": seed},
            progress=False,
        )
        metrics.append(run.metrics)
    yield Row(
        "SICK-R",
        recipe,
        "Spearman of cosines",
        [one["similarity_spearman"] for one in metrics],
        [one["random_similarity_spearman"] for one in metrics],
        metrics[0]["similarity_tfidf"],
        "tf-idf",
        settings=settings,
        seconds=time.perf_counter() - begun,
    )
