"""Decomposition of a linear probe's risk into four parts, from frozen features alone.

Dubois, Hashimoto & Liang 2023, "Evaluating Self-Supervised Learning via Risk Decomposition". With
the fraction of wrong answers as risk, and bank rows that the encoder was pretrained on,

    fitted      a probe on the bank, scored on the bank                     (the paper's r_AF)
    held out    a probe on a part of the bank, scored on the other part     (r_AS)
    total       a probe on the bank, scored on the queries                  (r_US)

    approximation = training risk of the best network of this architecture
    usability     = fitted - approximation
    probe         = held out - fitted: what too few labels cost
    encoder       = total - held out: what rows that pretraining did not see cost

and the four add up to the total. For the approximation the paper takes a supervised network of the
same architecture; frozen features cannot tell it, so it is a setting, by default 0: networks of
today fit their training rows. The three probes are `linear`'s. Ours: the fitted one has the weakest
penalty, since nothing is to be generalised to, and the others choose theirs on a part of the rows
that they learn from (the authors' code tunes the total's on test rows).

Where the bank is not what the encoder was pretrained on, `risk_encoder` is the noise between the
splits. Few rows give the paper's few-shot setting.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field

from manta.evaluators._base import EVALUATORS, Evaluator, EvaluatorConfig, Features, Scores
from manta.evaluators._groups import drawn_groups, held_out_part
from manta.evaluators._metrics import Metric, MetricFigure
from manta.evaluators._probe import draw
from manta.evaluators.linear import Linear, LinearConfig


class RiskConfig(EvaluatorConfig):
    """The probes' settings."""

    name: Literal["risk"] = "risk"
    approximation: float = Field(
        0.0,
        ge=0,
        le=1,
        description="error of this architecture on its training rows when trained with labels",
    )
    rows: int = Field(
        10_000, ge=4, description="of the bank that are used, at most, drawn at random"
    )
    held_out: float = Field(
        0.2, gt=0, lt=1, description="fraction of the rows on which the probe of the rest is scored"
    )
    l2: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        (1.0, 1e-1, 1e-2, 1e-3, 1e-4),
        min_length=1,
        description="strengths of the penalty to choose from",
    )
    validation: float = Field(
        0.2, gt=0, lt=1, description="fraction of a probe's rows on which it is chosen"
    )
    iterations: int = Field(100, ge=1, description="of L-BFGS per strength, at most")
    chunk: int = Field(16_384, ge=1, description="rows at a time; bounds the memory")
    seed: int = Field(0, ge=0, description="of the draw of rows and of their splits")


METRICS = {
    "risk_approximation": Metric(
        "Approximation",
        "What the architecture cannot fit; a setting.",
        better="lower",
        kind="fraction",
        figure="parts",
    ),
    "risk_usability": Metric(
        "Usability",
        "Classes that a linear probe cannot tell apart.",
        better="lower",
        kind="fraction",
        figure="parts",
    ),
    "risk_probe": Metric(
        "Probe",
        "What too few labels cost the probe.",
        better="lower",
        kind="fraction",
        figure="parts",
    ),
    "risk_encoder": Metric(
        "Encoder",
        "What rows that pretraining did not see cost.",
        better="lower",
        kind="fraction",
        figure="parts",
    ),
    "risk_total": Metric(
        "Total error of the probe",
        "The sum of the four.",
        better="lower",
        kind="fraction",
        worst=1.0,
    ),
}


FIGURES = {
    "parts": MetricFigure(
        "Where the probe's errors come from",
        "The share of wrong answers of a linear probe, in the parts that it is made of; short is "
        "good.",
        kind="stack",
        total="risk_total",
    ),
}


@EVALUATORS.register("risk")
class Risk(Evaluator[RiskConfig]):
    """Risk of a linear probe in four parts, and their sum, `risk_total`.

    `risk_approximation`, `risk_usability`, `risk_probe` and `risk_encoder`.
    """

    Config = RiskConfig
    title = "Where the probe's errors come from"
    about = (
        "The error of a linear probe in four parts, which add up to it. A part below 0 is noise "
        "between the splits."
    )
    metrics = METRICS
    figures = FIGURES
    needs_labels = True

    @torch.inference_mode(
        False
    )  # what is drawn is learnt from, and must not be a tensor of that mode
    def evaluate(self, features: Features) -> Scores:
        labels, truth = features.bank_labels, features.query_labels
        if labels is None or truth is None:
            return {}
        config = self.config
        bank, labels = draw(features.bank, labels, most=config.rows, seed=config.seed)
        groups = drawn_groups(features.bank_groups, most=config.rows, seed=config.seed)
        share = min(max(round(len(bank) * config.held_out), 1), len(bank) - 1) / len(bank)
        part, rest = held_out_part(groups, len(bank), share)
        of_rest = None if groups is None else groups[rest]
        splits = Features(bank[rest], bank[part], labels[rest], labels[part], bank_groups=of_rest)
        whole = Features(bank, features.queries, labels, truth, bank_groups=groups)
        fitted = self._risk(Features(bank, bank, labels, labels), (min(config.l2),))
        held_out = self._risk(splits, config.l2)
        total = self._risk(whole, config.l2)
        return {
            "risk_approximation": config.approximation,
            "risk_usability": fitted - config.approximation,
            "risk_probe": held_out - fitted,
            "risk_encoder": total - held_out,
            "risk_total": total,
        }

    def _risk(self, features: Features, l2: tuple[float, ...]) -> float:
        """Return the fraction of the queries that a probe on the bank gets wrong."""
        config = self.config
        probe = LinearConfig(
            rows=config.rows,
            l2=l2,
            validation=config.validation,
            iterations=config.iterations,
            chunk=config.chunk,
            seed=config.seed,
        )
        return 1 - Linear(probe).mean_scores(features)["linear_top1"]
