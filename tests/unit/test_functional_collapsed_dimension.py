"""Losses of cosines and distances with one collapsed dimension, and with orthogonal views."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from manta.functional.attraction import cacr_terms
from manta.functional.episodes import protoclr
from manta.functional.graphs import graph_invariance, graph_nt_xent
from manta.functional.info_nce import batch_nce, info_nce, queue_nce, transformed_scores
from manta.functional.multilabel import dictionary_logits, multilabel_bce, nearest_labels
from manta.functional.sorting import groco
from manta.functional.temperature import AMCLTerms, RobustTerms, amcl_terms, isogclr

Widen = Callable[[Tensor], Tensor]
T = 1 / 3
"""A temperature at which the cosines 1, 1/3 and -1/3 are logits of 3, 1 and -1."""


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def extended(z: Tensor, value: float = 0.0) -> Tensor:
    """Return rows with one more dimension, the same for all."""
    return torch.cat([z, torch.full((*z.shape[:-1], 1), value, dtype=z.dtype)], dim=-1)


def mls(z: Tensor, dictionary: Tensor) -> Tensor:
    return multilabel_bce(
        dictionary_logits(z, dictionary, temperature=T), nearest_labels(z, dictionary, k=1)
    )


def amcl(a: Tensor, b: Tensor) -> AMCLTerms:
    """Return AMCL's terms where all temperatures are 1/2."""
    none = torch.zeros(len(a), 3, dtype=a.dtype)
    return amcl_terms(a, b, none, none, low=0.25, high=0.75, hardest=4)


def robust(a: Tensor, b: Tensor) -> RobustTerms:
    """Return iSogCLR's terms where no sample was seen before, so that u is g."""
    n = len(a)
    t, unseen = torch.full((n,), T, dtype=a.dtype), torch.zeros(n, dtype=torch.bool)
    return isogclr(
        a, b, temperature=t, log_average=torch.zeros_like(t), seen=unseen, gamma=0.9, rho=0.3
    )


def transformed(a: Tensor, b: Tensor, queue: Tensor) -> Tensor:
    """Return the loss of pairs extrapolated by 3/2 and negatives halfway to the next one."""
    weights = (
        torch.full((len(a),), 1.5, dtype=a.dtype),
        torch.full((len(queue),), 0.5, dtype=a.dtype),
    )
    order = torch.arange(len(queue)).roll(1)
    scores = transformed_scores(
        a, b, queue, extrapolation=weights[0], interpolation=weights[1], order=order
    )
    return info_nce(*scores, temperature=T)


A, B = random(6, 4), random(6, 4, seed=1)
CLASSES = torch.tensor([0, 1, 0, 2, 0, 1])
RELATED = CLASSES[:, None] == CLASSES

