"""Linear classifier on frozen features by the literature's protocol, SGD with momentum.

As in MoCo and DINO: momentum 0.9, no weight decay, 100 epochs, the learning rate from a sweep; here
it is chosen on a part of the bank, never on the queries. Features are standardised, as MAE's
BatchNorm does. Unlike there they are embedded once, so that no crop differs between epochs, and the
rate is not scaled by the batch.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from manta.evaluators._base import EVALUATORS, Evaluator, EvaluatorConfig, Features, Scores
from manta.evaluators._groups import drawn_groups, held_out_part
from manta.evaluators._metrics import Metric
from manta.evaluators._probe import draw, standardise
from manta.evaluators.linear import answered, logits


class LinearSGDConfig(EvaluatorConfig):
    """The probe's settings."""

    name: Literal["linear_sgd"] = "linear_sgd"
    rows: int = Field(
        10_000, ge=2, description="of the bank that are used, at most, drawn at random"
    )
    lr: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (1.0, 0.3, 0.1, 0.03, 0.01, 0.003),
        min_length=1,
        description="learning rates to choose from",
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="of SGD")
    epochs: int = Field(
        100, ge=1, description="passes over the rows, in which the rate falls to 0 along a cosine"
    )
    batch_size: int = Field(256, ge=1, description="rows in a step")
    validation: float = Field(
        0.2, gt=0, lt=1, description="fraction of the rows on which the rate is chosen"
    )
    chunk: int = Field(
        16_384, ge=1, description="rows that are scored at a time; bounds the memory"
    )
    seed: int = Field(0, ge=0, description="of the draw of rows, of their split and of the batches")


METRICS = {
    "linear_sgd_top1": Metric(
        "Linear probe (SGD) accuracy",
        "Images that the classifier names correctly.",
        short="Linear, SGD",
        better="higher",
        kind="fraction",
        worst=0.0,
    ),
    "linear_sgd_lr": Metric(
        "Learning rate of the probe", "Chosen on rows that are not scored.", kind="setting"
    ),
}


@EVALUATORS.register("linear_sgd")
class LinearSGD(Evaluator[LinearSGDConfig]):
    """`linear_sgd_top1`, and the learning rate that was chosen as `linear_sgd_lr`."""

    Config = LinearSGDConfig
    title = "Linear probe by SGD"
    about = (
        "The same by the protocol of the literature: SGD with momentum, and the best learning rate "
        "of a few."
    )
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
        if not bool(bank.isfinite().all()):
            return {"linear_sgd_top1": float("nan"), "linear_sgd_lr": float("nan")}
        classes = int(torch.cat([labels, truth]).max()) + 1
        bank, queries = standardise(bank, features.queries)
        lr = self._choose(bank, labels, classes, groups)
        (weight,) = self._fit(bank, labels, classes, (lr,))
        return {
            "linear_sgd_top1": answered(weight, queries, truth, chunk=config.chunk),
            "linear_sgd_lr": lr,
        }

    def _choose(self, bank: Tensor, labels: Tensor, classes: int, groups: Tensor | None) -> float:
        """Return the rate that does best on held-out rows of the bank; the first of equals."""
        config = self.config
        held_out, rest = held_out_part(groups, len(bank), config.validation)
        rows, answers = bank[held_out], labels[held_out]
        if len(config.lr) == 1 or len(rows) in (0, len(bank)):
            return config.lr[0]
        weights = self._fit(bank[rest], labels[rest], classes, config.lr)
        hits = [answered(one, rows, answers, chunk=config.chunk).sum() for one in weights]
        return config.lr[int(torch.stack(hits).argmax())]

    def _fit(self, x: Tensor, y: Tensor, classes: int, rates: tuple[float, ...]) -> list[Tensor]:
        """Fit `[classes, D + 1]` for each learning rate; all see the same batches."""
        config = self.config
        weights = [x.new_zeros(classes, x.shape[1] + 1).requires_grad_() for _ in rates]
        groups = [{"params": [weight], "lr": lr} for weight, lr in zip(weights, rates, strict=True)]
        optimizer = torch.optim.SGD(groups, momentum=config.momentum)
        batches = -(-len(x) // config.batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer, T_max=config.epochs * batches
        )
        generator = torch.Generator().manual_seed(config.seed)
        for _ in range(config.epochs):
            for rows in torch.split(
                torch.randperm(len(x), generator=generator).to(x.device), config.batch_size
            ):
                optimizer.zero_grad()
                with torch.enable_grad():
                    losses = [
                        F.cross_entropy(logits(weight, x[rows]), y[rows]) for weight in weights
                    ]
                    torch.autograd.backward(losses)
                optimizer.step()
                schedule.step()
        return [weight.detach() for weight in weights]
