"""InfoNCE with a queue, the batch and neighbours, against the papers' formulas as loops."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from manta.errors import ConfigError
from manta.functional import nt_xent
from manta.functional.info_nce import (
    batch_nce,
    blend,
    hardest,
    info_nce,
    mixed_negatives,
    nearest_support,
    query_mixed_negatives,
    queue_nce,
    transformed_scores,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cosine(x: Tensor, y: Tensor) -> float:
    return float(x @ y / (x.norm() * y.norm()))


def nce_by_loops(positive: float, negatives: list[float], t: float) -> float:
    """Return He et al. 2020, eq. 1, of one query."""
    scores = [positive, *negatives]
    return -math.log(math.exp(positive / t) / sum(math.exp(score / t) for score in scores))


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
def test_queue_nce_is_mocos(temperature: float) -> None:
    q, k, queue = normal(5, 6), normal(5, 6, seed=1), normal(9, 6, seed=2)
    expected = sum(
        nce_by_loops(cosine(q[i], k[i]), [cosine(q[i], row) for row in queue], temperature)
        for i in range(5)
    )
    assert float(queue_nce(q, k, queue, temperature=temperature)) == pytest.approx(
        expected / 5, rel=1e-12
    )


def test_a_query_may_have_negatives_of_its_own() -> None:
    q, k, queue, own = (
        normal(5, 6),
        normal(5, 6, seed=1),
        normal(9, 6, seed=2),
        normal(5, 3, 6, seed=3),
    )
    expected = sum(
        nce_by_loops(cosine(q[i], k[i]), [cosine(q[i], row) for row in [*queue, *own[i]]], 0.2)
        for i in range(5)
    )
    assert float(queue_nce(q, k, queue, temperature=0.2, own=own)) == pytest.approx(
        expected / 5, rel=1e-12
    )
    none = queue_nce(q, k, queue, temperature=0.2, own=own[:, :0])
    assert torch.equal(none, queue_nce(q, k, queue, temperature=0.2))


def test_known_answers_of_a_queue() -> None:
    e = torch.eye(6, dtype=torch.float64)
    t = 0.5
    # Identical views, 4 orthogonal negatives.
    actual = float(queue_nce(e[:2], 3 * e[:2], e[2:], temperature=t))
    assert actual == pytest.approx(math.log(1 + 4 * math.exp(-1 / t)), rel=1e-12)
    # Orthogonal views.
    assert float(queue_nce(e[:2], e[2:4], e[4:], temperature=t)) == pytest.approx(math.log(3))
    same = torch.ones(3, 4, dtype=torch.float64)  # collapsed
    assert float(queue_nce(same, same, same[:2], temperature=t)) == pytest.approx(math.log(3))


def test_scores_of_minus_infinity_are_no_negatives() -> None:
    positive, negatives = normal(4), normal(4, 5, seed=1)
    masked = torch.cat(
        [negatives, torch.full((4, 3), -math.inf, dtype=torch.float64)], dim=1
    ).requires_grad_()
    loss = info_nce(positive, masked, temperature=0.1)
    assert loss.item() == pytest.approx(
        float(info_nce(positive, negatives, temperature=0.1)), rel=1e-12
    )
    (gradient,) = torch.autograd.grad(loss, masked)
    assert gradient.isfinite().all()
    assert not gradient[:, 5:].any()


@pytest.mark.parametrize("decoupled", [False, True])
def test_batch_nce_is_a_cross_entropy_over_the_batch(decoupled: bool) -> None:
    """Chen et al. 2021, algorithm 1: row i of the logits has label i.

    Decoupled: its own key is not in the sum.
    """
    q, k, t = normal(6, 5), normal(6, 5, seed=1), 0.2
    expected = 0.0
    for i in range(6):
        positive, others = cosine(q[i], k[i]) / t, [j for j in range(6) if j != i or not decoupled]
        expected += -positive + math.log(sum(math.exp(cosine(q[i], k[j]) / t) for j in others))
    actual = batch_nce(q, k, temperature=t, decoupled=decoupled)
    assert float(actual) == pytest.approx(expected / 6, rel=1e-12)
    for rows in (2, 3):
        parts = [
            batch_nce(q[i : i + rows], k, temperature=t, offset=i, decoupled=decoupled)
            for i in range(0, 6, rows)
        ]
        assert float(torch.stack(parts).mean()) == pytest.approx(float(actual), rel=1e-12)


def test_known_answers_of_a_batch() -> None:
    e, t = torch.eye(4, dtype=torch.float64), 0.5
    assert float(batch_nce(e, e, temperature=t)) == pytest.approx(
        math.log(1 + 3 * math.exp(-1 / t)), rel=1e-12
    )
    assert float(batch_nce(e, e, temperature=t, decoupled=True)) == pytest.approx(
        math.log(3) - 1 / t, rel=1e-12
    )
    assert float(batch_nce(e[:2], e[2:], temperature=t)) == pytest.approx(math.log(2))
    same = torch.ones(3, 4, dtype=torch.float64)
    assert float(batch_nce(same, same, temperature=t)) == pytest.approx(math.log(3))
    # NT-Xent has the batch's own view among the negatives too: of 3 others twice where this has
    # them once.
    assert float(nt_xent(e, e, temperature=t)) == pytest.approx(
        math.log(1 + 6 * math.exp(-1 / t)), rel=1e-12
    )


def test_nearest_is_by_cosine() -> None:
    support = torch.tensor([[10.0, 0.0], [1.0, 1.0], [0.0, -2.0]], dtype=torch.float64)
    z = torch.tensor([[0.1, 0.0], [3.0, 2.9], [-0.1, -9.0], [0.0, 5.0]], dtype=torch.float64)
    assert torch.equal(nearest_support(z, support), support[[0, 1, 2, 1]])
    z, support = normal(7, 5), normal(20, 5, seed=1)
    for actual, row in zip(nearest_support(z, support), z, strict=True):
        assert torch.equal(actual, support[max(range(20), key=lambda j: cosine(row, support[j]))])


def test_a_neighbour_is_sought_among_valid_rows_only() -> None:
    z, support = normal(7, 5), normal(20, 5, seed=1)
    valid = torch.arange(20) < 6
    assert torch.equal(nearest_support(z, support, valid=valid), nearest_support(z, support[:6]))
    assert torch.equal(nearest_support(z, support, valid=valid | True), nearest_support(z, support))
    assert torch.equal(nearest_support(z, support, valid=valid & False), z)


def test_hardest_are_the_most_alike_in_order() -> None:
    q, queue = normal(4, 5), normal(11, 5, seed=1)
    actual = hardest(q, queue, count=3)
    for i in range(4):
        ranked = sorted(queue, key=lambda row: -cosine(q[i], row))
        expected = torch.stack([row / row.norm() for row in ranked[:3]])
        assert torch.allclose(actual[i], expected, rtol=1e-12)
    with pytest.raises(ConfigError, match=r"12 hardest of 11 .* raise objective.queue"):
        hardest(q, queue, count=12)


def test_mixes_are_the_papers() -> None:
    """Kalantidis et al. 2020: h = (a n_i + (1 - a) n_j) / |.|, h' = (b q + (1 - b) n_j) / |.|."""
    q, hard = normal(4, 5), F.normalize(normal(4, 6, 5, seed=1), dim=2)
    first, second = (
        torch.randint(6, (4, 3), generator=torch.Generator().manual_seed(seed)) for seed in (2, 3)
    )
    weight = uniform(4, 3, seed=4)
    mixed, queried = (
        mixed_negatives(hard, first, second, weight),
        query_mixed_negatives(q, hard, first, weight / 2),
    )
    for i in range(4):
        for s in range(3):
            a = float(weight[i, s])
            h = a * hard[i, first[i, s]] + (1 - a) * hard[i, second[i, s]]
            assert torch.allclose(mixed[i, s], h / h.norm(), rtol=1e-12)
            h = a / 2 * q[i] / q[i].norm() + (1 - a / 2) * hard[i, first[i, s]]
            assert torch.allclose(queried[i, s], h / h.norm(), rtol=1e-12)


