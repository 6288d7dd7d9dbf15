"""NESum, alignment and uniformity against loops in float64, and on features whose numbers are
known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from manta.config import from_mapping
from manta.errors import ConfigError
from manta.evaluators import EVALUATORS, Features, build, evaluate_all
from manta.evaluators.alignment_uniformity import AlignmentUniformityConfig
from manta.evaluators.nesum import NESumConfig
from manta.functional.geometry import alignment, hypersphere_uniformity, nesum


@pytest.mark.parametrize("shape", [(300, 12), (20, 50)])
def test_nesum_equals_numpys_spectrum(shape: tuple[int, int]) -> None:
    features = np.random.default_rng(0).normal(size=shape) * np.linspace(3, 0.1, shape[1]) + 5
    eigenvalues = np.linalg.eigvalsh(np.cov(features, rowvar=False))
    expected = eigenvalues.sum() / eigenvalues.max()
    assert nesum(torch.tensor(features)) == pytest.approx(expected, rel=1e-9)
    assert nesum(torch.tensor(features * 1e3, dtype=torch.float32)) == pytest.approx(
        expected, rel=1e-4
    )
    assert 2 < expected < 12


def test_nesum_of_spectra_known_by_hand() -> None:
    # Variances 4, 2 and 1 along the axes: 7 / 4. White features: as many as dimensions. A line: 1.
    # A point: 0.
    axes = torch.diag(torch.tensor([4.0, 2.0, 1.0]).sqrt())
    assert nesum(torch.cat([axes, -axes]) + 7) == pytest.approx(7 / 4, rel=1e-6)
    assert nesum(torch.cat([torch.eye(5), -torch.eye(5)])) == pytest.approx(5.0)
    assert nesum(torch.linspace(-1, 1, 9)[:, None] * torch.ones(4)) == pytest.approx(1.0)
    assert nesum(torch.full((50, 8), 0.3)) == 0.0
    assert math.isnan(nesum(torch.full((4, 3), math.inf)))


def test_nesum_takes_rows_from_everywhere() -> None:
    # The first half varies along one axis only.
    line, plane = (
        torch.zeros(400, 6),
        torch.randn(400, 6, generator=torch.Generator().manual_seed(0)),
    )
    line[:, 0] = plane[:, 0]
    queries = torch.cat([line, plane])
    whole = build(NESumConfig()).mean_scores(Features(queries[:1], queries))["nesum"]
    half = build(NESumConfig(rows=400)).mean_scores(Features(queries[:1], queries))["nesum"]
    assert half == pytest.approx(whole, abs=0.6)
    assert whole > 3


def by_loops(views: Tensor, rows: Tensor, alpha: float, t: float) -> tuple[float, float]:
    unit = views / views.norm(dim=2, keepdim=True)
    near = [
        float((sample[i] - sample[j]).norm()) ** alpha
        for sample in unit
        for i in range(len(sample))
        for j in range(i)
    ]
    flat = rows / rows.norm(dim=1, keepdim=True)
    apart = [
        math.exp(-t * float((x - y).norm()) ** 2)
        for n, x in enumerate(flat)
        for m, y in enumerate(flat)
        if n != m
    ]
    return sum(near) / len(near), math.log(sum(apart) / len(apart))


@pytest.mark.parametrize(("alpha", "t"), [(2.0, 2.0), (1.0, 5.0)])
def test_alignment_and_uniformity_equal_their_definitions(alpha: float, t: float) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = 3 * torch.randn(31, 5, generator=generator, dtype=torch.float64)
    views = rows[:, None] + torch.randn(31, 3, 5, generator=generator, dtype=torch.float64)
    expected = by_loops(views, rows, alpha, t)
    assert alignment(views, alpha=alpha) == pytest.approx(expected[0], rel=1e-9)
    for chunk in (1, 7, 31, 100):
        assert hypersphere_uniformity(rows, t=t, chunk=chunk) == pytest.approx(
            expected[1], rel=1e-9
        )
    config = AlignmentUniformityConfig(alpha=alpha, t=t, views=3, chunk=10)
    numbers = evaluate_all([build(config)], Features(rows[:1], rows, views=views))
    assert numbers == {
        "alignment": pytest.approx(expected[0]),
        "uniformity": pytest.approx(expected[1]),
    }


def test_extremes() -> None:
    collapse = torch.ones(20, 4)
    assert alignment(torch.ones(20, 2, 4)) == pytest.approx(0, abs=1e-12)
    assert hypersphere_uniformity(collapse) == pytest.approx(0, abs=1e-12)
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert alignment(opposite[None]) == pytest.approx(4.0)
    assert hypersphere_uniformity(opposite) == pytest.approx(-8.0)
    assert hypersphere_uniformity(opposite, t=1000) == pytest.approx(-4000.0)  # exp(-4000) is 0
    # Sixteen directions in two dimensions: worse than random ones in sixty-four.
    circle = torch.arange(16) * math.pi / 8
    spread = torch.randn(16, 64, generator=torch.Generator().manual_seed(0))
    assert (
        hypersphere_uniformity(torch.stack([circle.cos(), circle.sin()], 1))
        > hypersphere_uniformity(spread) + 1
    )
    with pytest.raises(ConfigError, match="two or more, not 1"):
        alignment(torch.ones(3, 1, 4))
    with pytest.raises(ConfigError, match="two or more, not 1"):
        hypersphere_uniformity(torch.ones(1, 4))


def test_only_its_share_of_views_and_rows_is_looked_at() -> None:
    generator = torch.Generator().manual_seed(0)
    views = torch.randn(20, 4, 5, generator=generator)
    views[8:] = math.nan
    views[:, 2:] = math.nan
    evaluator = build(AlignmentUniformityConfig(pairs=8, rows=10))
    assert evaluator.required_views() == (8, 2)
    rows = torch.randn(30, 5, generator=generator)
    assert evaluate_all([evaluator], Features(rows, rows)) == {}
    numbers = evaluate_all([evaluator], Features(rows, rows, views=views))
    assert numbers["alignment"] == pytest.approx(
        by_loops(views[:8, :2].double(), rows, 2, 2)[0], rel=1e-6
    )
    assert numbers["uniformity"] != pytest.approx(hypersphere_uniformity(rows), rel=1e-3)
    assert numbers["uniformity"] != pytest.approx(hypersphere_uniformity(rows[:10]), rel=1e-3)


@pytest.mark.parametrize(
    "name",
    [
        "nesum",
        "alignment_uniformity",
        "transferability",
        "retrieval",
        "clustering",
        "risk",
        "fewshot",
        "linear_sgd",
    ],
)
def test_settings_come_from_recipes_are_described_and_survive_a_round_trip(name: str) -> None:
    tree = {"data": {"source": "digits"}, "objective": {"name": "simclr"}}
    experiment = from_mapping(tree | {"evaluation": {"evaluators": [{"name": name, "every": 2}]}})
    (config,) = experiment.evaluation.evaluators
    assert config == EVALUATORS[name].Config(name=name, every=2)
    assert from_mapping(experiment.model_dump(mode="json")) == experiment
    own = set(type(config).model_fields) - {"name", "every"}
    assert all(type(config).model_fields[field].description for field in own)
