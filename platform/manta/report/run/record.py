"""What a run left in its folder. Every piece may be missing: a run can end before it writes it."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from manta.errors import RunError
from manta.metric_log import MetricRecord, read_metrics
from manta.modalities import Noun, is_captioned, noun_of
from manta.report.parts.samples import Array, Samples
from manta.report.parts.tiles import Looks

_ANY_OF = ("run.json", "experiment.yaml", "metrics.jsonl")
"""A folder with one of these is a run's."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric over the run.

    Attributes:
        steps: `[P]` int64, strictly increasing.
        values: `[P]` float64; a step that was logged as NaN is NaN.
    """

    steps: Array
    values: Array


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as its page reads it.

    Attributes:
        config: resolved configuration as plain data, `config_text` the same as written.
        run: run.json; evaluation: evaluation.json; empty where there is none.
        curves: by metric name.
        seconds: time spent between logged steps, or None with fewer than two.
        views: `source`, `view_0`, ... each `[n, h, w, 3]` uint8, in this order; empty where there
            are none.
        looks: what the samples look and sound like; None without samples.
    """

    path: Path
    config: dict[str, Any]
    config_text: str
    run: dict[str, Any]
    evaluation: dict[str, Any]
    curves: dict[str, Curve]
    seconds: float | None
    samples: Samples | None
    views: dict[str, Array]
    looks: Looks | None = None

    def setting(self, path: str) -> Any:
        """Return a configuration value by dotted path, or None."""
        value: Any = self.config
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        return value

    @property
    def noun(self) -> Noun:
        """What the run's samples are called."""
        return noun_of(_modality_of(self.config))

    @property
    def name(self) -> str:
        """The name that the run was given, or that of its folder."""
        return str(self.run.get("name") or self.path.name)


def read(run_dir: Path) -> RunRecord:
    """Return everything in a run's folder that can be read.

    Raises:
        RunError: the folder does not exist, or holds no run.
    """
    if not run_dir.is_dir():
        raise RunError(f"no run at {run_dir}; `ls {run_dir.parent}` shows the runs that exist")
    if not any((run_dir / name).exists() for name in _ANY_OF):
        raise RunError(f"{run_dir} holds no run (no run.json, experiment.yaml or metrics.jsonl)")
    config_text = _text(run_dir / "experiment.yaml")
    try:
        config = yaml.safe_load(config_text)
    except yaml.YAMLError:
        config = None
    config = config if isinstance(config, dict) else {}
    records = _records(run_dir / "metrics.jsonl")
    arrays = _arrays(run_dir / "artifacts" / "samples.npz")
    as_text = is_captioned(_modality_of(config))
    samples = _samples(arrays, as_text=as_text)
    return RunRecord(
        path=run_dir,
        config=config,
        config_text=config_text,
        run=_mapping(run_dir / "run.json"),
        evaluation=_mapping(run_dir / "evaluation.json"),
        curves=_curves(records),
        seconds=_seconds(records),
        samples=samples,
        views=_views(_arrays(run_dir / "artifacts" / "views.npz")),
        looks=None if samples is None else Looks.of(arrays, as_text=as_text),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _mapping(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_text(path))
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _records(path: Path) -> list[MetricRecord]:
    try:
        return list(read_metrics(path))
    except OSError:
        return []


def _curves(records: list[MetricRecord]) -> dict[str, Curve]:
    """Return each metric over the steps; where a resume repeated a step, its last value counts."""
    points: dict[str, dict[int, float]] = {}
    for record in records:
        for name, value in record.metrics.items():
            points.setdefault(name, {})[record.step] = value
    curves = {}
    for name, by_step in points.items():
        steps = sorted(by_step)
        values = np.array([by_step[step] for step in steps])
        curves[name] = Curve(np.array(steps, dtype=np.int64), values)
    return curves


def _seconds(records: list[MetricRecord]) -> float | None:
    """Return the time between records of advancing steps, or None with fewer than two records.

    The pause before a resumed attempt is not the run's.
    """
    if len(records) < 2:
        return None
    pairs = [(a, b) for a, b in pairwise(records) if b.step >= a.step]
    return sum(max(b.time - a.time, 0.0) for a, b in pairs)


def _arrays(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return {}


def _modality_of(config: dict[str, Any]) -> str | None:
    """Return the name of a configuration's modality, as far as it says it."""
    data = config.get("data")
    name = data.get("modality") if isinstance(data, dict) else None
    return name if isinstance(name, str) else None


def _samples(arrays: dict[str, Array], *, as_text: bool) -> Samples | None:
    if (
        not {"thumbnails", "features", "random_features"} <= arrays.keys()
        or len(arrays["thumbnails"]) == 0
    ):
        return None
    labels, names = arrays.get("labels"), arrays.get("classes")
    looks = Looks.of(arrays, as_text=as_text)
    return Samples(
        arrays["thumbnails"],
        arrays["features"],
        arrays["random_features"],
        labels,
        None if names is None else names.tolist(),
        looks.captions,
        looks.as_text,
    )


def _views(arrays: dict[str, Array]) -> dict[str, Array]:
    names = sorted(
        (n for n in arrays if n.startswith("view_")), key=lambda n: int(n.removeprefix("view_"))
    )
    return {name: arrays[name] for name in ["source", *names] if name in arrays}
