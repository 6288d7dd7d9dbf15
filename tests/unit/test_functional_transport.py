"""Sinkhorn's iterations against the papers' listings, written out by loops."""

from __future__ import annotations

import itertools
import math
import threading

import pytest
import torch
from torch import Tensor

from manta.functional.transport import log_matching, sinkhorn


def cosines(n: int = 6, k: int = 4, seed: int = 0) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    z, c = (torch.randn(rows, 3, generator=stream, dtype=torch.float64) for rows in (n, k))
    return torch.nn.functional.normalize(z, dim=1) @ torch.nn.functional.normalize(c, dim=1).T


def sinkhorn_by_loops(scores: Tensor, epsilon: float, iterations: int) -> list[list[float]]:
    """Return Caron et al. 2020, the listing of appendix A: K x B, rows to 1/K, columns to 1/B.

    Columns are scaled to 1 in the end.
    """
    b, k = scores.shape
    q = [[math.exp(float(scores[n, p]) / epsilon) for n in range(b)] for p in range(k)]
    whole = sum(map(sum, q))
    q = [[value / whole for value in row] for row in q]
    for _ in range(iterations):
        q = [[value / sum(row) / k for value in row] for row in q]
        columns = [sum(q[p][n] for p in range(k)) for n in range(b)]
        q = [[q[p][n] / columns[n] / b for n in range(b)] for p in range(k)]
    return [[q[p][n] * b for p in range(k)] for n in range(b)]


@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("epsilon", [0.05, 0.5])
def test_sinkhorn_is_the_papers(epsilon: float, iterations: int) -> None:
    scores = cosines()
    actual = sinkhorn(scores, epsilon=epsilon, iterations=iterations)
    assert torch.allclose(
        actual,
        torch.tensor(sinkhorn_by_loops(scores, epsilon, iterations), dtype=torch.float64),
        rtol=1e-9,
        atol=1e-300,
    )


def test_every_prototype_has_the_same_share_in_the_end() -> None:
    codes = sinkhorn(cosines(n=12, k=4), epsilon=0.3, iterations=200)
    assert torch.allclose(codes.sum(1), torch.ones(12, dtype=torch.float64), rtol=1e-12)
    assert torch.allclose(codes.sum(0), torch.full((4,), 3.0, dtype=torch.float64), rtol=1e-9)


def test_known_codes() -> None:
    orthogonal = torch.eye(4, dtype=torch.float64)  # each sample is a prototype
    assert torch.allclose(sinkhorn(orthogonal, epsilon=0.05, iterations=3), orthogonal, atol=1e-8)
    collapsed = torch.full((6, 4), 0.9)  # no sample prefers any
    assert torch.allclose(sinkhorn(collapsed, epsilon=0.05, iterations=1), torch.full((6, 4), 0.25))
    favourite = torch.zeros(6, 4)
    favourite[:, 0] = 1.0  # all prefer the same: balanced, it is as good as any other
    assert torch.allclose(sinkhorn(favourite, epsilon=0.05, iterations=1), torch.full((6, 4), 0.25))


@pytest.mark.parametrize("epsilon", [0.01, 0.05])
def test_opposite_samples_leave_no_sum_at_zero(epsilon: float) -> None:
    """In float32 `exp(-2 / 0.01)` is 0: a prototype far from all samples would divide by it."""
    scores = torch.tensor([[1.0, -1.0], [1.0, -1.0], [0.9, -1.0]])
    codes = sinkhorn(scores, epsilon=epsilon, iterations=3)
    assert codes.isfinite().all()
    assert torch.allclose(codes.sum(1), torch.ones(3))
    assert codes.dtype == torch.float32


def test_ranks_share_their_sums() -> None:
    """Two threads play two ranks: each has its rows, and `total` adds up both."""
    scores = cosines(n=8)
    expected = sinkhorn(scores, epsilon=0.1, iterations=3)
    barrier, board, actual = (
        threading.Barrier(2, timeout=30),
        [torch.zeros(0)] * 2,
        [torch.zeros(0)] * 2,
    )

    def rank(place: int) -> None:
        def total(statistic: Tensor) -> Tensor:
            board[place] = statistic
            barrier.wait()
            whole = board[0] + board[1]
            barrier.wait()
            return whole

        part = scores[4 * place : 4 * place + 4]
        actual[place] = sinkhorn(part, epsilon=0.1, iterations=3, total=total)

    threads = [threading.Thread(target=rank, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.allclose(torch.cat(actual), expected, rtol=1e-12)
    assert not torch.allclose(
        sinkhorn(scores[:4], epsilon=0.1, iterations=3), expected[:4], rtol=1e-3
    )


def test_a_soft_matching_is_doubly_stochastic() -> None:
    stream = torch.Generator().manual_seed(1)
    affinity = torch.randn(5, 5, generator=stream, dtype=torch.float64)
    log = [[float(affinity[i, j]) / 0.5 for j in range(5)] for i in range(5)]
    for _ in range(3):
        rows = [math.log(sum(map(math.exp, row))) for row in log]
        log = [[log[i][j] - rows[i] for j in range(5)] for i in range(5)]
        columns = [math.log(sum(math.exp(log[i][j]) for i in range(5))) for j in range(5)]
        log = [[log[i][j] - columns[j] for j in range(5)] for i in range(5)]
    expected = torch.tensor(log, dtype=torch.float64).exp()
    assert torch.allclose(
        log_matching(affinity, epsilon=0.5, iterations=3).exp(), expected, rtol=1e-10
    )
    matching = log_matching(affinity, epsilon=0.5, iterations=100).exp()
    assert torch.allclose(matching.sum(1), torch.ones(5, dtype=torch.float64), rtol=1e-9)
    assert torch.allclose(matching.sum(0), torch.ones(5, dtype=torch.float64), rtol=1e-9)


def test_a_sharp_matching_is_the_best_assignment() -> None:
    stream = torch.Generator().manual_seed(2)
    affinity = torch.rand(5, 5, generator=stream, dtype=torch.float64)
    best = max(
        itertools.permutations(range(5)),
        key=lambda order: float(sum(affinity[i, order[i]] for i in range(5))),
    )
    matching = log_matching(affinity, epsilon=0.005, iterations=2000).exp()
    assert matching.argmax(1).tolist() == list(best)
    assert float(matching.amax(1).min()) > 0.9


def test_a_soft_matching_carries_gradients() -> None:
    affinity = torch.eye(3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(
        log_matching(affinity, epsilon=1.0, iterations=50).diagonal().sum(), affinity
    )
    assert (gradient.diagonal() > 0).all()
    assert (gradient.fill_diagonal_(-1) < 0).all()
    assert torch.autograd.gradcheck(lambda x: log_matching(x, epsilon=0.7, iterations=3), affinity)
