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
SETS = ("ItalyPowerDemand", "JapaneseVowels", "GunPoint", "ECG200", "BasicMotions", "ArrowHead")
TS2VEC = {
    "ItalyPowerDemand": 0.925,
    "GunPoint": 0.980,
    "ECG200": 0.920,
    "ArrowHead": 0.857,
    "BasicMotions": 0.975,
    "JapaneseVowels": 0.984,
}
"""Accuracies of Yue et al. 2022, appendix, from memory: an SVM on features of the whole row."""
MONTHS = (8640, 2880, 2880)
CONTEXT, HORIZONS = 512, (24, 168)
PUBLISHED = {
    24: {"PatchTST, self-supervised": 0.322, "TS2Vec": 0.599},
    48: {"PatchTST, self-supervised": 0.354, "TS2Vec": 0.629},
    168: {"PatchTST, self-supervised": 0.419, "TS2Vec": 0.755},
}
"""Squared errors in Nie et al. 2023, table 6, of all seven channels; TS2Vec's from memory but the
first."""


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
        {"encoder": {"name": "patchtst", "args": PATCHES}},
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
    begun, folder = time.perf_counter(), options.data / "series/ucr"
    train, test = (folder / f"{name}_{part}.ts" for part in ("TRAIN", "TEST"))
    bank, queries = values_of(train), values_of(test)
    rows = len(bank[0])
    batch = min(method.batch, rows)
    settings = {
        "train.batch_size": batch,
        "train.epochs": STEPS / (rows // batch),
        "train.precision": "float32",
        "evaluation": {"holdout": 0.0, "evaluators": []},
        "tracking.register_model": False,
        **method.changes,
    }
    score = _scored_locally if options.local else _scored
    metrics = [
        score(options, method, (train, test), {**settings, "train.seed": seed})
        for seed in range(options.seeds)
    ]
    floor = nearest(*bank, *queries)
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


PROBES_OF_CLASSES = ({"name": "knn", "k": 1}, {"name": "linear"})


def _scored(
    options: Options, method: Method, parts: tuple[Path, Path], settings: dict[str, Any]
) -> dict[str, float]:
    """Train by `manta.train` and score by `manta.evaluate`; return the numbers."""
    import manta

    train, test = parts
    runs = options.scratch / "runs"
    run = manta.train(
        method.recipe,
        data=train,
        name=f"{method.recipe}-{train.stem}-{settings['train.seed']}",
        runs=runs,
        overrides={**settings, "evaluation.evaluators": list(PROBES_OF_CLASSES)},
        progress=False,
    )
    names = [probe["name"] for probe in PROBES_OF_CLASSES]
    found = manta.evaluate(run, test, bank=train, evaluators=names, runs=runs, progress=False)
    return dict(found.metrics)


def _scored_locally(
    options: Options, method: Method, parts: tuple[Path, Path], settings: dict[str, Any]
) -> dict[str, float]:
    """Return the same by the worker's loop in this process."""
    import _modalities_local as local

    from manta.evaluators import EVALUATORS

    probes = [
        EVALUATORS[str(probe["name"])].Config.model_validate(probe) for probe in PROBES_OF_CLASSES
    ]
    model = local.train(method.recipe, parts[0], settings, options.scratch)
    encoders = {"": model.encoder, "random_": model.untrained}
    return {
        prefix + name: value
        for prefix, encoder in encoders.items()
        for name, value in local.accuracies(model, encoder, *parts, probes, options.scratch).items()
    }


def of_forecasts(options: Options, method: Method) -> Iterator[Row]:
    """Yield the squared errors of forecasts of ETTh1, all channels, by a ridge on features."""
    begun, path = time.perf_counter(), options.data / "series/ETTh1.csv"
    windows = write_windows(path, options.scratch, method.layout)
    probe = PROBES[method.recipe]
    asked = {"data": str(path), "parts": MONTHS, "horizons": HORIZONS}
    evaluator = {"name": "forecast", **asked, **probe}
    count = len(np.load(windows)["X"])
    settings = {
        "train.batch_size": method.batch,
        "train.epochs": STEPS / (count // method.batch),
        "train.precision": "float32",
        "evaluation": {"holdout": 0.0, "evaluators": []},
        "tracking.register_model": False,
        **method.changes,
    }
    score = _forecast_locally if options.local else _forecast
    metrics = [
        score(options, method, windows, {**settings, "train.seed": seed}, evaluator)
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
            settings={**settings, "evaluator": evaluator},
            seconds=time.perf_counter() - begun,
        )


def _forecast(
    options: Options, method: Method, windows: Path, settings: dict[str, Any], evaluator: Any
) -> dict[str, float]:
    import manta

    run = manta.train(
        method.recipe,
        data=windows,
        name=f"{method.recipe}-ETTh1-{settings['train.seed']}",
        runs=options.scratch / "runs",
        overrides={**settings, "evaluation": {"holdout": 0.1, "evaluators": [evaluator]}},
        progress=False,
    )
    return dict(run.metrics)


def _forecast_locally(
    options: Options, method: Method, windows: Path, settings: dict[str, Any], evaluator: Any
) -> dict[str, float]:
    import _modalities_local as local

    from manta.evaluators.forecast import ForecastConfig

    config = ForecastConfig.model_validate(evaluator)
    model = local.train(method.recipe, windows, settings, options.scratch)
    encoders = {"": model.encoder, "random_": model.untrained}
    return {
        prefix + name: value
        for prefix, encoder in encoders.items()
        for name, value in local.forecasts(model, encoder, windows, config, options.scratch).items()
    }


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
