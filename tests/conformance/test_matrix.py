"""The 33 methods that know nothing of pixels, on series, clips and sentences.

On each, with rows of unequal lengths and the modality's own views: losses are finite, gradients
reach every parameter, neither the order of the rows nor that of two alike views matters, and two
ranks that make the views of their own rows are the global batch. On images all methods are held to
this, and to more, by `test_objectives` and `test_ranks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from modality_kit import ROWS, SAMPLES, batch_of, objective_of
from objective_kit import progress_at

from conformance.two_ranks import RankCase, Record, assert_are_one, on_two_ranks, two_steps
from manta.batch import Batch
from manta.objectives import Objective

FREE = (
    *("amcl", "barlow_twins", "beclr", "byol", "cacr", "clusterfit", "dcl", "dino", "directpred"),
    *("feature_transform", "groco", "gsimclr", "hallucinator", "isogclr", "mls", "mochi", "moco"),
    *("mugs", "multistage", "myow", "nnclr", "pal", "protoclr", "random_teacher", "relational"),
    *("simclr", "simsiam", "skd", "ssl_ey", "swav", "unisiam", "vicreg", "w_mse"),
)
BY_VIEW = {
    "feature_transform": "mixes features of the two by numbers of the first",
    "hallucinator": "draws a number for each",
    "mls": "mines for samples of the first",
    "mochi": "the first is the query, the second the key",
    "myow": "mines for the first among others",
    "protoclr": "the first has the prototypes, the second the queries",
    "relational": "pairs the first with a neighbour of the second",
}
"""Methods that treat two views alike in distribution only, with the reason."""
UNSEEN = {"text": {"encoder.norm.bias"}}
"""Parameters that add a constant to every feature, which the BatchNorm of a head takes out."""
STEP = 20
"""Of the middle of a run, where no warm-up keeps a part of a method out."""


@dataclass(frozen=True)
class Cell:
    """A method on the samples of a modality."""

    method: str
    modality: str

    def __str__(self) -> str:
        return f"{self.method}-{self.modality}"

    def objective(self) -> Objective[Any]:
        return objective_of(self.method, SAMPLES[self.modality])

    def batch(self, objective: Objective[Any], which: slice, step: int) -> Batch:
        return batch_of(SAMPLES[self.modality], objective, which, step)

    @property
    def case(self) -> RankCase:
        return RankCase(str(self), self.objective, self.batch, ROWS)


CELLS = [Cell(method, modality) for modality in SAMPLES for method in FREE]
every_cell = pytest.mark.parametrize("cell", CELLS, ids=str)


@cache
def alone(cell: Cell) -> Record:
    return two_steps(cell.case, 0, 1)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> dict[Cell, list[Record]]:
    """Return the records of two ranks, from one pair of processes."""
    records = on_two_ranks([cell.case for cell in CELLS], tmp_path_factory.mktemp("ranks"))
    return dict(zip(CELLS, records, strict=True))


def test_they_are_33() -> None:
    assert len(set(FREE)) == 33


@every_cell
def test_losses_are_finite_and_gradients_reach_every_parameter(cell: Cell) -> None:
    record = alone(cell)
    assert record["losses"].isfinite().all()
    norms = {key: float(gradient.norm()) for key, gradient in record.items() if key != "losses"}
    assert norms.keys() == {
        key for key, value in cell.objective().named_parameters() if value.requires_grad
    }
    least = 1e-9 * max(norms.values())
    unreached = {key for key, norm in norms.items() if not norm >= least}
    assert unreached <= UNSEEN.get(cell.modality, set())


@every_cell
def test_the_order_of_rows_and_of_alike_views_does_not_matter(cell: Cell) -> None:
    objective = cell.objective()
    batch = cell.batch(objective, slice(0, ROWS), STEP)
    loss = loss_of(objective, batch)
    shuffled = batch.rows(torch.randperm(ROWS, generator=torch.Generator().manual_seed(1)))
    assert loss_of(objective, shuffled) == pytest.approx(loss, rel=1e-9)
    if cell.method not in BY_VIEW:
        swapped = Batch([*reversed(batch.global_views), *batch.local_views], batch.index)
        assert loss_of(objective, swapped) == pytest.approx(loss, rel=1e-9)


@torch.no_grad()
def loss_of(objective: Objective[Any], batch: Batch) -> float:
    return objective(batch, progress_at(STEP))["loss"].item()


@every_cell
def test_two_ranks_are_the_global_batch(cell: Cell, together: dict[Cell, list[Record]]) -> None:
    assert_are_one(together[cell], alone(cell), str(cell))
