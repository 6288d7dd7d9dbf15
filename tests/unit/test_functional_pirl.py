"""PIRL's estimation against memories by loops, and where its patches lie."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional.pirl import jigsaw_patches, memory_nce


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cosine(x: Tensor, y: Tensor) -> float:
    return float(x @ y / (x.norm() * y.norm()))


def memory_nce_by_loops(
    z: Tensor, memory: Tensor, bank: Tensor, t: float, excluded: Tensor
) -> float:
    """Return Misra & van der Maaten 2020, eq. 3 and 4."""
    total = 0.0
    for i in range(len(z)):
        others = [j for j in range(len(bank)) if not excluded[i, j]]
        own = math.exp(cosine(z[i], memory[i]) / t)
        noise = [math.exp(cosine(z[i], bank[j]) / t) for j in others]
        whole = own + sum(noise)
        total += -math.log(own / whole) - sum(math.log(1 - other / whole) for other in noise)
    return total / len(z)


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_memory_nce_is_the_papers(temperature: float) -> None:
    z, memory, bank = normal(5, 6), normal(5, 6, seed=1), normal(9, 6, seed=2)
    nothing = torch.zeros(5, 9, dtype=torch.bool)
    expected = memory_nce_by_loops(z, memory, bank, temperature, nothing)
    assert float(memory_nce(z, memory, bank, temperature=temperature)) == pytest.approx(
        expected, rel=1e-12
    )
    own = torch.arange(5)[:, None] == torch.arange(9)[None] - 2
    expected = memory_nce_by_loops(z, memory, bank, temperature, own)
    actual = float(memory_nce(z, memory, bank, temperature=temperature, excluded=own))
    assert actual == pytest.approx(expected, rel=1e-12)


def test_known_answers() -> None:
    e, t = torch.eye(6, dtype=torch.float64), 0.5
    whole = math.exp(1 / t) + 4  # the sample is its memory, and 4 others are orthogonal
    expected = math.log(whole) - 1 / t - 4 * math.log(1 - 1 / whole)
    assert float(memory_nce(e[:2], e[:2], e[2:], temperature=t)) == pytest.approx(
        expected, rel=1e-12
    )
    same = torch.ones(3, 4, dtype=torch.float64)  # collapsed: three equal shares
    assert float(memory_nce(same, same, same[:2], temperature=t)) == pytest.approx(
        -math.log(1 / 3) - 2 * math.log(2 / 3)
    )


def test_one_overwhelming_negative_stays_finite() -> None:
    z = torch.eye(3, requires_grad=True)
    loss = memory_nce(z, -z.detach(), z.detach(), temperature=0.01)
    (gradient,) = torch.autograd.grad(loss, z)
    assert loss.isfinite()
    assert gradient.isfinite().all()


def test_gradients_are_those_of_finite_differences() -> None:
    z, memory, bank = (
        x.requires_grad_() for x in (normal(4, 3), normal(4, 3, seed=1), normal(6, 3, seed=2))
    )
    own = torch.zeros(4, 6, dtype=torch.bool).fill_diagonal_(True)
    assert torch.autograd.gradcheck(
        lambda *x: memory_nce(*x, temperature=0.3, excluded=own), (z, memory, bank)
    )


def test_shapes_must_agree() -> None:
    with pytest.raises(ConfigError, match="one shape"):
        memory_nce(normal(4, 3), normal(3, 3), normal(6, 3), temperature=1.0)


def test_patches_of_whole_cells_put_together_are_the_image() -> None:
    images = normal(2, 3, 12, 12)
    patches = jigsaw_patches(
        images, torch.zeros(2, 9, 2, dtype=torch.float64), grid=3, share=1.0, size=4
    )
    assert patches.shape == (2, 9, 3, 4, 4)
    rows = [
        torch.cat([patches[:, 3 * row + column] for column in range(3)], dim=3) for row in range(3)
    ]
    assert torch.allclose(torch.cat(rows, dim=2), images, atol=1e-12)


@pytest.mark.parametrize("share", [0.5, 0.75])
def test_a_patch_lies_at_its_offset_in_its_cell(share: float) -> None:
    """On an image whose channels are its own coordinates a patch shows where it was taken."""
    side, grid, size = 96, 2, 8
    axis = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    image = torch.stack([axis.expand(side, side), axis.unsqueeze(1).expand(side, side)]).unsqueeze(
        0
    )
    offsets = torch.rand(1, 4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    patches = jigsaw_patches(image, offsets, grid=grid, share=share, size=size)
    for cell in range(4):
        for axis_, position in ((0, cell % grid), (1, cell // grid)):
            start = position / grid + float(offsets[0, cell, axis_]) * (1 - share) / grid
            seen = patches[0, cell, axis_]
            assert float(seen.mean()) == pytest.approx(start + share / grid / 2, abs=1e-9)
            assert float(seen.max() - seen.min()) == pytest.approx(
                share / grid * (size - 1) / size, abs=1e-9
            )
