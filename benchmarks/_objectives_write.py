"""Tables and the plot of benchmarks/objectives.py, from the records of its runs."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from _objectives_job import STARTS, Record

MISSING = "-"
FEWEST = 3
"""Number of seeds below which the text says nothing about a gap."""


def table(records: Iterable[Record], *, epochs: float, limit: int, batch: int) -> str:
    """Return the table in Markdown: objectives beside SimCLR and untrained encoders, best first."""
    runs, bare = _split(records)
    simclr = [record for record in runs.get("simclr", []) if not record.get("failed")]
    reference = {record["seed"]: record for record in simclr}
    # Settled encoders come last in `bare`, so they replace those as built.
    untrained = {(record["encoder"], record["seed"]): record for record in bare}
    rows = sorted(
        (_row(name, records, reference, untrained) for name, records in runs.items()),
        key=lambda row: -row[0],
    )
    encoders = sorted(
        {record["encoder"] for record in bare},
        key=lambda encoder: (encoder != "resnet10t", encoder),
    )
    starts = [_start(kind, encoder, bare, runs) for encoder in encoders for kind in STARTS]
    every = [record for records in runs.values() for record in records]
    seeds = sorted({record["seed"] for record in every})
    concurrent = sorted({record["concurrent"] for record in every})
    head = (
        "| objective | kNN | over untrained | against SimCLR | RankMe | images/s | memory, MiB | |",
        "|---|---|---|---|---|---|---|---|",
    )
    held = round(limit / 10)
    notes = [
        f"{limit:,} CIFAR-10 images, {epochs:g} epochs of batch {batch}, all else by each recipe, "
        f"{len(seeds)} seed(s): mean and standard deviation over them. kNN (k=200) of the "
        f"{held:,} held-out images among the {limit - held:,} others. Methods are compared with "
        "SimCLR and the untrained encoder of the same seed; for encoders with BatchNorm that is "
        "the recalibrated one: random weights, but BatchNorm's statistics of the data, which the "
        "first steps of any method bring. So short a run shows what learns fast, not what ends "
        "highest; "
        "nothing was tuned for it.",
        "images/s of the fastest seed, with one thread while "
        f"{' or '.join(map(str, concurrent))} run(s) shared the machine: to be compared within "
        "the table only. Memory is what a fresh process added at its peak to what it had with all "
        "libraries loaded, evaluation left out.",
    ]
    body = [*head, *(row for _, row in rows), *filter(None, starts), ""]
    return "\n".join([*body, *_wrapped(notes), *_costs(every)])


def dcl_table(
    records: Iterable[Record], *, epochs: float, limit: int, batches: Sequence[int]
) -> str:
    """Return a table in Markdown: kNN of SimCLR and DCL by temperature and batch size.

    It ends with the gaps between them, and a sentence about these.
    """
    lines = [
        "| temperature | batch | SimCLR | DCL | gap | seeds of both |",
        "|---|---|---|---|---|---|",
    ]
    summaries = []
    for temperature, knn in _by_temperature(records):
        gaps: dict[int, list[float]] = {}
        for batch in batches:
            dcl, simclr = knn[batch]["dcl"], knn[batch]["simclr"]
            paired = [dcl[seed] - simclr[seed] for seed in sorted(dcl.keys() & simclr.keys())]
            if len(paired) >= FEWEST:
                gaps[batch] = paired
            gap = _spread(paired, sign=True) if paired else MISSING
            means = (_spread(list(simclr.values())), _spread(list(dcl.values())))
            cells = (*means, gap, str(len(paired)))
            lines.append(f"| {temperature:g} | {batch} | {' | '.join(cells)} |")
        summaries.append(_summary(temperature, gaps))
    setting = (
        f"{epochs:g} epochs on {limit:,} CIFAR-10 images each, so that a small batch takes more "
        f"steps; kNN (k=200) of {min(limit, 10_000):,} others among them. Both methods have the "
        "same temperature and the same rate, which goes with the root of the batch: the positive "
        "in the denominator is the only difference. Mean and standard deviation over seeds; the "
        "gap is of the same seed."
    )
    plot = "![kNN of DCL and SimCLR over the batch size](dcl.svg)"
    text = _wrapped([setting, " ".join(filter(None, summaries))])
    return "\n".join([*lines, "", *text, "", plot])


def dcl_plot(records: Iterable[Record], path: Path, *, batches: Sequence[int]) -> None:
    """Draw an SVG of kNN over the batch size by temperature, mean and every seed."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "manta"  # equal numbers make an equal file
    from matplotlib import pyplot

    shown = list(_by_temperature(records))
    size = (1 + 4 * len(shown), 3.6)
    options = {"figsize": size, "layout": "constrained", "sharey": True, "squeeze": False}
    figure, panels = pyplot.subplots(1, len(shown), **options)
    for axes, (temperature, knn) in zip(panels[0], shown, strict=True):
        for name, label, colour in (("simclr", "SimCLR", "#8a8f98"), ("dcl", "DCL", "#1f6feb")):
            by_batch = {batch: list(knn[batch][name].values()) for batch in batches}
            values = {batch: each for batch, each in by_batch.items() if each}
            means = [statistics.mean(each) for each in values.values()]
            axes.plot(list(values), means, "o-", color=colour, label=label)
            dots = [(batch, value) for batch, each in values.items() for value in each]
            axes.plot([x for x, _ in dots], [y for _, y in dots], ".", color=colour, alpha=0.4)
        axes.set_xscale("log", base=2)
        axes.set_xticks(list(batches), [str(batch) for batch in batches])
        axes.set(xlabel="batch size", title=f"temperature {temperature:g}")
        axes.grid(alpha=0.25)
    panels[0][0].set_ylabel("kNN accuracy")
    panels[0][0].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def replace(path: Path, mark: str, text: str) -> None:
    """Put `text` between the lines `<!-- mark:begin -->` and `<!-- mark:end -->` of a file.

    Raises:
        SystemExit: it has no such lines.
    """
    begin, end = f"<!-- {mark}:begin -->", f"<!-- {mark}:end -->"
    before = path.read_text()
    section = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not section.search(before):
        raise SystemExit(f"{path} has no lines {begin} and {end} to write between")
    path.write_text(section.sub(lambda _: f"{begin}\n{text}\n{end}", before))


