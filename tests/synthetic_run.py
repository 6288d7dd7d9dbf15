"""A run folder as the trainer leaves it, made from scikit-learn's digits without training
anything."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

CONFIG = """\
description: "Digits in about a minute on two cores: kNN 0.9"
data:
  source: digits
  image_size: 32
encoder:
  name: resnet10t
objective:
  name: dcl
  temperature: 0.1
train:
  epochs: 20.0
  batch_size: 128
  seed: 0
  precision: bf16
evaluation:
  select: knn_top1
tracking:
  register_as: null
"""
STEPS = 260


def make_run(
    folder: Path,
    *,
    labelled: bool = True,
    status: str = "finished",
    diagnosis: str | None = None,
    images: int = 300,
    steps: int = STEPS,
) -> Path:
    """Writes a whole run; a stopped one (`status`) leaves no evaluation, samples or model."""
    (folder / "artifacts").mkdir(parents=True)
    (folder / "experiment.yaml").write_text(CONFIG)
    done = status == "finished"
    run = {
        "name": folder.name,
        "run_id": "3f9c8b1d2e4a4f6c9d0e1b2a3c4d5e6f",
        "status": status,
        "diagnosis": diagnosis,
        "fingerprint": "a1b2c3d4e5f6",
        "git_commit": "0123456789abcdef0123456789abcdef01234567",
        "created": "2026-11-21T04:10:00",
        "dataset": "digits",
        "digest": "9e107d9d372bb6826bd81d3542a419d6",
        "rows": 1797,
        "parameters": 4902000,
        "steps": steps,
        "tracking_uri": "http://ada:secret@tracking.example:5000",
        "model_uri": "models:/manta-dcl-resnet10t@candidate" if done else None,
    }
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "metrics.jsonl").write_text(
        "".join(json.dumps(record) + "\n" for record in _records(steps, labelled=labelled))
    )
    _write_views(folder)
    if done:
        _write_samples(folder, images, labelled=labelled)
        _write_evaluation(folder, labelled=labelled)
    return folder


def _records(steps: int, *, labelled: bool) -> list[dict[str, object]]:
    noise = np.random.default_rng(0)
    records: list[dict[str, object]] = []
    for step in range(steps):
        fraction = step / STEPS
        metrics = {
            "loss": 1.2 + 3.2 * float(np.exp(-4 * fraction)) + 0.12 * float(noise.normal()),
            "lr": 1e-3 * min(fraction / 0.1, 0.5 + 0.5 * float(np.cos(np.pi * fraction))),
            "weight_decay": 0.05,
            "schedule/temperature": 0.1 + 0.1 * (1 - fraction),
            "gradient_norm": 1.5 + 0.3 * float(noise.normal()),
            "images_per_second": 900 + 30 * float(noise.normal()),
            "input_wait_fraction": float(0.03 + 0.01 * abs(noise.normal())),
        }
        if step % 26 == 25:
            metrics |= {"rankme": 20 + 40 * fraction, "feature_std": 0.5 + 0.4 * fraction}
            if labelled:
                metrics["knn_top1"] = 0.95 - 0.35 * float(np.exp(-5 * fraction))
                metrics["linear_top1"] = 0.97 - 0.27 * float(np.exp(-5 * fraction))
        records.append({"step": step, "time": 1.79e9 + 0.25 * step, "metrics": metrics})
    return records


def _write_samples(folder: Path, images: int, *, labelled: bool) -> None:
    digits = load_digits()
    pixels = digits.images[:images]
    flat = pixels.reshape(len(pixels), -1)
    trained = (
        LinearDiscriminantAnalysis().fit(digits.data[600:], digits.target[600:]).transform(flat)
    )
    untrained = np.random.default_rng(0).normal(size=(64, 48)).T @ (flat + 20).T
    arrays = {
        "thumbnails": np.repeat((pixels * 15.9).astype(np.uint8)[..., None], 3, axis=-1),
        "features": trained.astype(np.float32),
        "random_features": np.maximum(untrained.T, 0).astype(np.float32),
        "index": np.arange(images),
    }
    if labelled:
        arrays["labels"] = digits.target[:images].astype(np.int64)
    np.savez(folder / "artifacts" / "samples.npz", **arrays)  # type: ignore[arg-type]


def _write_views(folder: Path) -> None:
    draws = np.random.default_rng(1)
    source = np.repeat((load_digits().images[:10] * 15.9).astype(np.uint8)[..., None], 3, axis=-1)
    source = source.repeat(4, axis=1).repeat(4, axis=2)
    views = {"source": source}
    for name in ("view_0", "view_1"):
        shifted = np.stack(
            [np.roll(image, draws.integers(-8, 9, 2), axis=(0, 1)) for image in source]
        )
        views[name] = (shifted * draws.uniform(0.4, 1.0, (len(source), 1, 1, 3))).astype(np.uint8)
    np.savez(folder / "artifacts" / "views.npz", **views)  # type: ignore[arg-type]


def _write_evaluation(folder: Path, *, labelled: bool) -> None:
    metrics = {
        "rankme": 58.7,
        "random_rankme": 11.2,
        "feature_std": 0.91,
        "random_feature_std": 0.22,
    }
    if labelled:
        scores = {
            "knn_top1": 0.9441,
            "random_knn_top1": 0.7321,
            "linear_top1": 0.9609,
            "random_linear_top1": 0.8212,
        }
        metrics = scores | metrics
    settings = {
        "knn": {"name": "knn", "every": 2.0, "k": 200, "temperature": 0.07},
        "linear": {"name": "linear", "every": None, "epochs": 20, "lr": 0.1},
        "rank": {"name": "rank", "every": 2.0},
    }
    evaluation = {
        "step": STEPS,
        "metrics": metrics,
        "settings": settings,
        "bank_rows": 1618,
        "query_rows": 179,
        "labelled": labelled,
    }
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
