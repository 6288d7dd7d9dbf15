"""Gradients of the training step where rows, ranks and micro-batches are unequally long.

Two ranks have the gradient of the global batch, to the last digits of float64. With accumulation it
is the mean of the micro-batches' own: that of the whole batch where a method compares no samples
and normalises each by itself.
"""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from objective_kit import config_of
from torch import Tensor, nn

from conformance.two_ranks import joined_by
from manta import encoders, objectives
from manta.batch import Batch, DataFacts, Progress, View, ViewNeeds
from manta.config import from_mapping
from manta.encoders import Encoder, EncoderConfig
from manta.objectives import Objective, ObjectiveConfig
from manta.ragged import Data, Ragged
from manta.spec import Spec
from manta.training.step import TrainStep

LENGTHS = (40, 33, 9, 12, 7, 25, 18, 30)
"""Of the rows: 94 values on the first rank and 80 on the second; 73, 21, 32, 48 by micro-batch."""
ROWS, CHANNELS, PATCH, EVEN = len(LENGTHS), 2, 5, 20
ENCODERS = {
    "resnet1d": {"widths": [8, 16]},
    "tcn": {"hidden": 8, "depth": 2, "output": 16, "dropout": 0.0},
    "patchtst": {"dim": 16, "depth": 2, "heads": 2, "patch": PATCH, "dropout": 0.0},
}


class TokensConfig(ObjectiveConfig):
    """Settings of `Tokens`.

    Attributes:
        over: what the loss is the mean over: samples, of which each is the mean over its tokens, or
            all tokens of the batch.
    """

    name: Literal["tokens"] = "tokens"
    over: Literal["samples", "tokens"] = "samples"