def _split(records: Iterable[Record]) -> tuple[dict[str, list[Record]], list[Record]]:
    """Return the runs by objective, and the records of untrained encoders."""
    runs: dict[str, list[Record]] = defaultdict(list)
    bare = []
    for record in records:
        if record["objective"] in STARTS:
            bare.append(record)
        else:
            runs[record["objective"]].append(record)
    bare.sort(key=lambda record: STARTS.index(record["objective"]))
    return dict(runs), [record for record in bare if record.get("metrics")]


def _row(
    name: str,
    records: list[Record],
    reference: dict[int, Record],
    untrained: dict[tuple[str, int], Record],
) -> tuple[float, str]:
    """Return the mean kNN, and the line of the table."""
    failed = [record for record in records if record.get("failed")]
    good = [record for record in records if record not in failed and _has_knn(record)]
    encoder, notes = records[0]["encoder"], []
    if encoder != "resnet10t":
        notes.append(f"encoder {encoder.split()[0]}")
    if failed:
        notes.append(f"{len(failed)} of {len(records)} failed: {failed[0]['failed']}")
    if stopped := [record for record in good if record.get("stopped")]:
        reason = stopped[0]["stopped"].split(":")[0]
        notes.append(f"{len(stopped)} of {len(records)} stopped: {reason}")
    words = "; ".join(notes).replace("|", "/")
    if not good:
        return -1.0, f"| `{name}` | {' | '.join([MISSING] * 6)} | {words} |"
    knn = [_knn(record) for record in good]
    starts, others = [], []
    for record in good:
        seed = record["seed"]
        if start := untrained.get((record["encoder"], seed)):
            starts.append(_knn(record) - _knn(start))
        if seed in reference:
            others.append(_knn(record) - _knn(reference[seed]))
    rates = [record["images_per_second"] for record in good if record["images_per_second"]]
    peaks = [record["peak_mib"] for record in good if record["peak_mib"] is not None]
    cells = [
        f"`{name}`",
        _spread(knn),
        f"{statistics.mean(starts):+.3f}" if starts else MISSING,
        "0" if name == "simclr" else f"{statistics.mean(others):+.3f}" if others else MISSING,
        f"{statistics.mean(record['metrics']['rankme'] for record in good):.0f}",
        f"{max(rates):.0f}" if rates else MISSING,
        f"{statistics.mean(peaks):.0f}" if peaks else MISSING,
        words,
    ]
    return statistics.mean(knn), f"| {' | '.join(cells)} |"


