"""ProtoCLR's episodes against the paper's formula, written out by loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional.episodes import protoclr


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_loops(queries: Tensor, prototypes: Tensor) -> float:
    """Return Medina et al. 2020: minus the log-softmax of minus the squared distances.

    It is a mean over samples and queries.
    """
    total = 0.0
    for i, copies in enumerate(queries):
        for query in copies:
            distances = [float((query - prototype).square().sum()) for prototype in prototypes]
            total += distances[i] + math.log(sum(math.exp(-d) for d in distances))
    return total / (len(queries) * queries.shape[1])


@pytest.mark.parametrize("count", [1, 3])
def test_protoclr_is_the_papers(count: int) -> None:
    for seed in range(2):
        queries, prototypes = random(5, count, 4, seed=seed), random(5, 4, seed=seed + 9)
        assert float(protoclr(queries, prototypes)) == pytest.approx(
            by_loops(queries, prototypes), rel=1e-12
        )


def test_known_answers() -> None:
    same = torch.ones(4, 3, dtype=torch.float64)  # collapsed: every prototype is as near
    assert float(protoclr(same.unsqueeze(1), same)) == pytest.approx(math.log(4))
    apart = torch.eye(4, dtype=torch.float64)  # squared distances of 0 and 2
    assert float(protoclr(apart.unsqueeze(1), apart)) == pytest.approx(
        math.log(1 + 3 * math.exp(-2))
    )
    wrong = protoclr(apart.roll(1, 0).unsqueeze(1), apart)
    assert float(wrong) == pytest.approx(2 + math.log(1 + 3 * math.exp(-2)))


def test_only_distances_count() -> None:
    queries, prototypes, shift = random(5, 2, 4), random(5, 4, seed=1), 10 * random(4, seed=2)
    assert torch.allclose(
        protoclr(queries + shift, prototypes + shift), protoclr(queries, prototypes), rtol=1e-9
    )
    # Distances count, not angles.
    assert abs(float(protoclr(2 * queries, 2 * prototypes) - protoclr(queries, prototypes))) > 0.1


def test_parts_against_all_prototypes_average_to_the_whole() -> None:
    queries, prototypes = random(8, 3, 4), random(8, 4, seed=1)
    for rows in (2, 4):
        parts = [protoclr(queries[i : i + rows], prototypes, offset=i) for i in range(0, 8, rows)]
        assert torch.allclose(torch.stack(parts).mean(), protoclr(queries, prototypes), rtol=1e-12)


def test_gradients_are_those_of_finite_differences() -> None:
    assert torch.autograd.gradcheck(
        protoclr, (random(3, 2, 3).requires_grad_(), random(3, 3, seed=1).requires_grad_())
    )


def test_far_prototypes_stay_finite() -> None:
    queries = 1e3 * random(4, 2, 3).float().requires_grad_()
    loss = protoclr(queries, 1e3 * random(4, 3, seed=1).float())
    assert loss.isfinite()
    assert torch.autograd.grad(loss, queries)[0].isfinite().all()


@pytest.mark.parametrize(("rows", "offset", "message"), [(1, 0, "at least 2"), (4, 3, "not among")])
def test_what_cannot_be_an_episode_is_an_error(rows: int, offset: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        protoclr(random(rows, 1, 3), random(rows, 3), offset=offset)
