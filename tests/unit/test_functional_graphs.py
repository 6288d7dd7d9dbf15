"""Losses on a similarity graph, against sums over its edges."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional import nt_xent, vicreg_terms
from manta.functional.graphs import graph_invariance, graph_nt_xent


def pair(n: int = 6, d: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    a = torch.randn(n, d, generator=stream, dtype=torch.float64)
    return a, a + torch.randn(n, d, generator=stream, dtype=torch.float64)


def classes(n: int = 6) -> Tensor:
    """Return classes of unequal size, so that nodes have unequal degrees."""
    values = torch.tensor([0, 1, 0, 2, 0, 1, 3, 1])[:n]
    return values[:, None] == values


def edges(related: Tensor) -> list[tuple[int, int]]:
    """Return (i, j) among the 2N views, the second views last."""
    n = len(related)
    return [(i, j) for i, j in product(range(2 * n), repeat=2) if i != j and related[i % n, j % n]]


def test_nt_xent_is_the_sum_over_edges() -> None:
    (a, b), t = pair(), 0.3
    z = [x / x.norm() for x in (*a, *b)]
    total = 0.0
    for i, j in edges(classes()):
        denominator = sum(math.exp(float(z[i] @ z[k]) / t) for k in range(len(z)) if k != i)
        total -= math.log(math.exp(float(z[i] @ z[j]) / t) / denominator)
    loss = graph_nt_xent(a, b, related=classes(), temperature=t)
    assert float(loss) == pytest.approx(total / len(edges(classes())), rel=1e-12)


def test_invariance_is_the_sum_over_edges() -> None:
    a, b = pair()
    z = [*a, *b]
    total = sum(float((z[i] - z[j]).square().sum()) for i, j in edges(classes()))
    loss = graph_invariance(a, b, related=classes())
    assert float(loss) == pytest.approx(total / len(edges(classes())) / 5, rel=1e-12)


def test_views_alone_give_the_plain_methods() -> None:
    a, b = pair()
    for related in (torch.eye(6, dtype=torch.bool), torch.zeros(6, 6, dtype=torch.bool)):
        contrast = graph_nt_xent(a, b, related=related, temperature=0.2)
        assert float(contrast) == pytest.approx(float(nt_xent(a, b, temperature=0.2)), rel=1e-12)
        distance = graph_invariance(a, b, related=related)
        assert float(distance) == pytest.approx(float(vicreg_terms(a, b).invariance), rel=1e-12)


def test_known_answers() -> None:
    same, everyone = torch.ones(3, 2, dtype=torch.float64), torch.ones(3, 3, dtype=torch.bool)
    assert float(graph_invariance(same, same, related=everyone)) == 0
    assert float(graph_nt_xent(same, same, related=everyone, temperature=0.1)) == pytest.approx(
        math.log(5)
    )
    # Two classes that are told apart perfectly, two samples each: of an anchor's seven cosines
    # three are 1, four 0.
    apart = torch.eye(2, dtype=torch.float64).repeat_interleave(2, 0)
    of_class = torch.block_diag(torch.ones(2, 2), torch.ones(2, 2)).bool()
    assert float(graph_invariance(apart, apart, related=of_class)) == pytest.approx(0, abs=1e-15)
    expected = math.log(3 * math.e + 4) - 1
    assert float(graph_nt_xent(apart, apart, related=of_class, temperature=1.0)) == pytest.approx(
        expected
    )
    # Unit vectors at right angles are at a squared distance of 2, over 2 dimensions; own views are
    # at none.
    far = torch.ones(4, 4, dtype=torch.bool)
    assert float(graph_invariance(apart, apart, related=far)) == pytest.approx(4 / 7)


def test_a_large_common_offset_does_not_drown_small_distances() -> None:
    a, b = (z.float() for z in pair())
    near = graph_invariance(a, b, related=classes())
    far = graph_invariance(a + 1000, b + 1000, related=classes())
    assert float(far) == pytest.approx(float(near), rel=1e-3)


def test_parts_against_all_keys_average_to_the_whole_and_so_do_gradients() -> None:
    a, b = (z.requires_grad_() for z in pair(8))

    def part(loss: str, i: int, rows: int) -> Tensor:
        some = slice(i, i + rows)
        shared = {
            "related": classes(8)[some],
            "keys_a": a,
            "keys_b": b,
            "offset": i,
            "average": lambda _: degree,
        }
        if loss == "contrast":
            return graph_nt_xent(a[some], b[some], temperature=0.2, **shared)
        return graph_invariance(a[some], b[some], **shared)

    # What averaging over ranks gives.
    degree = torch.tensor(len(edges(classes(8))) / 16, dtype=torch.float64)
    for loss in ("contrast", "distance"):
        whole = part(loss, 0, 8)
        for rows in (2, 4):
            mean = torch.stack([part(loss, i, rows) for i in range(0, 8, rows)]).mean()
            assert float(mean.detach()) == pytest.approx(float(whole.detach()), rel=1e-12)
            for actual, expected in zip(
                torch.autograd.grad(mean, (a, b), retain_graph=True),
                torch.autograd.grad(whole, (a, b), retain_graph=True),
                strict=True,
            ):
                torch.testing.assert_close(actual, expected)


def test_gradients_are_those_of_finite_differences() -> None:
    a, b = (z.requires_grad_() for z in pair(4, 3))
    assert torch.autograd.gradcheck(
        lambda *z: graph_nt_xent(*z, related=classes(4), temperature=0.3), (a, b)
    )
    weight = torch.linspace(0.5, 1.5, 4, dtype=torch.float64).view(4, 1)
    assert torch.autograd.gradcheck(
        lambda x, y: graph_invariance(weight * x, y, related=classes(4)), (a, b)
    )


def test_a_graph_of_another_shape_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"of shape \(6, 6\)"):
        graph_invariance(*pair(), related=classes(5))
