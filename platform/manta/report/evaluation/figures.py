"""The figures of an evaluation. One without numbers is left out."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from manta.report.evaluation.numbers import Number, shown
from manta.report.evaluation.plots import (
    add_ends,
    add_level,
    bar_figure,
    bar_trace,
    bars,
    curves,
)
from manta.report.parts.charts import Chart, paired_up, real
from manta.report.parts.palette import LIGHT

Known = Mapping[str, Number]
_RISKS = ("approximation", "usability", "probe", "encoder")
_WHISKERS = (
    "Whiskers are 95% intervals: how far other images of the same kind would move a number. "
    "What another training run would change is not in them."
)


def figures(
    known: Known, settings: Mapping[str, Mapping[str, Any]], bank_rows: int | None
) -> list[Chart]:
    """Return every figure that has numbers.

    Args:
        settings: of each evaluator, by its name.
        bank_rows: to which the k of nearest neighbours is clipped.
    """
    drawn = [
        _accuracies(known),
        _neighbours(known, settings.get("knn") or {}, bank_rows),
        _fewshot(known),
        _finetune(known, "pct"),
        _finetune(known, "shot"),
        _retrieval(known),
        _layers(known),
        _risk(known),
        _severities(known),
        _kinds(known),
        _clusters(known),
    ]
    return paired_up([one for one in drawn if one is not None])


def _accuracies(known: Known) -> Chart | None:
    names = [n for n in known if re.search(r"_top\d+$", n) and not re.match(r"knn\d", n)]
    rows = [known[name] for name in names if not known[name].meaning.one_of_many]
    caption = "Share of images that were named right." + (
        f" {_WHISKERS}" if any(row.interval for row in rows) else ""
    )
    return bars(
        "accuracies", "Accuracies", caption, [(row.meaning.short, row) for row in rows], wide=True
    )


def _neighbours(known: Known, settings: Mapping[str, Any], bank_rows: int | None) -> Chart | None:
    stated: Any = settings.get("k")
    base: Any = stated[0] if isinstance(stated, list | tuple) and stated else stated
    at: dict[int, dict[int, Number]] = {1: {}, 5: {}}
    for name, number in known.items():
        if (match := re.fullmatch(r"knn(\d*)_top([15])", name)) and (
            match[1] or isinstance(base, int)
        ):
            k = int(match[1] or base)
            at[int(match[2])][min(k, bank_rows) if bank_rows else k] = number
    series = [
        (f"top-{top}", {str(k): found[k] for k in sorted(found)}) for top, found in at.items()
    ]
    caption = "Where classes lie apart, little is lost as more neighbours vote."
    return curves(
        "neighbours",
        "Accuracy over the number of neighbours",
        caption,
        "neighbours that vote",
        series,
    )


def _fewshot(known: Known) -> Chart | None:
    series: dict[str, dict[str, Number]] = {}
    found = [(re.fullmatch(r"fewshot(\d+)_(\w+)", name), number) for name, number in known.items()]
    for match, number in sorted(((m, n) for m, n in found if m), key=lambda pair: int(pair[0][1])):
        head = number.meaning.title.partition(", ")[2] or match[2]
        series.setdefault(head, {})[match[1]] = number
    caption = (
        "Accuracy in small tasks of a few classes, over how many images of each class have a label."
    )
    axis = "labelled images of each class"
    return curves(
        "fewshot",
        "With a few labels, encoder frozen",
        caption,
        axis,
        list(series.items()),
        fewest=1,
    )


def _finetune(known: Known, unit: str) -> Chart | None:
    found = [
        (re.fullmatch(rf"finetune_([\d.e+-]+){unit}_top1", name), number)
        for name, number in known.items()
    ]
    ordered = sorted(((float(m[1]), n) for m, n in found if m), key=lambda pair: pair[0])
    sign = "%" if unit == "pct" else ""
    points = {f"{size:g}{sign}": number for size, number in ordered}
    axis = "of the labels" if unit == "pct" else "labelled images of each class"
    drawn = curves(
        f"finetune-{unit}",
        "Fine-tuned with a part of the labels"
        if unit == "pct"
        else "Fine-tuned with a few images of each class",
        "The whole encoder is trained on with these labels alone.",
        axis,
        [("fine-tuned", points)],
    )
    linear = known.get("linear_top1")
    if drawn is not None and linear is not None and linear.finite:
        add_level(drawn.figure, linear.value, LIGHT.faint)
        level = shown(linear.value, "fraction")
        note = f" The dotted line is the linear probe with all labels, {level}."
        return replace(drawn, caption=drawn.caption + note)
    return drawn


def _retrieval(known: Known) -> Chart | None:
    found = [
        (re.fullmatch(r"retrieval_recall(\d+)", name), number) for name, number in known.items()
    ]
    ordered = sorted(((int(m[1]), n) for m, n in found if m), key=lambda pair: pair[0])
    points = {str(k): number for k, number in ordered}
    caption = "Share of images with at least one of their class among the nearest."
    return curves(
        "retrieval",
        "Recall over what is looked at",
        caption,
        "nearest images",
        [("recall", points)],
    )


def _layers(known: Known) -> Chart | None:
    kinds = {
        "top1": "accuracy of a probe",
        "information": "information on the classes",
        "cca": "likeness to the last",
    }
    series: dict[str, dict[str, Number]] = {kind: {} for kind in kinds}
    for name, number in known.items():
        if name.startswith("layers_") and number.meaning.one_of_many:
            layer, _, kind = name.removeprefix("layers_").rpartition("_")
            if kind in series:
                series[kind][layer] = number
    caption = "From the first layer to the last, between 0 and 1."
    named = [(kinds[kind], points) for kind, points in series.items()]
    return curves("layers", "Layer by layer", caption, "layer", named, zero=True)


def _risk(known: Known) -> Chart | None:
    parts = [(part, number) for part in _RISKS if (number := known.get(f"risk_{part}")) is not None]
    if not any(number.finite for _, number in parts):
        return None
    paired = any(number.untrained is not None for _, number in parts)
    rows = ["untrained", "trained"] if paired else [""]
    figure = bar_figure(len(rows) * 56 + 90)
    for place, (_, number) in enumerate(parts):
        values = [number.untrained, number.value] if paired else [number.value]
        title, note = number.meaning.title, number.meaning.note
        approximation = number.name == "risk_approximation"
        colour = LIGHT.faint if approximation else LIGHT.series[place]
        bar = bar_trace(title, rows, values, [None] * len(rows), colour)
        bar.update(
            customdata=[f"{title} {shown(v, 'fraction')}<br>{note}" for v in values],
            text=[shown(v, "fraction") if (v or 0) > 0.03 else "" for v in values],
            textposition="inside",
            insidetextanchor="middle",
            insidetextfont={"color": LIGHT.card},
            textangle=0,
        )
        figure.add_trace(bar)
    total = known.get("risk_total")
    if total is not None:
        own = {"trained" if paired else "": total.value}
        add_ends(figure, own | {"untrained": total.untrained})
    figure.update_layout(barmode="relative", legend_traceorder="normal")
    caption = (
        "The share of wrong answers of a linear probe, in the parts that it is made of; "
        "short is good."
    )
    title = "Where the probe's errors come from"
    return Chart(title, caption, figure, wide=True, name="risk")


def _severities(known: Known) -> Chart | None:
    names = {"0 (clean)": "corruptions_clean_top1"} | {
        str(s): f"corruptions_severity{s}_top1" for s in range(1, 6)
    }
    points = {label: known[name] for label, name in names.items() if name in known}
    caption = "kNN accuracy, mean over all kinds of corruption."
    title = "Accuracy over how badly images are corrupted"
    return curves("severities", title, caption, "severity", [("kNN accuracy", points)], zero=True)


def _kinds(known: Known) -> Chart | None:
    rows = [
        (number.meaning.title, number)
        for name, number in known.items()
        if re.fullmatch(r"corruptions_(?!clean_|severity\d).+_top1", name)
    ]
    rows.sort(key=lambda row: -row[1].value if row[1].finite else math.inf)
    drawn = bars(
        "kinds", "Accuracy by kind of corruption", "kNN accuracy, mean over five severities.", rows
    )
    clean = known.get("corruptions_clean_top1")
    if drawn is not None and clean is not None and clean.finite:
        add_level(drawn.figure, clean.value, LIGHT.ink, upright=True)
        furthest = max(clean.value, *(_end(number) for _, number in rows))
        drawn.figure.update_xaxes(range=[0, 1.04 * furthest])
        level = shown(clean.value, "fraction")
        note = f" The dotted line is the same images clean, {level}."
        return replace(drawn, caption=drawn.caption + note)
    return drawn


def _clusters(known: Known) -> Chart | None:
    rows = [
        (number.meaning.short, number)
        for name, number in known.items()
        if re.fullmatch(r"clustering_(kmeans|ward|hdbscan)_(ami|ari|silhouette)", name)
    ]
    supervised = any(not number.name.endswith("silhouette") for _, number in rows)
    caption = "Groups that are found without labels. " + (
        "0 is chance, 1 is the classes themselves."
        if supervised
        else "1 is far apart, 0 is touching."
    )
    return bars("clusters", "Clusters", caption, rows) if len(rows) > 1 else None


def _end(number: Number) -> float:
    """How far to the right its bars and whiskers go."""
    reached = [
        number.value,
        number.untrained,
        *(number.interval or ()),
        *(number.untrained_interval or ()),
    ]
    return max((end for end in reached if real(end)), default=0.0)