def test_a_mix_is_harder_than_what_it_is_made_of() -> None:
    """Two negatives of one cosine c on either side of the query.

    Between them the cosine is c over the mix's length. With the query itself it grows further.
    """
    c, s = 0.6, 0.8
    q = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    hard = torch.tensor([[[c, s, 0.0], [c, 0.0, s]]], dtype=torch.float64)
    half, zero, one = (
        torch.full((1, 1), 0.5),
        torch.zeros(1, 1, dtype=torch.int64),
        torch.ones(1, 1, dtype=torch.int64),
    )
    between = mixed_negatives(hard, zero, one, half)
    assert float(between[0, 0] @ q[0]) == pytest.approx(c / math.sqrt(0.5 + 0.5 * c * c), rel=1e-12)
    towards = query_mixed_negatives(q, hard, zero, half)
    assert float(towards[0, 0] @ q[0]) == pytest.approx((1 + c) / math.sqrt(2 + 2 * c), rel=1e-12)
    assert torch.equal(query_mixed_negatives(q, hard, zero, 0 * half)[0, 0], hard[0, 0])


def test_no_gradient_flows_through_what_is_mixed() -> None:
    q, queue = normal(4, 5).requires_grad_(), normal(8, 5, seed=1)
    hard = hardest(q, queue, count=3)
    chosen = torch.zeros(4, 2, dtype=torch.int64)
    for negatives in (
        hard,
        nearest_support(q, queue),
        mixed_negatives(hard, chosen, chosen + 1, uniform(4, 2)),
        query_mixed_negatives(q, hard, chosen, uniform(4, 2)),
    ):
        assert not negatives.requires_grad