LOSSES: dict[str, Callable[[Widen], Tensor]] = {
    "cacr": lambda w: torch.stack(cacr_terms(w(random(5, 3, 4)), attraction=1.0, repulsion=2.0)),
    "protoclr": lambda w: protoclr(w(random(6, 2, 4)), w(B)),
    "graph_nt_xent": lambda w: graph_nt_xent(w(A), w(B), related=RELATED, temperature=T),
    # The loss is a mean over dimensions.
    "graph_invariance": lambda w: graph_invariance(w(A), w(B), related=RELATED) * w(A).shape[1],
    "mls": lambda w: mls(w(A), w(B)),
    "queue_nce": lambda w: queue_nce(
        w(A), w(B), w(random(7, 4)), temperature=T, own=w(random(6, 2, 4))
    ),
    "batch_nce": lambda w: batch_nce(w(A), w(B), temperature=T),
    "batch_nce, decoupled": lambda w: batch_nce(w(A), w(B), temperature=T, decoupled=True),
    "transformed": lambda w: transformed(w(A), w(B), w(random(7, 4))),
    "groco": lambda w: groco(w(A), w(random(6, 2, 4)), hardest=3, steepness=2.0),
    "amcl": lambda w: amcl(w(A), w(B)).likelihood,
    "isogclr": lambda w: torch.cat([robust(w(A), w(B)).loss[None], robust(w(A), w(B)).gradient]),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_dimension_of_zeros_changes_nothing(name: str) -> None:
    loss = LOSSES[name]
    torch.testing.assert_close(loss(extended), loss(lambda z: z), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["protoclr", "graph_invariance"])
def test_distances_do_not_see_where_a_dimension_is_collapsed_to(name: str) -> None:
    loss = LOSSES[name]
    torch.testing.assert_close(
        loss(lambda z: extended(z, 3.0)), loss(lambda z: z), rtol=1e-12, atol=1e-14
    )


def test_amcls_regulariser_counts_a_collapsed_dimension() -> None:
    more = amcl(extended(A), extended(B)).regulariser - amcl(A, B).regulariser
    assert float(more) == pytest.approx(math.log(0.5) / 2, rel=1e-12)  # D/2 log t, t of 1/2


HADAMARD = torch.tensor(
    [[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]],
    dtype=torch.float64,
)
FLAT = HADAMARD * torch.tensor([1, 1, 1, 0])
"""Orthogonal samples without their last dimension. Products were 0 in four dimensions, and squares
are 3 in three: rows of unlike last signs now have a cosine of 1/3 (and, of 8, a squared distance of
4 left), rows of like ones, 0 and 3 or 1 and 2, one of -1/3 (and of 8 still). So each row has two
rows at 1/3 and one at -1/3."""
PAIRS = torch.eye(4, dtype=torch.bool) | torch.eye(4, dtype=torch.bool).flip(0)
"""Rows 0 and 3, and 1 and 2, are related."""
E = math.e


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        # Unit vectors are at 2 - 2 cos: two at 4/3, one at 8/3, of weights 1 and e^(-4/3). Equal
        # views are at 0.
        pytest.param(
            lambda: torch.stack(
                cacr_terms(FLAT.unsqueeze(1).expand(4, 2, 4), attraction=1.0, repulsion=1.0)
            ),
            [0, -8 / 3 * (1 + E ** (-4 / 3)) / (2 + E ** (-4 / 3))],
            id="cacr",
        ),
        # -log(e^0 / (e^0 + 2 e^-4 + e^-8)), a square
        pytest.param(
            lambda: protoclr(FLAT.unsqueeze(1), FLAT), 2 * math.log(1 + E**-4), id="protoclr"
        ),
        # In both views one logit of 3 (but the anchor's own), two of 1, one of -1; the edges' are
        # 3, -1 and -1.
        pytest.param(
            lambda: graph_nt_xent(FLAT, FLAT, related=PAIRS, temperature=T),
            math.log(E**3 + 4 * E + 2 / E) - 1 / 3,
            id="graph_nt_xent",
        ),
        # 7 edges: the other view at 0, in both views two at 4 and one at 8; over 4 dimensions
        pytest.param(
            lambda: graph_invariance(FLAT, FLAT, related=torch.ones(4, 4, dtype=torch.bool)),
            (0 + 4 * 4 + 2 * 8) / 7 / 4,
            id="graph_invariance",
        ),
        # The label's logit is 3, the others' 1, 1 and -1.
        pytest.param(
            lambda: mls(FLAT, FLAT),
            (math.log(1 + E**-3) + 2 * math.log(1 + E) + math.log(1 + 1 / E)) / 4,
            id="mls",
        ),
        # Row 0 is at 1 from itself, and at 1/3, 1/3 and -1/3 from rows 1 to 3.
        pytest.param(
            lambda: queue_nce(FLAT[:1], FLAT[:1], FLAT[1:], temperature=T),
            math.log(E**3 + 2 * E + 1 / E) - 3,
            id="queue_nce",
        ),
        pytest.param(
            lambda: batch_nce(FLAT, FLAT, temperature=T),
            math.log(E**3 + 2 * E + 1 / E) - 3,
            id="batch_nce",
        ),
        pytest.param(
            lambda: batch_nce(FLAT, FLAT, temperature=T, decoupled=True),
            math.log(2 * E + 1 / E) - 3,
            id="batch_nce, decoupled",
        ),
        # Rows 0 and 3: -1/3 + 2 * 3/2 * (1 - 3/2) * (1 + 1/3) = -7/3. The query 3/2 of row 0 less
        # 1/2 of row 3 has 1/2 - 1/6 = 1/3 with rows 1 and 2, and so with what is between them.
        pytest.param(
            lambda: transformed(FLAT[:1], FLAT[3:], FLAT[1:3]),
            math.log(E**-7 + 2 * E) + 7,
            id="transformed",
        ),
        # The positive at 1 and the hardest negative at 1/3 are 2/3 apart.
        pytest.param(
            lambda: groco(FLAT, FLAT.unsqueeze(1), hardest=1, steepness=3.0),
            -math.log(math.atan(2) / math.pi + 0.5),
            id="groco",
        ),
        # In both views the two at 1/3 are the hardest four: (1/3 - 1) / (1/2).
        pytest.param(lambda: amcl(FLAT, FLAT).likelihood, -4 / 3, id="amcl"),
        # Differences from the positive over 1/3: four of 1 - 3 and two of -1 - 3; t log g + rho t
        pytest.param(
            lambda: robust(FLAT, FLAT).loss,
            (math.log((4 * E**-2 + 2 * E**-4) / 6) + 0.3) / 3,
            id="isogclr",
        ),
    ],
)
def test_orthogonal_samples_with_a_collapsed_dimension(
    actual: Callable[[], Tensor], expected: float | list[float]
) -> None:
    assert actual().tolist() == pytest.approx(expected, rel=1e-12, abs=1e-14)


X, Y = torch.eye(8, dtype=torch.float64).view(2, 4, 8)
"""Two views of four samples, all orthogonal."""


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        # Every prototype is at 2.
        pytest.param(lambda: protoclr(X.unsqueeze(1), Y), math.log(4), id="protoclr"),
        pytest.param(
            lambda: graph_nt_xent(X, Y, related=PAIRS, temperature=T),
            math.log(7),  # of 8 nodes, less the anchor
            id="graph_nt_xent",
        ),
        pytest.param(
            lambda: graph_invariance(X, Y, related=PAIRS),
            2 / 8,  # every edge is of 2, over 8 dimensions
            id="graph_invariance",
        ),
        pytest.param(lambda: mls(X, Y), math.log(2), id="mls"),  # every logit is 0
        # The pair has 0 + 2 * 3/2 * (1 - 3/2) = -3/2; the four negatives, the queue, have 0.
        pytest.param(
            lambda: transformed(X[:2], Y[:2], torch.cat([X[2:], Y[2:]])),
            math.log(E**-4.5 + 4) + 4.5,
            id="transformed",
        ),
        pytest.param(
            lambda: groco(X, Y.unsqueeze(1), hardest=1, steepness=3.0),
            math.log(2),  # nothing tells the positive from the negative
            id="groco",
        ),
        pytest.param(lambda: amcl(X, Y).likelihood, 0.0, id="amcl"),
        # Every difference is 0: rho t.
        pytest.param(lambda: robust(X, Y).loss, 0.3 / 3, id="isogclr"),
    ],
)
def test_orthogonal_views(actual: Callable[[], Tensor], expected: float) -> None:
    assert float(actual()) == pytest.approx(expected, rel=1e-12, abs=1e-14)
