"""A linear classifier on frozen features: multinomial logistic regression by L-BFGS.

The strength of the L2 penalty is chosen on a part of the bank, never on the queries. The protocol
is that of Kornblith, Shlens & Le 2019, "Do Better ImageNet Models Transfer Better?", appendix A.4,
on standardised features.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from manta.evaluators._base import EVALUATORS, Evaluator, EvaluatorConfig, Features, Scores
from manta.evaluators._groups import drawn_groups, held_out_part
from manta.evaluators._metrics import Metric
from manta.evaluators._probe import draw, standardise


class LinearConfig(EvaluatorConfig):
    """Settings of the linear probe.

    The loss is `mean cross-entropy + l2 / 2 * |weight|^2`, which is scikit-learn's with
    `C = 1 / (l2 * rows)`; the bias is not penalised.
    """

    name: Literal["linear"] = "linear"
    rows: int = Field(
        10_000,
        ge=2,
        description="bank rows used, at most, drawn at random; more for a number to publish",
    )
    l2: tuple[float, ...] = Field(
        (1.0, 1e-1, 1e-2, 1e-3, 1e-4),
        min_length=1,
        description="strengths of the penalty to choose from",
    )
    validation: float = Field(
        0.2, gt=0, lt=1, description="fraction of the rows on which the strength is chosen"
    )
    iterations: int = Field(100, ge=1, description="of L-BFGS per strength, at most")
    chunk: int = Field(16_384, ge=1, description="rows at a time; bounds the memory")
    seed: int = Field(0, ge=0, description="of the draw of rows and of their split")


METRICS = {
    "linear_top1": Metric(
        "Linear probe accuracy",
        "Images that the classifier names correctly.",
        short="Linear probe",
        better="higher",
        kind="fraction",
        worst=0.0,
    ),
    "linear_l2": Metric(
        "Penalty of the linear probe", "Chosen on rows that are not scored.", kind="setting"
    ),
}


@EVALUATORS.register("linear")
class Linear(Evaluator[LinearConfig]):
    """Accuracy of a linear probe, `linear_top1`, and its chosen penalty, `linear_l2`."""

    Config = LinearConfig
    title = "Linear probe"
    about = "A linear classifier learns the classes from frozen features."
    metrics = METRICS
    needs_labels = True
    counts_queries = True

    @torch.inference_mode(False)  # the fit needs gradients, whatever mode its caller is in
    def evaluate(self, features: Features) -> Scores:
        labels, truth = features.bank_labels, features.query_labels
        if labels is None or truth is None:
            return {}
        config = self.config
        bank, labels = draw(features.bank, labels, most=config.rows, seed=config.seed)
        groups = drawn_groups(features.bank_groups, most=config.rows, seed=config.seed)
        if not bool(bank.isfinite().all()):  # the line search would raise
            return {"linear_top1": float("nan"), "linear_l2": float("nan")}
        bank, queries = standardise(bank, features.queries)
        classes = int(torch.cat([labels, truth]).max()) + 1
        strengths = self._choose(bank, labels, classes, groups)
        weight = self._path(bank, labels, classes, strengths)[-1]
        return {
            "linear_top1": answered(weight, queries, truth, chunk=config.chunk),
            "linear_l2": strengths[-1],
        }

    def _choose(
        self, bank: Tensor, labels: Tensor, classes: int, groups: Tensor | None
    ) -> list[float]:
        """Return the strengths down to the one that does best on held-out rows of the bank.

        Of equals, the stronger.
        """
        strengths = sorted(self.config.l2, reverse=True)
        held_out, rest = held_out_part(groups, len(bank), self.config.validation)
        rows, answers = bank[held_out], labels[held_out]
        if len(strengths) == 1 or len(rows) in (0, len(bank)):
            return strengths[:1]
        path = self._path(bank[rest], labels[rest], classes, strengths)
        scores = [accuracy(weight, rows, answers, chunk=self.config.chunk) for weight in path]
        return strengths[: scores.index(max(scores)) + 1]

    def _path(self, x: Tensor, y: Tensor, classes: int, strengths: list[float]) -> list[Tensor]:
        """Fit weights for each strength, from strong to weak.

        Each fit starts from the last: it is several times quicker, and the weakest, where L-BFGS
        stops before the optimum, are the same in the choice and in the end.
        """
        weights: list[Tensor] = []
        iterations, chunk = self.config.iterations, self.config.chunk
        for l2 in strengths:
            start = weights[-1] if weights else None
            weights.append(
                fit(x, y, classes=classes, l2=l2, iterations=iterations, chunk=chunk, start=start)
            )
        return weights


def fit(
    x: Tensor,
    y: Tensor,
    *,
    classes: int,
    l2: float,
    iterations: int,
    chunk: int,
    tolerance: float = 1e-4,
    start: Tensor | None = None,
) -> Tensor:
    """Fit multinomial logistic regression of `y: [N]` on `x: [N, D]`.

    Returns:
        `[classes, D + 1]`, the last column being the bias. `tolerance` bounds the gradient's
        largest entry.
    """
    weight = x.new_zeros(classes, x.shape[1] + 1) if start is None else start.clone()
    weight.requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weight],
        max_iter=iterations,
        tolerance_grad=tolerance,
        tolerance_change=1e-9,
        line_search_fn="strong_wolfe",
    )

    def loss_and_gradient() -> Tensor:
        optimizer.zero_grad()
        penalty = l2 / 2 * weight[:, :-1].square().sum()
        penalty.backward()  # type: ignore[no-untyped-call]
        total = penalty.detach()
        for rows, answers in zip(torch.split(x, chunk), torch.split(y, chunk), strict=True):
            part = F.cross_entropy(logits(weight, rows), answers, reduction="sum") / len(x)
            part.backward()  # type: ignore[no-untyped-call]
            total = total + part.detach()
        return total

    with torch.enable_grad():
        optimizer.step(loss_and_gradient)  # type: ignore[no-untyped-call]
    return weight.detach()


def accuracy(weight: Tensor, x: Tensor, y: Tensor, *, chunk: int) -> float:
    """Return the fraction of rows of `x` whose largest logit is `y`'s."""
    return int(answered(weight, x, y, chunk=chunk).sum()) / len(y)


def answered(weight: Tensor, x: Tensor, y: Tensor, *, chunk: int) -> Tensor:
    """Return the mask `[N]` of rows of `x` whose largest logit is `y`'s."""
    parts = zip(torch.split(x, chunk), torch.split(y, chunk), strict=True)
    return torch.cat([logits(weight, rows).argmax(1) == answers for rows, answers in parts])


def logits(weight: Tensor, x: Tensor) -> Tensor:
    """Return the logits `[N, classes]` of `x: [N, D]` by weights that `fit` returned."""
    return F.linear(x, weight[:, :-1], weight[:, -1])
