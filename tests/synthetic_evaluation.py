"""Evaluations as `manta evaluate` hands them to their page: full, small, unlabelled, broken."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

BLURS = (
    "gaussian_noise",
    "motion_blur",
    "defocus_blur",
    "fog",
    "contrast",
    "pixelate",
    "jpeg_compression",
)
LAYERS = ("layer1", "layer2", "layer3", "layer4")
HEADS = {"proto": 0.0, "tuned": 0.04, "opta": 0.11}
GIVEN: dict[str, dict[str, float]] = {
    "knn": {
        "knn_top1": 0.612,
        "knn_top5": 0.931,
        "knn1_top1": 0.58,
        "knn1_top5": 0.58,
        "knn100_top1": 0.601,
    }
    | {"knn100_top5": 0.944},
    "linear": {"linear_top1": 0.655, "linear_l2": 0.01},
    "linear_sgd": {"linear_sgd_top1": 0.431, "linear_sgd_lr": 0.1},
    "fewshot": {
        f"fewshot{k}_{head}": 0.4 + k / 20 + more for k in (1, 5) for head, more in HEADS.items()
    },
    "finetune": {"finetune_1pct_top1": 0.31, "finetune_10pct_top1": 0.57},
    "rank": {"rankme": 31.2, "feature_std": 0.83},
    "alpha_req": {"alpha_req": 1.31, "alpha_req_gap": 0.31},
    "lidar": {"lidar": 44.0},
    "alignment_uniformity": {"alignment": 0.31, "uniformity": -2.41},
    "clustering": {
        "clustering_kmeans_ami": 0.41,
        "clustering_kmeans_ari": 0.31,
        "clustering_hdbscan_ami": 0.22,
    }
    | {
        "clustering_hdbscan_ari": 0.12,
        "clustering_hdbscan_clusters": 14.0,
        "clustering_hdbscan_noise": 0.31,
    },
    "risk": {
        "risk_approximation": 0.0,
        "risk_usability": 0.21,
        "risk_probe": 0.11,
        "risk_encoder": -0.012,
    }
    | {"risk_total": 0.308},
    "transferability": {"logme": -0.52, "ped": -0.41},
    "retrieval": {"retrieval_recall1": 0.55, "retrieval_recall5": 0.81, "retrieval_recall10": 0.88}
    | {"retrieval_map": 0.33},
    "layers": {f"layers_{name}_cca": 0.5 + place / 8 for place, name in enumerate(LAYERS[:-1])}
    | {f"layers_{name}_top1": 0.3 + place / 10 for place, name in enumerate(LAYERS)}
    | {f"layers_{name}_information": 0.2 + place / 12 for place, name in enumerate(LAYERS)}
    | {"layers_best_top1": 0.6, "layers_best_depth": 1.0},
    "fungi": {"fungi_top1": 0.63, "fungi_plain_top1": 0.61, "fungi_gain": 0.02},
    "corruptions": {"corruptions_top1": 0.41, "corruptions_clean_top1": 0.62}
    | {f"corruptions_{name}_top1": 0.3 + place / 30 for place, name in enumerate(BLURS)}
    | {f"corruptions_severity{s}_top1": 0.58 - s / 12 for s in range(1, 6)},
}
NO_UNTRAINED_GAIN = ("linear_sgd_top1",)
"""Accuracies at which the untrained encoder of `full` is as good."""


def samples(count: int = 90) -> dict[str, Any]:
    """Digits whose pixels are their features, each named by its nearest neighbour in a few of
    them."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels, labels = digits.data[:count].astype(np.float32), digits.target[:count].astype(np.int64)
    bank = slice(200, 230)
    near = ((pixels[:, None] - digits.data[bank][None]) ** 2).sum(2).argmin(1)
    shades = np.repeat((digits.images[:count] * 15.9).astype(np.uint8)[..., None], 3, axis=3)
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    return {
        "thumbnails": shades.repeat(4, 1).repeat(4, 2),
        "features": pixels,
        "labels": labels,
        "classes": words,
    } | {"predictions": digits.target[bank][near].astype(np.int64)}


def full() -> dict[str, Any]:
    """A run that every evaluator judged, beside its untrained encoder."""
    trained = {name: value for one in GIVEN.values() for name, value in one.items()}
    untrained = {
        f"random_{name}": value if name in NO_UNTRAINED_GAIN else round(0.7 * value, 4)
        for name, value in trained.items()
    }
    accuracies = {
        n: v
        for n, v in (trained | untrained).items()
        if re.search(r"_top\d+$|fewshot\d_|recall|_map$", n)
    }
    return {
        "name": "demo at step 350",
        "data": "cifar10/test",
        "digest": "3f2a91c07b5d4e10aa",
        "bank_rows": 9000,
        "query_rows": 1000,
        "labelled": True,
        "note": "probes learn from 9,000 rows of cifar10/test and are scored on the other 1,000",
        "metrics": trained | untrained,
        "intervals": {name: [value - 0.03, value + 0.03] for name, value in accuracies.items()},
        "evaluators": {
            name: {
                "settings": {"name": name, "every": None}
                | ({"k": [20, 1, 100]} if name == "knn" else {"seed": 0})
            }
            | {"metrics": list(one)}
            for name, one in GIVEN.items()
        },
        "skipped": {"segmentation": "it needs a folder of masks"},
        "model": {"encoder": "resnet10t", "weights": "9c1e02d7a1b2c3d4e5", "version": "3"},
        "versions": {"manta": "0.1", "torch": "2.15"},
        "date": "2026-11-21 14:00",
        "samples": samples(),
    }


def one_evaluator() -> dict[str, Any]:
    """A public model, by nearest neighbours alone."""
    return {
        "name": "timm:resnet18",
        "data": "digits",
        "labelled": True,
        "metrics": {"knn_top1": 0.98, "knn_top5": 1.0},
        "intervals": {"knn_top1": [0.96, 0.99], "knn_top5": [1.0, 1.0]},
        "evaluators": {
            "knn": {"settings": {"name": "knn", "k": 20}, "metrics": ["knn_top1", "knn_top5"]}
        },
    }


def unlabelled() -> dict[str, Any]:
    trained = GIVEN["rank"] | GIVEN["alpha_req"] | {f"layers_{n}_cca": 0.5 for n in LAYERS[:-1]}
    pictures = samples() | {"labels": None, "classes": None, "predictions": None}
    return {
        "name": "photos at step 900",
        "labelled": False,
        "metrics": trained | {f"random_{name}": value / 3 for name, value in trained.items()},
        "skipped": {"knn": "it needs labels", "linear": "it needs labels"},
        "samples": pictures,
    }


def broken() -> dict[str, Any]:
    """An encoder whose features are not finite, as its JSON says it: NaN, or nothing."""
    nothing = float("nan")
    features = np.full((20, 4), nothing, np.float32)
    return {
        "name": "<b>burst</b> & 'more'",
        "metrics": {
            "knn_top1": nothing,
            "linear_top1": None,
            "rankme": nothing,
            "random_rankme": 9.0,
        },
        "intervals": {"knn_top1": [nothing, nothing]},
        "samples": {
            "thumbnails": np.zeros((20, 8, 8, 3), np.uint8),
            "features": features,
            "labels": None,
        },
    }
