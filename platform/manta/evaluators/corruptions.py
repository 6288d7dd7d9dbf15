"""Robustness: accuracy of k nearest clean neighbours on corrupted images.

Hendrycks & Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations". Certain is the mean over corruptions and five severities, from training on clean
images only. Ours: the classifier is kNN on frozen features, as nothing is fitted to a corruption;
accuracies are given, not errors relative to AlexNet's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from manta.errors import did_you_mean
from manta.evaluators._base import (
    EVALUATORS,
    EncoderAccess,
    EncoderEvaluator,
    EncoderEvaluatorConfig,
    Features,
    Scores,
)
from manta.evaluators._corruptions import CORRUPTIONS, SEVERITIES, corrupt
from manta.evaluators._metrics import Metric, MetricFigure
from manta.evaluators.knn import KNN, KNNConfig
from manta.ragged import dense


class CorruptionsConfig(EncoderEvaluatorConfig):
    """Settings of the corruptions and of the classifier.

    The cost is `5 * rows` images for each corruption.
    """

    name: Literal["corruptions"] = "corruptions"
    corruptions: tuple[str, ...] = Field(
        tuple(CORRUPTIONS), min_length=1, description="names as in ImageNet-C"
    )
    rows: int = Field(500, ge=1, description="of the queries that are corrupted, at most")
    k: int = Field(20, ge=1, description="neighbours that vote; clipped to the bank's rows")
    temperature: float = Field(0.1, gt=0, description="of the votes' weights")
    chunk: int = Field(
        2048, ge=1, description="rows of the bank that are compared at a time; bounds the memory"
    )
    seed: int = Field(0, ge=0, description="of the noises")

    @field_validator("corruptions")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in CORRUPTIONS:
                raise ValueError(
                    f"no corruption is named {name!r}{did_you_mean(name, CORRUPTIONS)}"
                )
        return names


METRICS = {
    "corruptions_top1": Metric(
        "kNN accuracy, corrupted",
        "Over kinds and severities.",
        short="kNN, corrupted",
        better="higher",
        kind="fraction",
    ),
    "corruptions_clean_top1": Metric(
        "kNN accuracy, clean",
        "The same rows.",
        short="kNN, clean",
        better="higher",
        kind="fraction",
        figure="severities",
        at="0 (clean)",
        line="kNN accuracy",
    ),
    "corruptions_severity{severity:d}_top1": Metric(
        "Severity {severity}",
        "Mean over the kinds.",
        short="{severity}",
        better="higher",
        kind="fraction",
        one_of_many=True,
        figure="severities",
        line="kNN accuracy",
    ),
} | {
    f"corruptions_{name}_top1": Metric(
        (name[0].upper() + name[1:]).replace("_", " ").replace("Jpeg", "JPEG"),
        "Mean over five severities.",
        better="higher",
        kind="fraction",
        one_of_many=True,
        figure="kinds",
    )
    for name in CORRUPTIONS
}


FIGURES = {
    "severities": MetricFigure(
        "Accuracy over how badly images are corrupted",
        "kNN accuracy, mean over all kinds of corruption.",
        axis="severity",
        zero=True,
    ),
    "kinds": MetricFigure(
        "Accuracy by kind of corruption",
        "kNN accuracy, mean over five severities.",
        kind="bars",
        level="corruptions_clean_top1",
        level_note="the same images clean",
    ),
}


@EVALUATORS.register("corruptions")
class Corruptions(EncoderEvaluator[CorruptionsConfig]):
    """Accuracy of k nearest clean neighbours on corrupted images: `corruptions_top1`, the mean.

    Also the mean of each corruption, `corruptions_<name>_top1`, and of each severity,
    `corruptions_severity<1..5>_top1`; and `corruptions_clean_top1` of the same rows as they are.
    """

    Config = CorruptionsConfig
    title = "Corrupted images"
    about = "Whether nearest neighbours are still right when images are noisy or blurred."
    metrics = METRICS
    figures = FIGURES
    needs_labels = True
    modalities = frozenset({"image"})

    def evaluate_encoder(self, access: EncoderAccess, features: Features) -> Scores:
        names = self.config.corruptions
        cases = [(name, severity) for name in names for severity in SEVERITIES]
        # Each case has draws of its own, which do not depend on what else is tried.
        generators = {case: torch.Generator().manual_seed(self.config.seed) for case in cases}
        clean: list[Tensor] = []
        corrupted: dict[tuple[str, int], list[Tensor]] = {case: [] for case in cases}
        truth: list[Tensor] = []
        for data, labels in access.rows("queries", self.config.rows):
            if labels is None:
                return {}
            truth.append(labels)
            images = dense(data, "image").to(access.device)
            clean.append(access.embed({"image": images}))
            for name, severity in cases:
                changed = corrupt(images, name, severity, generators[name, severity])
                corrupted[name, severity].append(access.embed({"image": changed}))
        top1 = {case: self._top1(features, parts, truth) for case, parts in corrupted.items()}
        scores: dict[str, float | Tensor] = {
            "corruptions_top1": _together(top1.values()),
            "corruptions_clean_top1": self._top1(features, clean, truth),
        }
        for name in names:
            scores[f"corruptions_{name}_top1"] = _together(
                top1[name, severity] for severity in SEVERITIES
            )
        for severity in SEVERITIES:
            scores[f"corruptions_severity{severity}_top1"] = _together(
                top1[name, severity] for name in names
            )
        return scores

    def _top1(self, features: Features, queries: list[Tensor], truth: list[Tensor]) -> Tensor:
        """Return which rows were named correctly, `[Q]` bool."""
        config, device = self.config, features.bank.device
        settings = KNNConfig(
            k=min(config.k, len(features.bank)), temperature=config.temperature, chunk=config.chunk
        )
        rows = Features(
            features.bank,
            torch.cat(queries).to(device),
            features.bank_labels,
            torch.cat(truth).to(device),
        )
        return KNN(settings).hits(rows)["knn_top1"]


def _together(cases: Iterable[Tensor]) -> Tensor:
    """Return `[Q]`, in what share of the cases each row was named correctly.

    Rows are what intervals resample, with all their cases.
    """
    return torch.stack(list(cases)).double().mean(0)
