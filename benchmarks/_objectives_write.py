"""Tables and the plot of benchmarks/objectives.py, out of what its runs left."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from _objectives_run import STARTS, Record

MISSING = "-"
FEWEST = 3
"""Seeds without which nothing is said of a gap."""


def table(records: Iterable[Record], *, epochs: float, limit: int, batch: int) -> str:
    """Markdown: every objective beside SimCLR and the untrained encoder, best kNN first."""
    runs, bare = _split(records)
    reference = {
        record["seed"]: record for record in runs.get("simclr", []) if not record.get("failed")
    }
    untrained = {
        (record["encoder"], record["seed"]): record for record in bare
    }  # settled ones come last
    rows = sorted(
        (_row(name, found, reference, untrained) for name, found in runs.items()),
        key=lambda row: -row[0],
    )
    encoders = sorted(
        {record["encoder"] for record in bare},
        key=lambda encoder: (encoder != "resnet10t", encoder),
    )
    starts = [_start(kind, encoder, bare, runs) for encoder in encoders for kind in STARTS]
    seeds = sorted({record["seed"] for found in runs.values() for record in found})
    every = [record for found in runs.values() for record in found]
    concurrent = sorted({record["concurrent"] for record in every})
    head = (
        "| objective | kNN | over untrained | against SimCLR | RankMe | images/s | memory, MiB | |",
        "|---|---|---|---|---|---|---|---|",
    )
    held = round(limit / 10)
    notes = [
        f"{limit:,} CIFAR-10 images, {epochs:g} epochs of batch {batch} by each recipe as it is otherwise, "
        f"{len(seeds)} seed(s): mean and standard deviation over them. kNN (k=200) of the {held:,} held-out images "
        f"among the {limit - held:,} others. SimCLR and the untrained encoder of the same seed are what is compared "
        "with; of encoders with BatchNorm the settled one: random weights, but BatchNorm's statistics of the data, "
        "which the first steps of any method bring. So short a run says what learns fast, not what ends highest; "
        "nothing was tuned for it.",
        f"images/s of the fastest seed, with one thread while {' or '.join(map(str, concurrent))} run(s) shared the "
        "machine: to be compared within the table only. Memory is what a fresh process added at its peak to what it "
        "had with all libraries loaded, evaluation left out.",
    ]
    return "\n".join(
        [
            *head,
            *(row for _, row in rows),
            *filter(None, starts),
            "",
            *_wrapped(notes),
            *_costs(every),
        ]
    )


def dcl_table(
    records: Iterable[Record], *, epochs: float, limit: int, batches: Sequence[int]
) -> str:
    """Markdown: kNN of SimCLR and DCL by temperature and batch size, the gap, and what the gaps
    say."""
    lines = [
        "| temperature | batch | SimCLR | DCL | gap | seeds of both |",
        "|---|---|---|---|---|---|",
    ]
    verdicts = []
    for temperature, found in _by_temperature(records):
        gaps: dict[int, list[float]] = {}
        for batch in batches:
            ours, theirs = found[batch]["dcl"], found[batch]["simclr"]
            paired = [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]
            if len(paired) >= FEWEST:
                gaps[batch] = paired
            gap = _spread(paired, sign=True) if paired else MISSING
            cells = (
                _spread(list(theirs.values())),
                _spread(list(ours.values())),
                gap,
                str(len(paired)),
            )
            lines.append(f"| {temperature:g} | {batch} | {' | '.join(cells)} |")
        verdicts.append(_verdict(temperature, gaps))
    said = (
        f"{epochs:g} epochs on {limit:,} CIFAR-10 images each, so that a small batch takes more steps; kNN (k=200) of "
        f"{min(limit, 10_000):,} others among them. Both methods have the same temperature and the same rate, which "
        "goes with the root of the batch: the positive in the denominator is the only difference. Mean and standard "
        "deviation over seeds; the gap is of the same seed."
    )
    plot = "![kNN of DCL and SimCLR over the batch size](dcl.svg)"
    return "\n".join([*lines, "", *_wrapped([said, " ".join(filter(None, verdicts))]), "", plot])


def dcl_plot(records: Iterable[Record], path: Path, *, batches: Sequence[int]) -> None:
    """An SVG: kNN over the batch size by temperature, mean and every seed."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "manta"  # equal numbers make an equal file
    from matplotlib import pyplot

    shown = list(_by_temperature(records))
    figure, panels = pyplot.subplots(
        1,
        len(shown),
        figsize=(1 + 4 * len(shown), 3.6),
        layout="constrained",
        sharey=True,
        squeeze=False,
    )
    for axes, (temperature, found) in zip(panels[0], shown, strict=True):
        for name, label, colour in (("simclr", "SimCLR", "#8a8f98"), ("dcl", "DCL", "#1f6feb")):
            values = {
                batch: list(found[batch][name].values()) for batch in batches if found[batch][name]
            }
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
    whole = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not whole.search(before):
        raise SystemExit(f"{path} has no lines {begin} and {end} to write between")
    path.write_text(whole.sub(lambda _: f"{begin}\n{text}\n{end}", before))


