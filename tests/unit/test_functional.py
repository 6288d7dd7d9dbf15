"""Properties of all equations: precision, and independence of everything but tensors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from manta import functional
from manta.errors import ConfigError
from manta.functional import full_precision, upcast
from manta.functional._checks import own_rows

HIDDEN = torch.tensor([[True, False]] * 16)
CENTER = torch.linspace(-1, 1, 32).bfloat16()
EQUATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "nt_xent": lambda a, b: functional.nt_xent(a, b, temperature=0.1),
    "dcl": lambda a, b: functional.dcl(a, b, temperature=0.1),
    "dclw": lambda a, b: functional.dcl(a, b, temperature=0.1, sigma=0.5),
    "barlow_twins": lambda a, b: functional.barlow_twins(a, b, lambda_=0.01),
    "vicreg": lambda a, b: functional.vicreg(a, b, invariance=25, variance=25, covariance=1),
    "negative_cosine": functional.negative_cosine,
    "dino": lambda a, b: functional.dino(
        a, b, student_temperature=0.1, teacher_temperature=0.04, center=CENTER.to(b.dtype)
    ),
    "masked_patch_mse": lambda a, b: functional.masked_patch_mse(
        a.view(16, 2, -1), b.view(16, 2, -1), HIDDEN
    ),
}


def pair(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 16, 32, generator=stream)
    return a.to(torch.bfloat16).to(dtype), (a + 0.3 * b).to(torch.bfloat16).to(dtype)


@pytest.mark.parametrize("name", EQUATIONS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_the_result_is_of_float32_or_better(name: str, dtype: torch.dtype) -> None:
    """The inputs are the same numbers in every precision, so all results must be float32's."""
    exact = EQUATIONS[name](*pair(torch.float64))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = EQUATIONS[name](*pair(dtype))
    assert loss.shape == ()
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert float(loss) == pytest.approx(float(exact), rel=1e-5)


@pytest.mark.parametrize("name", EQUATIONS)
def test_gradients_come_back_in_the_precision_of_the_embeddings(name: str) -> None:
    a, b = (z.requires_grad_() for z in pair(torch.bfloat16))
    (gradient,) = torch.autograd.grad(EQUATIONS[name](a, b), a)
    assert gradient.dtype == torch.bfloat16
    assert gradient.isfinite().all()
    assert float(gradient.float().norm()) > 0


def test_autocast_is_off_inside_and_on_again_after() -> None:
    @full_precision
    def product(x: Tensor, *, y: Tensor) -> Tensor:
        return x @ y

    x = torch.rand(4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert product(x, y=x.bfloat16()).dtype == torch.float32
        assert (x @ x).dtype == torch.bfloat16
    assert upcast(torch.zeros(1, dtype=torch.int64)).dtype == torch.int64


def test_the_public_signatures_stay() -> None:
    a, b = pair(torch.float64)
    with pytest.raises(TypeError):
        functional.nt_xent(a, b, 0.1)
    for name in ("nt_xent", "dcl", "barlow_twins", "vicreg", "negative_cosine", "dino"):
        assert name in functional.__all__


def test_anchors_are_found_among_keys_or_refused() -> None:
    anchors, keys = torch.zeros(2, 1), torch.zeros(5, 1)
    assert own_rows(anchors, keys, 3).nonzero().tolist() == [[0, 3], [1, 4]]
    for offset in (-1, 4):
        with pytest.raises(ConfigError, match=f"2 rows from row {offset} on are not among 5 keys"):
            own_rows(anchors, keys, offset)
