"""Inputs of another kind than grids, sequences and tokens: molecules of atoms and bonds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from manta import objectives
from manta.batch import Batch, DataFacts, Progress, View
from manta.encoders import Encoder
from manta.encoders.fitting import problem
from manta.encoders.forms import check_takes
from manta.errors import ConfigError
from manta.objectives import OBJECTIVES
from manta.ragged import Data, Ragged
from manta.spec import Spec
from manta.training.health import embed_plain

ROWS = 8


@dataclass(frozen=True, slots=True)
class Bonds(Spec):
    """Pairs of atoms, by their places in the molecule."""

    form: str = "bonds"
    size: tuple[int | None, ...] = (None,)

    def example(self, rows: int = 2, *, generator: torch.Generator | None = None) -> Data:
        lengths = torch.tensor([2 + row % 3 for row in range(rows)])
        pairs = torch.arange(2 * int(lengths.sum())).view(-1, 2) % 7
        return Ragged(pairs, lengths)


ATOMS = Spec("sequence", 3, (None,))
MOLECULES = Spec("parts", parts=(("atoms", ATOMS), ("bonds", Bonds())))


class Network(Encoder):
    """One layer of sums over bonded atoms, and the mean over atoms."""

    takes = ("parts",)
    embed_dim = 16

    def __init__(self) -> None:
        super().__init__()
        self.own, self.bonded = nn.Linear(3, 16), nn.Linear(3, 16)

    def embed(self, x: Any) -> Tensor:
        atoms, there = x["atoms"].padded()
        bonds, known = x["bonds"].padded()
        adjacent = atoms.new_zeros(len(atoms), atoms.shape[1], atoms.shape[1])
        row = torch.arange(len(atoms)).unsqueeze(1).expand(known.shape)
        pair = (row[known], bonds[..., 0][known].long(), bonds[..., 1][known].long())
        adjacent.index_put_(pair, atoms.new_ones(()), accumulate=True)
        hidden = (self.own(atoms) + self.bonded(adjacent @ atoms)).tanh() * there.unsqueeze(2)
        return hidden.sum(1) / there.sum(1, keepdim=True)


def views_of(count: int) -> list[View]:
    generators = [torch.Generator().manual_seed(seed) for seed in range(count)]
    return [View(MOLECULES.example(ROWS, generator=generator)) for generator in generators]


@pytest.mark.parametrize("name", ["simclr", "byol", "vicreg", "moco"])
def test_methods_train_on_molecules(name: str) -> None:
    torch.manual_seed(0)
    config = OBJECTIVES[name].Config.model_validate({"name": name})
    objective = objectives.build(config, Network(), DataFacts(ROWS, MOLECULES)).double().train()
    batch = Batch(views_of(objective.needs.global_views), torch.arange(ROWS))
    for view in batch:
        view.data["atoms"] = Ragged(view.data["atoms"].values.double(), view.data["atoms"].lengths)
    loss = objective(batch, Progress(5, 10))["loss"]
    loss.backward()
    assert all(one.grad is not None and one.grad.any() for one in objective.encoder.parameters())
    shuffled = batch.rows(torch.randperm(ROWS))
    again = objective(shuffled, Progress(5, 10))["loss"]
    assert again.item() == pytest.approx(loss.item(), rel=1e-9)


def test_an_encoder_of_parts_is_checked_before_a_run_and_watched_in_it() -> None:
    assert problem(Network(), MOLECULES) is None
    assert embed_plain(Network(), MOLECULES.example(5)).shape == (5, 16)
    assert "bonds" in str(problem(Network(), Spec("parts", parts=(("atoms", ATOMS),))))


def test_what_is_taken_and_given_is_said_by_name() -> None:
    check_takes("network", Network.takes, MOLECULES)
    check_takes("concatenation", ("any",), Bonds())
    with pytest.raises(ConfigError, match=r"network takes several inputs, and .* gives bonds of"):
        check_takes("network", Network.takes, Bonds())
    assert str(MOLECULES) == "atoms: sequences of 3 x any; bonds: bonds of 3 x any"


def test_parts_are_described_and_built_again() -> None:
    spec = Spec("parts", parts=(("atoms", ATOMS), ("picture", Spec.image(8))))
    assert Spec.from_description(spec.describe()) == spec
    assert "parts" not in ATOMS.describe()  # as earlier versions wrote it
    assert Spec.from_description(ATOMS.describe()) == ATOMS
    example: Any = spec.example(3)
    assert (len(example["atoms"]), example["picture"].shape) == (3, (3, 3, 8, 8))