def _split(records: Iterable[Record]) -> tuple[dict[str, list[Record]], list[Record]]:
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
    found: list[Record],
    reference: dict[int, Record],
    untrained: dict[tuple[str, int], Record],
) -> tuple[float, str]:
    """The mean kNN, and the line of the table."""
    good = [
        record for record in found if not record.get("failed") and "knn_top1" in record["metrics"]
    ]
    notes = (
        [] if found[0]["encoder"] == "resnet10t" else [f"encoder {found[0]['encoder'].split()[0]}"]
    )
    failed = [record for record in found if record.get("failed")]
    if failed:
        notes.append(f"{len(failed)} of {len(found)} failed: {failed[0]['failed']}")
    if stopped := [record for record in good if record.get("stopped")]:
        notes.append(
            f"{len(stopped)} of {len(found)} stopped: {stopped[0]['stopped'].split(':')[0]}"
        )
    words = "; ".join(notes).replace("|", "/")
    if not good:
        return -1.0, f"| `{name}` | {' | '.join([MISSING] * 6)} | {words} |"
    knn = [_knn(record) for record in good]
    starts = [
        _knn(r) - _knn(untrained[r["encoder"], r["seed"]])
        for r in good
        if (r["encoder"], r["seed"]) in untrained
    ]
    others = [
        _knn(record) - _knn(reference[record["seed"]])
        for record in good
        if record["seed"] in reference
    ]
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
    """The line of an untrained encoder; nothing where there is none."""
    found = [
        record for record in bare if record["encoder"] == encoder and record["objective"] == kind
    ]
    if not found:
        return ""
    ranks = [record["metrics"]["rankme"] for record in found]
    knn = [_knn(record) for record in found if "knn_top1" in record["metrics"]]
    users = [f"`{name}`" for name, records in runs.items() if records[0]["encoder"] == encoder]
    whose = (
        f"where {', '.join(users)} starts"
        if len(users) == 1
        else f"where {len(users)} of them start"
    )
    if kind != STARTS[0]:
        whose = "the same with BatchNorm's statistics of the data"
    shown = _spread(knn) if knn else MISSING
    return f"| {kind} {encoder.split()[0]} | {shown} | | | {statistics.mean(ranks):.0f} | | | {whose} |"


def _costs(runs: list[Record]) -> list[str]:
    """A line about what was made before training, where it took long."""
    spent: dict[str, list[float]] = defaultdict(list)
    for record in runs:
        if record.get("materials_seconds", 0) >= 1:
            spent[record["objective"]].append(record["materials_seconds"])
    said = [f"`{name}` {statistics.mean(seconds):.0f} s" for name, seconds in sorted(spent.items())]
    teachers = [
        f"`{name}`"
        for name in ("clusterfit", "distill")
        if any(run["objective"] == name for run in runs)
    ]
    notes = []
    if teachers:
        notes.append(
            f"{' and '.join(teachers)} learn from the encoder of SimCLR's run of the same seed, the cost of "
            "which is not counted here."
        )
    if said:
        notes.append(
            f"Before its first step a run made what its objective needs: {', '.join(said)}."
        )
    return ["", *_wrapped([" ".join(notes)])] if notes else []


def _by_temperature(
    records: Iterable[Record],
) -> Iterator[tuple[float, dict[int, dict[str, dict[int, float]]]]]:
    """kNN by batch, objective and seed, of each temperature, the lowest first."""
    every = [
        record for record in records if not record.get("failed") and "knn_top1" in record["metrics"]
    ]
    for temperature in sorted({record["temperature"] for record in every}):
        found: dict[int, dict[str, dict[int, float]]] = defaultdict(
            lambda: {"simclr": {}, "dcl": {}}
        )
        for record in every:
            if record["temperature"] == temperature:
                found[record["batch"]][record["objective"]][record["seed"]] = _knn(record)
        yield temperature, found


def _verdict(temperature: float, gaps: dict[int, list[float]]) -> str:
    """What the gaps say, whatever it is: of the smallest batch against the largest, by the spread
    over seeds."""
    if len(gaps) < 2:
        return ""
    small, large = min(gaps), max(gaps)
    first, last = statistics.mean(gaps[small]), statistics.mean(gaps[large])
    ends = f"from {last:+.3f} at {large} to {first:+.3f} at {small}"
    if not first > max(last, 0):
        return f"At {temperature:g} the gap does not grow as the batch shrinks: {ends}."
    means = [statistics.mean(gaps[batch]) for batch in sorted(gaps)]
    how = (
        "at every halving"
        if all(left >= right for left, right in pairwise(means))
        else "not at every halving"
    )
    error = (
        sum(statistics.variance(gaps[batch]) / len(gaps[batch]) for batch in (small, large)) ** 0.5
    )
    sure = f"{(first - last) / error:.1f} standard errors" if error else "the same for all seeds"
    return f"At {temperature:g} the gap grows as the batch shrinks, {ends}, {how}; the growth is {sure}."


def _knn(record: Record) -> float:
    return float(record["metrics"].get("knn_top1", float("nan")))


def _spread(values: Sequence[float], *, sign: bool = False) -> str:
    if not values:
        return MISSING
    mean = f"{statistics.mean(values):{'+' if sign else ''}.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


def _wrapped(texts: Iterable[str]) -> list[str]:
    """Paragraphs, of lines of at most 120 characters."""
    import textwrap

    paragraphs = [
        textwrap.wrap(text, 120, break_long_words=False, break_on_hyphens=False) for text in texts
    ]
    return [line for paragraph in paragraphs for line in (*paragraph, "")][:-1]
