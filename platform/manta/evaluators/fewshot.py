"""Few-shot episodes: a few labelled rows of the bank, and queries of the same classes.

Three classifiers learn from the labelled rows of an episode, the support:

- `proto`, the nearest prototype (mean of a class's support) by squared distance (Snell et al.
  2017);
- `tuned`, ProtoTune's head (Medina et al. 2020, "Self-Supervised Prototypical Transfer Learning for
  Few-Shot Classification"): the linear layer that is this classifier, `weight = 2 c`, `bias =
  -|c|^2`, then trained by Adam;
- `opta`, the nearest prototype after optimal transport of prototypes to the episode's queries
  (Poulakakis-Daktylidis & Jamali-Rad 2024, "BECLR"): each becomes the mean of the queries, weighted
  by a plan in which all prototypes have the same share of them. It sees all queries of an episode
  at once, and is told that classes are balanced.

Certain are the three methods, and from the authors' code Adam's rate and epochs, OpTA's epsilon,
its passes and its mixture. Ours: features are centred by the bank's mean and L2-normalised (Wang et
al. 2019, "SimpleShot"), so that transport is over cosines (a squared distance between unit vectors
is `2 - 2 cosine`); the encoder stays frozen, so that only the head is tuned, on the whole support
at a time; and OpTA ends in the nearest prototype, where the authors fit a logistic regression to
the prototypes.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from manta.evaluators._base import EVALUATORS, Evaluator, EvaluatorConfig, Features, Scores
from manta.evaluators._labels import LabelCounts
from manta.evaluators._metrics import Metric, MetricFigure
from manta.functional.transport import sinkhorn

_log = logging.getLogger(__name__)

TOGETHER = 64
"""Episodes that are solved at a time; bounds the memory."""


class FewShotConfig(EvaluatorConfig):
    """Settings of the episodes and of the classifiers."""

    name: Literal["fewshot"] = "fewshot"
    shots: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 5), min_length=1, description="labelled rows of a class"
    )
    way: int = Field(5, ge=2, description="classes in an episode; fewer where there are fewer")
    queries: int = Field(15, ge=1, description="of each class in an episode")
    episodes: int = Field(600, ge=2, description="over which accuracies are averaged")
    lr: float = Field(1e-3, gt=0, description="of Adam, for the tuned head")
    epochs: int = Field(15, ge=1, description="for the tuned head, with a step per shot in each")
    epsilon: float = Field(
        0.05, ge=0.01, description="entropy's weight in the transport, against cosines"
    )
    iterations: int = Field(20, ge=1, description="of Sinkhorn in each transport")
    passes: int = Field(
        5, ge=1, description="of transport with one shot; with more shots there is one"
    )
    transported: float = Field(
        0.7, gt=0, le=1, description="share of transported prototypes with more than one shot"
    )
    seed: int = Field(0, ge=0, description="of the draw of episodes")


HEADS = {"proto": "nearest prototype", "tuned": "tuned head", "opta": "optimal transport"}
"""Classifiers, and what people call them."""

METRICS = {
    f"fewshot{{k:d}}_{head}": Metric(
        f"{{k}}-shot accuracy, {title}",
        "Mean over episodes with {k} labelled of each class.",
        short=f"{{k}}-shot, {title}",
        better="higher",
        kind="fraction",
        figure="shots",
        at="{k}",
        line=title,
    )
    for head, title in HEADS.items()
}


FIGURES = {
    "shots": MetricFigure(
        "With a few labels, encoder frozen",
        "Accuracy in small tasks of a few classes, over how many images of each class have a "
        "label.",
        axis="labelled images of each class",
        fewest=1,
    ),
}


@EVALUATORS.register("fewshot")
class FewShot(Evaluator[FewShotConfig]):
    """Accuracies of few-shot episodes: `fewshot<k>_proto`, `_tuned` and `_opta` for k shots.

    The episodes are the same for all encoders. NaN where less than two classes have rows enough.
    """

    Config = FewShotConfig
    title = "Few-shot episodes"
    about = (
        "Small tasks of a few classes, each with one or a few labelled images. Chance is one in "
        "the number of classes, so these do not compare with the other accuracies."
    )
    metrics = METRICS
    figures = FIGURES
    needs_labels = True
    counts_queries = True

    def missing_labels(self, counts: LabelCounts) -> str | None:
        shots, queries = max(self.config.shots), self.config.queries
        enough = [
            label
            for label, rows in counts.bank.items()
            if rows >= shots and counts.queries.get(label, 0) >= queries
        ]
        if (missing := super().missing_labels(counts)) is not None or len(enough) >= 2:
            return missing
        return (
            f"two classes with {shots} rows to learn from and {queries} that are scored; "
            "lower its shots or its queries"
        )

    @torch.inference_mode(False)  # the head needs gradients, whatever mode its caller is in
    def evaluate(self, features: Features) -> Scores:
        labels, truth = features.bank_labels, features.query_labels
        if labels is None or truth is None:
            return {}
        centre = features.bank.float().mean(0)
        bank, queries = (
            F.normalize(rows.float() - centre, dim=1) for rows in (features.bank, features.queries)
        )
        drawn = self._draw(labels.cpu(), truth.cpu())
        scores: dict[str, list[Tensor]] = {
            f"fewshot{k}_{kind}": [] for k in self.config.shots for kind in HEADS
        }
        if drawn is not None and bool(bank.isfinite().all()) and bool(queries.isfinite().all()):
            parts = (torch.split(part.to(bank.device), TOGETHER) for part in drawn)
            for support, rows in zip(*parts, strict=True):
                for k in self.config.shots:
                    solved = self._solve(bank[support[:, :, :k]], queries[rows])
                    for kind, accuracy in solved.items():
                        scores[f"fewshot{k}_{kind}"].append(accuracy)
        return {name: torch.cat(parts) if parts else float("nan") for name, parts in scores.items()}

    def _draw(self, labels: Tensor, truth: Tensor) -> tuple[Tensor, Tensor] | None:
        """Draw rows of the bank `[E, way, shots]` and of the queries `[E, way, queries]`.

        None without two classes.
        """
        config = self.config
        most = max(config.shots)
        classes = [
            (of_bank, of_queries)
            for label in range(int(labels.max()) + 1)
            if len(of_bank := (labels == label).nonzero()[:, 0]) >= most
            and len(of_queries := (truth == label).nonzero()[:, 0]) >= config.queries
        ]
        if len(classes) < 2:
            _log.warning(
                "fewshot: less than 2 classes have %d rows in the bank and %d queries; "
                "lower shots or queries",
                most,
                config.queries,
            )
            return None
        generator = torch.Generator().manual_seed(config.seed)

        def few(rows: Tensor, count: int) -> Tensor:
            return rows[torch.randperm(len(rows), generator=generator)[:count]]

        supports, queries = [], []
        for _ in range(config.episodes):
            members = [classes[place] for place in few(torch.arange(len(classes)), config.way)]
            supports.append(torch.stack([few(rows, most) for rows, _ in members]))
            queries.append(torch.stack([few(rows, config.queries) for _, rows in members]))
        return torch.stack(supports), torch.stack(queries)

    def _solve(self, support: Tensor, queries: Tensor) -> dict[str, Tensor]:
        """Return the accuracies `[E]` of each classifier.

        Args:
            support: `[E, way, shots, D]` of unit rows.
            queries: `[E, way, queries, D]` of unit rows.
        """
        config = self.config
        way, shots = support.shape[1:3]
        answers = torch.arange(way, device=queries.device).repeat_interleave(queries.shape[2])
        rows, prototypes = queries.flatten(1, 2), support.mean(2)
        heads = {
            "proto": nearest_prototype(prototypes),
            "tuned": tune(support, lr=config.lr, steps=config.epochs * shots),
            "opta": nearest_prototype(self._transport(prototypes, rows, shots=shots)),
        }
        return {
            name: (logits(head, rows).argmax(2) == answers).float().mean(1)
            for name, head in heads.items()
        }

    def _transport(self, prototypes: Tensor, queries: Tensor, *, shots: int) -> Tensor:
        """Return the prototypes `[E, way, D]` as OpTA moves them towards queries `[E, Q, D]`."""
        config = self.config
        moved = prototypes
        for _ in range(config.passes if shots == 1 else 1):
            moved = transported(
                moved, queries, epsilon=config.epsilon, iterations=config.iterations
            )
        return moved if shots == 1 else torch.lerp(prototypes, moved, config.transported)


def nearest_prototype(prototypes: Tensor) -> Tensor:
    """Return the linear head `[E, K, D + 1]`, bias last, of prototypes `[E, K, D]`.

    Its logits are minus the squared distances, up to a constant.
    """
    return torch.cat([2 * prototypes, -prototypes.square().sum(2, keepdim=True)], dim=2)


def logits(head: Tensor, rows: Tensor) -> Tensor:
    """Return the logits `[E, N, K]` of heads `[E, K, D + 1]` on rows `[E, N, D]`."""
    return rows @ head[..., :-1].mT + head[:, None, :, -1]


def tune(support: Tensor, *, lr: float, steps: int) -> Tensor:
    """Train heads `[E, K, D + 1]` on supports `[E, K, shots, D]`.

    They start from the prototypes and are trained by Adam, on all of the support at a time.
    """
    episodes, classes, shots, _ = support.shape
    rows = support.flatten(1, 2)
    answers = torch.arange(classes, device=rows.device).repeat_interleave(shots).repeat(episodes)
    head = nearest_prototype(support.mean(2)).requires_grad_()
    optimizer = torch.optim.Adam([head], lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.enable_grad():
            loss = (
                F.cross_entropy(logits(head, rows).flatten(0, 1), answers, reduction="sum")
                / rows.shape[1]
            )
            torch.autograd.backward([loss])
        optimizer.step()
    return head.detach()


def transported(prototypes: Tensor, queries: Tensor, *, epsilon: float, iterations: int) -> Tensor:
    """Move prototypes `[E, K, D]` by an entropic transport plan to means of queries.

    Args:
        queries: `[E, N, D]` of unit rows.
    """
    cosines = queries @ F.normalize(prototypes, dim=2).mT
    plan = torch.vmap(partial(sinkhorn, epsilon=epsilon, iterations=iterations))(cosines)
    return (plan / plan.sum(1, keepdim=True)).mT @ queries
