"""Sentences: questions of TREC by their six kinds, and pairs of SICK by how related they are.

TREC: `dcl-text` trains on the 5,452 questions of the official training part without their labels;
probes learn from that part and are scored on the 500 questions of the official test part. The floor
is the same probe on tf-idf. SICK: recipes train on 14,750 sentences of Wikipedia, and cosines of
the 4,927 pairs of the official test part are held against people's scores; nothing is learnt from
SICK. The floor is the cosine of tf-idf.

The recipes are as they ship, with the same settings for both tasks.
"""

from __future__ import annotations

from collections.abc import Iterator

from _modalities_row import Options, Row, Trial

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

    train, test = (options.data / f"text/TREC.{part}.all" for part in ("train", "test"))
    evaluation = {"holdout": 0.1, "evaluators": [{"name": "knn", "k": 20}]}
    trial = Trial(recipe, "TREC", {**LINES, "evaluation": evaluation})
    metrics = [
        manta.evaluate(
            run,
            test,
            bank=train,
            evaluators=["knn", "linear"],
            runs=options.scratch / "runs",
            progress=False,
        ).metrics
        for run in trial.runs(options, train)
    ]
    for key, title in (("knn_top1", "kNN"), ("linear_top1", "linear probe")):
        yield trial.row(title, key, metrics, (f"floor_{key}", "tf-idf"))


def of_pairs(options: Options, recipe: str) -> Iterator[Row]:
    """Yield the rank correlation on SICK."""
    folder = options.data / "text"
    pairs = {"name": "similarity", "pairs": str(folder / "SICK_test_annotated.txt")}
    trial = Trial(
        recipe, "SICK-R", {**PLAIN, "evaluation": {"holdout": 0.02, "evaluators": [pairs]}}
    )
    metrics = [run.metrics for run in trial.runs(options, folder / "clinc_wiki_sents.txt")]
    floor = ("floor_similarity_spearman", "tf-idf")
    yield trial.row("Spearman of cosines", "similarity_spearman", metrics, floor)