def _start(kind: str, encoder: str, bare: list[Record], runs: dict[str, list[Record]]) -> str:
    """Return the line of an untrained encoder; nothing where there is none."""
    of_encoder = [record for record in bare if record["encoder"] == encoder]
    starts = [record for record in of_encoder if record["objective"] == kind]
    if not starts:
        return ""
    ranks = [record["metrics"]["rankme"] for record in starts]
    knn = [_knn(record) for record in starts if _has_knn(record)]
    users = [f"`{name}`" for name, records in runs.items() if records[0]["encoder"] == encoder]
    note = f"where {len(users)} of them start"
    if len(users) == 1:
        note = f"where {users[0]} starts"
    if kind != STARTS[0]:
        note = "the same with BatchNorm's statistics of the data"
    shown, rank = _spread(knn) if knn else MISSING, statistics.mean(ranks)
    return f"| {kind} {encoder.split()[0]} | {shown} | | | {rank:.0f} | | | {note} |"


def _costs(runs: list[Record]) -> list[str]:
    """Return a paragraph about what was made before training, where it took long."""
    spent: dict[str, list[float]] = defaultdict(list)
    for record in runs:
        if record.get("materials_seconds", 0) >= 1:
            spent[record["objective"]].append(record["materials_seconds"])
    costs = [f"`{name}` {statistics.mean(times):.0f} s" for name, times in sorted(spent.items())]
    objectives = {run["objective"] for run in runs}
    students = [f"`{name}`" for name in ("clusterfit", "distill") if name in objectives]
    notes = []
    if students:
        notes.append(
            f"{' and '.join(students)} learn from the encoder of SimCLR's run of the same seed, "
            "the cost of which is not counted here."
        )
    if costs:
        materials = ", ".join(costs)
        notes.append(f"Before its first step a run made what its objective needs: {materials}.")
    return ["", *_wrapped([" ".join(notes)])] if notes else []


def _by_temperature(
    records: Iterable[Record],
) -> Iterator[tuple[float, dict[int, dict[str, dict[int, float]]]]]:
    """Yield each temperature, the lowest first, with kNN by batch, objective and seed."""
    good = [record for record in records if not record.get("failed") and _has_knn(record)]
    for temperature in sorted({record["temperature"] for record in good}):
        knn: dict[int, dict[str, dict[int, float]]] = {}
        for record in good:
            by_objective = knn.setdefault(record["batch"], {"simclr": {}, "dcl": {}})
            if record["temperature"] == temperature:
                by_objective[record["objective"]][record["seed"]] = _knn(record)
        yield temperature, defaultdict(lambda: {"simclr": {}, "dcl": {}}, knn)


def _summary(temperature: float, gaps: dict[int, list[float]]) -> str:
    """Return a sentence about how the gap changes from the largest batch to the smallest.

    The change is measured by the spread over seeds.
    """
    if len(gaps) < 2:
        return ""
    small, large = min(gaps), max(gaps)
    first, last = statistics.mean(gaps[small]), statistics.mean(gaps[large])
    ends = f"from {last:+.3f} at {large} to {first:+.3f} at {small}"
    if not first > max(last, 0):
        return f"At {temperature:g} the gap does not grow as the batch shrinks: {ends}."
    means = [statistics.mean(gaps[batch]) for batch in sorted(gaps)]
    falls = all(left >= right for left, right in pairwise(means))
    how = "at every halving" if falls else "not at every halving"
    variances = [statistics.variance(gaps[batch]) / len(gaps[batch]) for batch in (small, large)]
    error = sum(variances) ** 0.5
    size = f"{(first - last) / error:.1f} standard errors" if error else "the same for all seeds"
    return (
        f"At {temperature:g} the gap grows as the batch shrinks, {ends}, {how}; "
        f"the growth is {size}."
    )


def _has_knn(record: Record) -> bool:
    return "knn_top1" in record["metrics"]


def _knn(record: Record) -> float:
    return float(record["metrics"].get("knn_top1", float("nan")))


def _spread(values: Sequence[float], *, sign: bool = False) -> str:
    if not values:
        return MISSING
    mean = f"{statistics.mean(values):{'+' if sign else ''}.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


def _wrapped(texts: Iterable[str]) -> list[str]:
    """Return paragraphs as lines of at most 100 characters."""
    import textwrap

    options = {"break_long_words": False, "break_on_hyphens": False}
    paragraphs = [textwrap.wrap(text, 100, **options) for text in texts]
    return [line for paragraph in paragraphs for line in (*paragraph, "")][:-1]
