"""SimSiam's and BYOL's cosine, DINO's cross-entropy, hints and near starts, by loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional import dino, negative_cosine
from manta.functional.distillation import hint, near_teacher


def pair(n: int = 6, d: int = 5) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, n, d, generator=stream, dtype=torch.float64)
    return a, b


def dino_by_loops(
    student: Tensor, teacher: Tensor, t_s: float, t_t: float, center: Tensor
) -> float:
    """Caron et al. 2021, eq. 1 and 2 with algorithm 1's centre: H(P_t, P_s) = -sum P_t log P_s."""
    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        p_t = [math.exp((x - c) / t_t) for x, c in zip(t, center.tolist(), strict=True)]
        p_s = [math.exp(x / t_s) for x in s]
        total -= sum(p / sum(p_t) * math.log(q / sum(p_s)) for p, q in zip(p_t, p_s, strict=True))
    return total / len(student)


def test_negative_cosine_is_the_papers() -> None:
    p, z = pair()
    expected = -sum(float(x @ y / (x.norm() * y.norm())) for x, y in zip(p, z, strict=True)) / len(
        p
    )
    assert float(negative_cosine(p, z)) == pytest.approx(expected, rel=1e-12)
    distance = (
        ((p / p.norm(dim=1, keepdim=True) - z / z.norm(dim=1, keepdim=True)) ** 2).sum(1).mean()
    )
    # BYOL, eq. 2.
    assert float(2 + 2 * negative_cosine(p, z)) == pytest.approx(float(distance), rel=1e-12)


def test_negative_cosine_known_answers() -> None:
    eye = torch.eye(2, dtype=torch.float64)
    assert float(negative_cosine(eye, 3 * eye)) == -1
    assert float(negative_cosine(eye, -eye)) == 1
    assert float(negative_cosine(eye, eye.flip(0))) == 0


@pytest.mark.parametrize(("t_s", "t_t"), [(0.1, 0.04), (1.0, 1.0)])
def test_dino_is_the_papers(t_s: float, t_t: float) -> None:
    student, teacher = pair()
    center = torch.linspace(-1, 1, 5, dtype=torch.float64)
    actual = dino(student, teacher, student_temperature=t_s, teacher_temperature=t_t, center=center)
    assert float(actual) == pytest.approx(
        dino_by_loops(student, teacher, t_s, t_t, center), rel=1e-12
    )


def test_dino_known_answers() -> None:
    student, teacher = pair()
    flat = torch.zeros(6, 5, dtype=torch.float64)
    zero = torch.zeros(5, dtype=torch.float64)
    one = {"student_temperature": 1.0, "teacher_temperature": 1.0}
    # A student with uniform predictions.
    assert float(dino(flat, teacher, center=zero, **one)) == pytest.approx(math.log(5))
    # The entropy of the teacher, the lower bound.
    same = float(dino(teacher, teacher, center=zero, **one))
    entropy = torch.distributions.Categorical(logits=teacher).entropy().mean()
    assert same == pytest.approx(float(entropy), rel=1e-12)
    assert float(dino(student, teacher, center=zero, **one)) > same
    # A centre that equals the teacher's common output leaves it uniform, so that no prototype wins
    # everywhere.
    common = teacher[:1].expand(6, -1)
    uniform = -torch.log_softmax(student, 1).mean(1).mean()
    assert float(dino(student, common, center=teacher[0], **one)) == pytest.approx(
        float(uniform), rel=1e-12
    )


def test_gradients_are_those_of_finite_differences() -> None:
    a, b = (z.requires_grad_() for z in pair(4, 3))
    center = torch.ones(3, dtype=torch.float64)
    assert torch.autograd.gradcheck(negative_cosine, (a, b))
    assert torch.autograd.gradcheck(
        lambda s, t: dino(s, t, student_temperature=0.5, teacher_temperature=0.3, center=center),
        (a, b),
    )


def test_shapes_that_torch_would_broadcast_are_errors() -> None:
    p, z = pair()
    with pytest.raises(ConfigError, match="one shape"):
        negative_cosine(p, z[:1])
    with pytest.raises(ConfigError, match="one shape"):
        dino(p, z[:1], student_temperature=1.0, teacher_temperature=1.0, center=torch.zeros(5))


def test_a_hint_is_the_mean_square() -> None:
    stream = torch.Generator().manual_seed(0)
    a, b = (torch.randn(4, 3, generator=stream, dtype=torch.float64) for _ in range(2))
    expected = (
        sum((x - y) ** 2 for x, y in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True))
        / 12
    )
    assert float(hint(a, b)) == pytest.approx(expected, rel=1e-12)
    assert float(hint(a, a)) == 0
    assert float(hint(a, a + 2)) == pytest.approx(4)
    with pytest.raises(ConfigError, match="one shape"):
        hint(a, b[:1])


def test_a_start_near_the_teacher() -> None:
    """Sarnthein et al. 2023, section 4, weight by weight; independent weights keep the variance."""
    stream = torch.Generator().manual_seed(0)
    own, teacher = torch.randn(2, 40, 500, generator=stream, dtype=torch.float64)
    for alpha in (0.0, 0.1, 0.5, 1.0):
        actual = near_teacher(own, teacher, distance=alpha)
        size = math.sqrt((1 - alpha) ** 2 + alpha**2)
        for x, y, z in zip(own[0].tolist(), teacher[0].tolist(), actual[0].tolist(), strict=True):
            assert z == pytest.approx(((1 - alpha) * y + alpha * x) / size, rel=1e-12)
        assert float(actual.std()) == pytest.approx(1, abs=0.02)
    assert torch.equal(near_teacher(own, teacher, distance=1.0), own)
    assert torch.equal(near_teacher(own, teacher, distance=0.0), teacher)
    three, four = torch.tensor([3.0]), torch.tensor([4.0])
    assert float(near_teacher(three, four, distance=0.5)) == pytest.approx(7 / math.sqrt(2))