def test_blending_goes_between_and_beyond() -> None:
    x, y = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 4.0])
    for weight, expected in (
        (1.0, [2.0, 0.0]),
        (0.0, [0.0, 4.0]),
        (0.25, [0.5, 3.0]),
        (1.5, [3.0, -2.0]),
    ):
        assert blend(x, y, torch.tensor(weight)).tolist() == expected
    # Draws are in float64.
    assert blend(x, y, torch.tensor(0.5, dtype=torch.float64)).dtype == torch.float32


def test_transformed_scores_are_the_papers() -> None:
    """Zhu et al. 2021, of unit vectors.

    q' = w q + (1 - w) k, k' = w k + (1 - w) q, n' = v n + (1 - v) n_order.
    """
    q, k, queue = normal(4, 5), normal(4, 5, seed=1), normal(7, 5, seed=2)
    w, v, order = 1 + uniform(4, seed=3), uniform(7, seed=4), torch.arange(7).roll(2)
    actual = transformed_scores(q, k, queue, extrapolation=w, interpolation=v, order=order)
    a, b, n = (x / x.norm(dim=1, keepdim=True) for x in (q, k, queue))
    for i in range(4):
        away = w[i] * a[i] + (1 - w[i]) * b[i]
        other = w[i] * b[i] + (1 - w[i]) * a[i]
        assert float(actual.positive[i]) == pytest.approx(float(away @ other), rel=1e-12)
        for j in range(7):
            mixed = v[j] * n[j] + (1 - v[j]) * n[order[j]]
            assert float(actual.negatives[i, j]) == pytest.approx(float(away @ mixed), rel=1e-9)


def test_known_answers_of_transformed_scores() -> None:
    q, k, queue = normal(4, 5), normal(4, 5, seed=1), normal(7, 5, seed=2)
    plain = transformed_scores(q, k, queue)
    expected = float(queue_nce(q, k, queue, temperature=0.2))
    assert float(info_nce(*plain, temperature=0.2)) == pytest.approx(expected, rel=1e-12)
    # An extrapolated pair's score falls to S + 2 w (1 - w) (1 - S); identical views stay what they
    # are.
    for w in (1.0, 1.5, 2.0):
        actual = transformed_scores(q, k, queue, extrapolation=torch.full((4,), w))
        lower = plain.positive + 2 * w * (1 - w) * (1 - plain.positive)
        assert torch.allclose(actual.positive, lower, rtol=1e-12)
        same = transformed_scores(q, q, queue, extrapolation=torch.full((4,), w))
        assert torch.allclose(same.positive, torch.ones(4, dtype=torch.float64), rtol=1e-12)
    half = transformed_scores(
        q, k, queue, interpolation=torch.full((7,), 0.5), order=torch.arange(7).roll(1)
    )
    assert torch.allclose(
        half.negatives, (plain.negatives + plain.negatives.roll(1, 1)) / 2, rtol=1e-9
    )


def test_gradients_are_those_of_finite_differences() -> None:
    q, k, queue, own = (
        z.requires_grad_()
        for z in (normal(4, 3), normal(4, 3, seed=1), normal(5, 3), normal(4, 2, 3))
    )
    assert torch.autograd.gradcheck(
        lambda *z: queue_nce(*z[:3], temperature=0.3, own=z[3]), (q, k, queue, own)
    )
    for decoupled in (False, True):
        assert torch.autograd.gradcheck(
            lambda a, b, d=decoupled: batch_nce(a[1:3], b, temperature=0.3, offset=1, decoupled=d),
            (q, k),
        )
    w, v = 1 + uniform(4), uniform(5)
    assert torch.autograd.gradcheck(
        lambda a, b, n: info_nce(
            *transformed_scores(
                a, b, n, extrapolation=w, interpolation=v, order=torch.arange(5).roll(1)
            ),
            temperature=0.3,
        ),
        (q, k, queue),
    )


def test_lower_precisions_are_raised() -> None:
    q, k, queue = (normal(4, 8, seed=seed).bfloat16() for seed in range(3))
    expected = float(queue_nce(q.float(), k.float(), queue.float(), temperature=0.1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = queue_nce(q, k, queue, temperature=0.1)
    assert actual.dtype == torch.float32
    assert float(actual) == pytest.approx(expected, rel=1e-6)


def test_what_cannot_be_compared_is_an_error() -> None:
    q = normal(4, 5)
    for call, message in (
        (lambda: batch_nce(q[:1], q[:1], temperature=1.0), "at least 2 samples"),
        (lambda: batch_nce(q, q, temperature=1.0, offset=1), "not among"),
        (lambda: queue_nce(q, q[:2], q, temperature=1.0), "one shape"),
        (lambda: transformed_scores(q, q[:2], q), "one shape"),
    ):
        with pytest.raises(ConfigError, match=message):
            call()