class Tokens(Objective[TokensConfig]):
    """Each token tells the values of its own patch."""

    Config = TokensConfig

    def __init__(self, config: TokensConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        self.head = nn.Linear(encoder.embed_dim, PATCH * CHANNELS)

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(global_views=1)

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        (view,) = batch.views
        encoder: Any = self.encoder
        distance = self.head(encoder.tokens(view.data)) - encoder.patches(view.data)
        lengths = encoder.token_lengths(view.data)
        there = torch.arange(distance.shape[1]) < lengths.unsqueeze(1)
        each = distance.square().mean(2) * there
        if self.config.over == "tokens":
            return {"loss": each.sum() / there.sum()}
        return {"loss": (each.sum(1) / lengths).mean()}


@dataclass(frozen=True)
class Case:
    """A method on an encoder.

    Attributes:
        is_alone: each sample passes by itself, so that micro-batches have the batch's gradient.
    """

    objective: str
    encoder: str
    is_alone: bool = False
    over: Literal["samples", "tokens"] = "samples"

    def __str__(self) -> str:
        return f"{self.objective}-{self.encoder}"


COMPARING = [
    Case(method, encoder) for method in ("simclr", "byol", "vicreg") for encoder in ENCODERS
]
ALONE = [Case("mae", "patchtst", is_alone=True), Case("tokens", "patchtst", is_alone=True)]
WRONG = Case("tokens", "patchtst", is_alone=True, over="tokens")
CASES = [*COMPARING, *ALONE, WRONG]
ACCUMULATE = (1, 2)


def row_of(index: int, view: int) -> Tensor:
    """Return a view of a row, `[T, C]` float64; the second is shorter."""
    generator = torch.Generator().manual_seed(index)
    values = torch.randn(LENGTHS[index], CHANNELS, generator=generator, dtype=torch.float64)
    return values.cumsum(0)[2 * view :] + 0.1 * view


def view_of(case: Case, index: Tensor, number: int) -> View:
    """Return a view of rows, which depends on nothing but their indexes."""
    rows = [row_of(i, number) for i in index.tolist()]
    if case.objective != "mae":
        lengths = torch.tensor([len(row) for row in rows])
        return View(Ragged(torch.cat(rows), lengths))
    dense = [F.interpolate(row.T.unsqueeze(0), EVEN)[0] for row in rows]
    tokens = EVEN // PATCH
    masks = [torch.arange(tokens) != i % tokens for i in index.tolist()]
    return View(torch.stack(dense), mask=torch.stack(masks))


class Fixed:
    """Views by index, in place of a pipeline; it counts how often it is called."""

    rows_are_independent = False

    def __init__(self, case: Case, views: int) -> None:
        self.case, self.views, self.calls = case, views, 0

    def __call__(self, data: Data, index: Tensor, **_: Any) -> Batch:
        self.calls += 1
        return Batch([view_of(self.case, index, i) for i in range(self.views)], index)


def step_of(case: Case, accumulate: int) -> TrainStep:
    settings = TokensConfig() if case.objective == "tokens" else config_of(case.objective)
    config = from_mapping(
        {
            "data": {"source": "x", "modality": "series"},
            "encoder": {"name": case.encoder},
            "objective": {"name": "simclr"} if case.objective == "tokens" else dict(settings),
            "optimizer": {"name": "sgd", "lr": 0.01, "schedule": {"name": "constant"}},
            "train": {"batch_size": ROWS, "accumulate": accumulate, "precision": "float32"},
        }
    )
    torch.manual_seed(0)
    spec = Spec("sequence", channels=CHANNELS, size=(EVEN if case.objective == "mae" else None,))
    named = EncoderConfig(name=case.encoder, args=ENCODERS[case.encoder])
    encoder, facts = encoders.build(named, spec), DataFacts(ROWS, spec)
    if case.objective == "tokens":
        objective: Objective[Any] = Tokens(TokensConfig(over=case.over), encoder, facts)
    else:
        objective = objectives.build(settings, encoder, facts)
    least, most = (EVEN, EVEN) if case.objective == "mae" else (min(LENGTHS), max(LENGTHS))
    channels = {"least": CHANNELS, "most": CHANNELS}
    stats = {"length": {"least": least, "most": most}, "channels": channels}
    step = TrainStep(
        config, objective.double().train(), device=torch.device("cpu"), total_steps=8, stats=stats
    )
    step.views = Fixed(case, objective.needs.global_views)
    return step


def gradients(case: Case, accumulate: int, index: list[int]) -> Tensor:
    """Take two steps on rows; return the gradients of the second, end to end."""
    step, gradient = step_of(case, accumulate), torch.empty(0)

    def keep(optimizer: Any, *_: Any) -> None:
        nonlocal gradient
        groups = (group["params"] for group in optimizer.param_groups)
        every = [p.grad for group in groups for p in group if p.grad is not None]
        gradient = torch.cat([one.flatten() for one in every]).clone()

    step.optimizer.register_step_pre_hook(keep)
    data = {"series": torch.empty(len(index), 1)}
    for number in (2, 3):
        step(data, torch.tensor(index), number)
    assert step.views.calls == 2, "views are made once for all micro-batches of a step"
    return gradient


def worker(rank: int, world: int, folder: str) -> None:
    with joined_by(rank, world, folder):
        mine = list(range(ROWS))[rank * ROWS // world :][: ROWS // world]
        torch.save([[gradients(c, n, mine) for n in ACCUMULATE] for c in CASES], f"{folder}/{rank}")
        dist.barrier()


@pytest.fixture(scope="module")
def on_two_ranks(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[Case, int], Tensor]:
    """Return the gradients that two ranks have, by case and micro-batches."""
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.set_forkserver_preload(["torch", "timm", "manta.objectives"])
    mp.start_processes(worker, args=(2, str(folder)), nprocs=2, start_method="forkserver")
    first, second = (torch.load(folder / str(rank), weights_only=True) for rank in range(2))
    assert all(
        torch.equal(a, b)
        for of, to in zip(first, second, strict=True)
        for a, b in zip(of, to, strict=True)
    )
    return {(c, n): first[i][j] for i, c in enumerate(CASES) for j, n in enumerate(ACCUMULATE)}


@cache
def alone(case: Case, accumulate: int) -> Tensor:
    """Return the gradients of one process whose micro-batches have the rows of those of two ranks.

    The first micro-batch of two ranks has the first rows of each.
    """
    ordered = torch.arange(ROWS).view(2, accumulate, -1).transpose(0, 1).flatten()
    return gradients(case, accumulate, ordered.tolist())


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("case", [*COMPARING, *ALONE], ids=str)
def test_two_ranks_have_the_gradient_of_the_global_batch(case: Case, on_two_ranks: Any) -> None:
    for accumulate in ACCUMULATE:
        assert distance(on_two_ranks[case, accumulate], alone(case, accumulate)) < 1e-9


@pytest.mark.parametrize("case", ALONE, ids=str)
def test_micro_batches_of_samples_by_themselves_have_it_too(case: Case, on_two_ranks: Any) -> None:
    assert distance(on_two_ranks[case, 2], alone(case, 1)) < 1e-9


def test_micro_batches_are_normalised_and_compared_by_themselves(on_two_ranks: Any) -> None:
    """BatchNorm and negatives see a micro-batch of all ranks, as `train.accumulate` says."""
    for case in COMPARING:
        assert distance(on_two_ranks[case, 2], alone(case, 1)) > 1e-3


def test_a_mean_over_all_tokens_of_a_batch_would_be_another_on_two_ranks(on_two_ranks: Any) -> None:
    for accumulate in ACCUMULATE:
        assert distance(on_two_ranks[WRONG, accumulate], alone(WRONG, 1)) > 1e-3
