"""What evaluators can do with the labels of some rows, said before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from manta.data.labels import told_apart
from manta.evaluation.rows import SplitRows, count_groups
from manta.evaluators import Evaluator, LabelCounts
from manta.files import Place

MOST_GROUPS = 4_000
"""Row groups whose labels are read to count the classes, at most: reading one takes about a
millisecond from a disk. Of larger data the manifest's counts are taken."""
REMOTE = 20
"""How many times longer that takes from an object store."""
_SHOWN = 4


def count_labels(bank: SplitRows, queries: SplitRows) -> LabelCounts | None:
    """Return how many rows of each class there are; only labels are read.

    None where that is not known without reading the labels of very large data.
    """
    groups = sum(len(rows.manifest.group_starts) for rows in (bank, queries))
    sizes = len(bank.indexes), len(queries.indexes)
    is_local = all(Place(rows.manifest.location).is_local for rows in (bank, queries))
    if groups <= (MOST_GROUPS if is_local else MOST_GROUPS // REMOTE):
        labels = bank.read_labels(), queries.read_labels()
        return LabelCounts.of(
            *labels, bank_rows=sizes[0], query_rows=sizes[1], groups=count_groups(bank, queries)
        )
    in_bank, in_queries = _of_all_rows(bank), _of_all_rows(queries)
    if in_bank is None or in_queries is None:
        return None
    return LabelCounts(in_bank, in_queries, *sizes, groups=count_groups(bank, queries))


def _of_all_rows(rows: SplitRows) -> dict[int, int] | None:
    """Return the rows of each class in the whole dataset, if its manifest says them."""
    if not rows.manifest.labelled:
        return {}
    sizes, names = rows.manifest.understood.get("classes"), rows.manifest.classes
    if not sizes or not names:
        return None
    numbers = rows.class_of(torch.arange(len(names))).tolist()
    return {
        number: int(sizes[name])
        for number, name in zip(numbers, told_apart(names), strict=True)
        if sizes.get(name)
    }


def lacking(evaluators: Iterable[Evaluator[Any]], counts: LabelCounts) -> dict[str, str]:
    """Return what each evaluator lacks that can do nothing, by its name, after "needs"."""
    return {
        evaluator.config.name: missing
        for evaluator in evaluators
        if (missing := evaluator.missing_labels(counts)) is not None
    }


def label_notes(
    evaluators: Sequence[Evaluator[Any]], counts: LabelCounts, strange: Sequence[str] = ()
) -> list[str]:
    """Return lines on what evaluators cannot do with these rows, and why.

    Args:
        strange: names of the queries' classes that the bank lacks, where they are known.
    """
    notes = []
    left_out: dict[str, list[str]] = {}
    for name, missing in lacking(evaluators, counts).items():
        left_out.setdefault(missing, []).append(name)
    for missing, names in left_out.items():
        verb = "needs" if len(names) == 1 else "need"
        notes.append(f"left out: {', '.join(names)} ({verb} {missing})")
    if not any(evaluator.needs_labels for evaluator in evaluators):
        return notes
    if counts.labelled:
        notes.append(f"{counts.labelled}; only evaluators that need none see the others")
    if 0 < counts.strange_queries < counts.labelled_queries:
        notes.append(_strange(counts, strange))
    if len(counts.queries) == 1 and len(counts.bank) > 1:
        scored = counts.labelled_queries
        every = f"all {scored:,} labelled rows that are scored are of one class"
        which = every if scored > 1 else "a single labelled row is scored"
        notes.append(f"{which}: accuracies say little; hold out more rows")
    for evaluator in evaluators:
        is_used = evaluator.missing_labels(counts) is None and evaluator.needs_labels
        if is_used and (note := evaluator.label_note(counts)) is not None:
            notes.append(f"{evaluator.config.name}: {note}")
    return notes


def _strange(counts: LabelCounts, names: Sequence[str]) -> str:
    listed = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return (
        f"{counts.strange_queries:,} of {counts.labelled_queries:,} labelled rows that are scored "
        f"are of a class that probes cannot learn{f' ({listed})' if listed else ''}: they count as "
        "wrong, and retrieval leaves them out"
    )
