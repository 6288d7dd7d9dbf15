"""A linear probe with each group of rows left out in turn: one speaker, recording or patient.

It says how well features serve groups that the probe has never seen, and how much that differs
from group to group. Cross-validation over subjects, as it is usual with speech, sensors and
medical data.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from manta.evaluators._base import EVALUATORS, Evaluator, EvaluatorConfig, Features, Scores
from manta.evaluators._groups import NEEDS, drawn_groups, fold_of_group
from manta.evaluators._labels import LabelCounts
from manta.evaluators._metrics import Metric
from manta.evaluators._probe import draw
from manta.evaluators.linear import Linear, LinearConfig


class LeaveGroupOutConfig(EvaluatorConfig):
    """How many groups are left out one by one, and the settings of the linear probe."""

    name: Literal["leave_group_out"] = "leave_group_out"
    most_groups: int = Field(20, ge=2, description="groups that are left out one by one, at most")
    folds: int = Field(10, ge=2, description="into which more groups are put, each one whole")
    rows: int = Field(10_000, ge=4, description="of all rows that are used, at most, at random")
    l2: tuple[float, ...] = Field(
        (1.0, 1e-1, 1e-2, 1e-3, 1e-4),
        min_length=1,
        description="strengths of the penalty to choose from, on whole groups",
    )
    validation: float = Field(
        0.2, gt=0, lt=1, description="fraction of a probe's rows on which its strength is chosen"
    )
    iterations: int = Field(100, ge=1, description="of L-BFGS per strength, at most")
    seed: int = Field(0, ge=0, description="of the draw of rows")


METRICS = {
    "leave_group_out_top1": Metric(
        "Accuracy on groups left out",
        "The mean over groups (or folds of groups) that the linear probe did not learn from.",
        short="Groups left out",
        better="higher",
        kind="fraction",
        worst=0.0,
    ),
    "leave_group_out_std": Metric(
        "Spread over groups left out",
        "Standard deviation of these accuracies from group to group.",
        better="lower",
    ),
    "leave_group_out_{group}_top1": Metric(
        "Accuracy on {group}, left out",
        "The linear probe learnt from all other groups.",
        short="{group}",
        better="higher",
        kind="fraction",
        one_of_many=True,
    ),
}


@EVALUATORS.register("leave_group_out")
class LeaveGroupOut(Evaluator[LeaveGroupOutConfig]):
    """Accuracy of linear probes, each on a group it did not learn from: mean, spread and each.

    Bank and queries are taken together; rows of no group are always learnt from.
    """

    Config = LeaveGroupOutConfig
    title = "Leave one group out"
    about = "A linear probe learns from all groups (speakers, patients) but one, on which it is"
    about += " scored; each in turn."
    metrics = METRICS
    needs_labels = True

    def missing_labels(self, counts: LabelCounts) -> str | None:
        """Return what is lacking: groups, or labels of what is learnt from."""
        if counts.groups < 2:
            return NEEDS.format(count=counts.groups or "none")
        return counts.missing_in_bank()

    def label_note(self, counts: LabelCounts) -> str | None:
        """Return that groups are left out in folds, where there are many."""
        most, folds = self.config.most_groups, self.config.folds
        if counts.groups <= most:
            return None
        return f"{counts.groups:,} groups are left out in {folds} folds, each group whole"

    def evaluate(self, features: Features) -> Scores:
        both = (features.bank_groups, features.query_groups)
        labels = (features.bank_labels, features.query_labels)
        if any(one is None for one in (*both, *labels)):
            return {}
        config = self.config
        rows, truth = draw(
            torch.cat([features.bank.float(), features.queries.float()]),
            torch.cat([one for one in labels if one is not None]),
            most=config.rows,
            seed=config.seed,
        )
        every = torch.cat([one for one in both if one is not None])
        groups = drawn_groups(every, most=config.rows, seed=config.seed)
        if groups is None:
            return {}
        present = torch.unique(groups[groups >= 0])
        many = len(present) > config.most_groups
        fold = torch.full_like(groups, -1)
        fold[groups >= 0] = fold_of_group(
            groups[groups >= 0], config.folds if many else len(present)
        )
        names = [features.group_names[number] for number in present.tolist()]
        told = [f"fold_{n + 1}" for n in range(config.folds)] if many else _as_metrics(names)
        accuracies = {
            name: accuracy
            for number, name in enumerate(told)
            if (accuracy := self._scored(rows, truth, groups, fold == number)) is not None
        }
        if len(accuracies) < 2:
            return {}
        values = torch.tensor(list(accuracies.values()), dtype=torch.float64)
        return {
            "leave_group_out_top1": float(values.mean()),
            "leave_group_out_std": float(values.std(correction=0)),
            **{f"leave_group_out_{name}_top1": one for name, one in accuracies.items()},
        }

    def _scored(self, rows: Tensor, labels: Tensor, groups: Tensor, out: Tensor) -> float | None:
        """Return the accuracy on the rows that are left out by a probe on the others.

        None where none are left out, or the others are of a single class.
        """
        config = self.config
        if not bool(out.any()) or len(torch.unique(labels[~out])) < 2:
            return None
        probe = Linear(
            LinearConfig(
                rows=config.rows,
                l2=config.l2,
                validation=config.validation,
                iterations=config.iterations,
                seed=config.seed,
            )
        )
        split = Features(rows[~out], rows[out], labels[~out], labels[out], bank_groups=groups[~out])
        return probe.mean_scores(split)["linear_top1"]


def _as_metrics(names: Sequence[str]) -> list[str]:
    """Return names of groups as parts of a metric's name, of which no two are the same."""
    told: list[str] = []
    for name in names:
        short = re.sub(r"[^A-Za-z0-9.-]+", "_", name).strip("_")[:60] or "group"
        number, unique = 1, short
        while unique in told:
            number += 1
            unique = f"{short}_{number}"
        told.append(unique)
    return told
