"""Series: the UCR and UEA sets with their official split, and forecasts of ETTh1.

Presets, fixed before the first run and the same for all sets: `ts2vec-series` with the paper's 200
steps of 8 rows, and `dcl-series` with 200 steps of 32 rows. Both are probed by their nearest
neighbour and by a linear probe, with the official training part as bank. The floor is the nearest
neighbour by Euclidean distance between rows as the encoder is given them.

ETTh1 has the usual 12, 4 and 4 months of 30 days. Only windows of the first part are trained on,
the penalty is chosen on the second, and the third is scored.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _modalities_row import Options, Row

STEPS = 200
SETS = ("ItalyPowerDemand", "GunPoint", "ECG200", "ArrowHead", "BasicMotions", "JapaneseVowels")
TS2VEC = {
    "ItalyPowerDemand": 0.925,
    "GunPoint": 0.980,
    "ECG200": 0.920,
    "ArrowHead": 0.857,
    "BasicMotions": 0.975,
    "JapaneseVowels": 0.984,
}
"""Accuracies in the tables of Yue et al. 2022, appendix: an SVM on features of the whole row."""
MONTHS = (8640, 2880, 2880)
CONTEXT, HORIZONS = 512, (24, 48, 168)
PUBLISHED = {
    24: {"PatchTST, self-supervised": 0.322, "TS2Vec": 0.599},
    48: {"PatchTST, self-supervised": 0.354, "TS2Vec": 0.629},
    168: {"PatchTST, self-supervised": 0.419, "TS2Vec": 0.755},
}
"""Squared errors in Nie et al. 2023, table 6, of all seven channels."""


@dataclass(frozen=True)
class Method:
    """A recipe and what is changed of it.

    Attributes:
        batch: rows of a step, which decides how many epochs `STEPS` are.
        layout: of the windows of ETTh1: "apart", a channel a row, or "together".
    """

    recipe: str
    batch: int
    changes: Mapping[str, Any]
    layout: str = "together"


CLASSES = (Method("ts2vec-series", 8, {}), Method("dcl-series", 32, {}))
PATCHES = {"patch": 16, "dim": 32, "heads": 4}
FORECASTS = (
    Method(
        "patch-mae-series",
        64,
        {"encoder": {"name": "patchtst", "args": PATCHES}, "train.epochs": 10},
        "apart",
    ),
    Method("ts2vec-series", 8, {"data.normalise": "data"}),
)
PROBES = {
    "patch-mae-series": {"context": CONTEXT, "features": "all", "normalise": "row"},
    # The authors' code shows the encoder 200 values before each forecast.
    "ts2vec-series": {"context": 200, "features": "last", "normalise": "data"},
}


def rows(options: Options) -> Iterator[Row]:
    """Train and score every method on every set, then on ETTh1; yield a row for each measure."""
    for name in SETS:
        if options.wants(name):
            for method in CLASSES:
                yield from of_set(options, name, method)
    if options.wants("ETTh1"):
        for method in FORECASTS:
            yield from of_forecasts(options, method)


def of_set(options: Options, name: str, method: Method) -> Iterator[Row]:
    """Yield the accuracies of a set by the nearest neighbour and by a linear probe."""
    import manta

    begun, folder = time.perf_counter(), options.data / "series/ucr"
    parts = {part: folder / f"{name}_{part}.ts" for part in ("TRAIN", "TEST")}
    decoded = {part: values_of(path) for part, path in parts.items()}
    count = len(decoded["TRAIN"][0])
    # One row in ten is held out of training, as every run must score something.
    epochs = STEPS * method.batch / max(count - round(0.1 * count), 1)
    settings = {
        "train.batch_size": min(method.batch, count - round(0.1 * count)),
        "train.epochs": round(epochs, 3),
        "evaluation": {"holdout": 0.1, "evaluators": [{"name": "knn", "k": 1}]},
        "tracking.register_model": False,
        **method.changes,
    }
    metrics = []
    for seed in range(options.seeds):
        run = manta.train(
            method.recipe,
            data=parts["TRAIN"],
            name=f"{method.recipe}-{name}-{seed}",
            runs=options.scratch / "runs",
            overrides={**settings, "train.seed": seed},
            progress=False,
        )
        metrics.append(
            manta.evaluate(
                run,
                parts["TEST"],
                bank=parts["TRAIN"],
                evaluators=["knn", "linear"],
                runs=options.scratch / "runs",
                progress=False,
            ).metrics
        )
    floor = nearest(*decoded["TRAIN"], *decoded["TEST"])
    for measure, title in (("knn_top1", "1-NN"), ("linear_top1", "linear probe")):
        yield Row(
            name,
            method.recipe,
            title,
            [one[measure] for one in metrics],
            [one[f"random_{measure}"] for one in metrics],
            floor,
            "1-NN, values",
            published={"TS2Vec, SVM": TS2VEC[name]},
            settings=settings,
            seconds=time.perf_counter() - begun,
        )


def of_forecasts(options: Options, method: Method) -> Iterator[Row]:
    """Yield the squared errors of forecasts of ETTh1, all channels, by a ridge on features."""
    import manta

    begun, path = time.perf_counter(), options.data / "series/ETTh1.csv"
    windows = write_windows(path, options.scratch, method.layout)
    probe = PROBES[method.recipe]
    asked = {"data": str(path), "parts": MONTHS, "horizons": HORIZONS}
    settings = {
        "train.batch_size": method.batch,
        "evaluation": {"holdout": 0.1, "evaluators": [{"name": "forecast", **asked, **probe}]},
        "tracking.register_model": False,
        **method.changes,
    }
    if "train.epochs" not in settings:
        count = len(np.load(windows)["X"])
        settings["train.epochs"] = round(STEPS * method.batch / (0.9 * count), 3)
    metrics = [
        manta.train(
            method.recipe,
            data=windows,
            name=f"{method.recipe}-ETTh1-{seed}",
            runs=options.scratch / "runs",
            overrides={**settings, "train.seed": seed},
            progress=False,
        ).metrics
        for seed in range(options.seeds)
    ]
    for horizon in HORIZONS:
        measure = f"forecast_mse_{horizon}"
        yield Row(
            "ETTh1",
            method.recipe,
            f"squared error, {horizon} ahead",
            [one[measure] for one in metrics],
            [one[f"random_{measure}"] for one in metrics],
            metrics[0][f"forecast_floor_mse_{horizon}"],
            f"ridge, {probe['context']} values",
            better="lower",
            published=PUBLISHED[horizon],
            settings=settings,
            seconds=time.perf_counter() - begun,
        )


def values_of(path: Path) -> tuple[list[np.ndarray], list[Any]]:
    """Return rows `[T, C]` normalised as the recipes do, and their labels."""
    from manta.data import SourceOptions, open_source
    from manta.modalities.series import SeriesDecoder
    from manta.modalities.series.packing import unpack

    source = open_source(str(path), SourceOptions(modality="series"))
    samples = [sample for unit in source.units() for sample in source.read(unit) if sample.data]
    decoder = SeriesDecoder(unpack(samples[0].data).values.shape[1])
    decoded = [decoder(sample.data, None)["series"] for sample in samples]
    return decoded, [sample.label for sample in samples]


def nearest(
    bank: Sequence[np.ndarray], labels: list[Any], queries: Sequence[np.ndarray], truth: list[Any]
) -> float:
    """Return the accuracy of the nearest row; rows of unequal lengths are stretched to one."""
    from manta.modalities.series.decoder import stretched

    length = max(map(len, [*bank, *queries]))
    flat = [
        np.stack([(row if len(row) == length else stretched(row, length)).ravel() for row in part])
        for part in (bank, queries)
    ]
    hits = [
        labels[int(np.square(flat[0] - query).sum(1).argmin())] == label
        for query, label in zip(flat[1], truth, strict=True)
    ]
    return float(np.mean(hits))


def write_windows(path: Path, scratch: Path, layout: str) -> Path:
    """Write windows of the first part, of one channel a row ("apart") or of all ("together")."""
    table = np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(1, 8))[: MONTHS[0]]
    table = (table - table.mean(0)) / table.std(0)
    windows = np.stack([table[at : at + CONTEXT] for at in range(0, len(table) - CONTEXT + 1, 24)])
    windows = windows.transpose(0, 2, 1)  # [N, C, T]
    windows = windows.reshape(-1, 1, CONTEXT) if layout == "apart" else windows
    scratch.mkdir(parents=True, exist_ok=True)
    out = scratch / f"etth1-{layout}.npz"
    np.savez(out, X=windows.astype(np.float32))
    return out
