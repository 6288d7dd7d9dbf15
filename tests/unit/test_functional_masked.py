"""MAE's loss, and the patches it is taken over."""

from __future__ import annotations

import math

import pytest
import torch

from manta.functional import masked_patch_mse, patchify


def test_patches_are_in_row_major_order() -> None:
    images = torch.arange(2 * 3 * 4 * 6, dtype=torch.float64).view(2, 3, 4, 6)
    patches = patchify(images, (2, 3))
    assert patches.shape == (2, 4, 3 * 2 * 3)
    for n in range(2):
        for row in range(2):
            for column in range(2):
                expected = images[n, :, 2 * row : 2 * row + 2, 3 * column : 3 * column + 3].reshape(
                    -1
                )
                assert torch.equal(patches[n, 2 * row + column], expected)


def test_the_loss_is_the_papers() -> None:
    """He et al. 2022, section 3: mean squared error on normalised, masked patches."""
    stream = torch.Generator().manual_seed(0)
    prediction, patches = torch.randn(2, 3, 5, 8, generator=stream, dtype=torch.float64)
    hidden = torch.rand(3, 5, generator=stream).argsort(1) < 3
    total, count = 0.0, 0
    for n in range(3):
        for t in range(5):
            if hidden[n, t]:
                pixels = patches[n, t].tolist()
                mean = sum(pixels) / 8
                deviation = math.sqrt(sum((x - mean) ** 2 for x in pixels) / 7 + 1e-6)
                errors = [
                    (p - (x - mean) / deviation) ** 2
                    for p, x in zip(prediction[n, t].tolist(), pixels, strict=True)
                ]
                total, count = total + sum(errors) / 8, count + 1
    assert count == 9
    assert float(masked_patch_mse(prediction, patches, hidden)) == pytest.approx(
        total / count, rel=1e-12
    )


def test_known_answers() -> None:
    patches = torch.tensor([[[1.0, -1.0], [4.0, 4.0]]], dtype=torch.float64)
    # Unbiased variance 2.
    normalised = torch.tensor([[[1.0, -1.0], [0.0, 0.0]]], dtype=torch.float64) / math.sqrt(2)
    both, first = torch.tensor([[True, True]]), torch.tensor([[True, False]])
    assert float(masked_patch_mse(normalised, patches, both)) == pytest.approx(0, abs=1e-10)
    off = normalised + torch.tensor([[[0.0, 0.0], [3.0, 3.0]]])
    assert float(masked_patch_mse(off, patches, both)) == pytest.approx(4.5, rel=1e-6)
    # Seen patches do not count.
    assert float(masked_patch_mse(off, patches, first)) == pytest.approx(0, abs=1e-10)
    # Nor does brightness.
    assert float(masked_patch_mse(off, 5 * patches + 2, both)) == pytest.approx(4.5, rel=1e-6)


def test_gradient_is_that_of_finite_differences() -> None:
    stream = torch.Generator().manual_seed(0)
    prediction, patches = torch.randn(2, 2, 3, 4, generator=stream, dtype=torch.float64)
    hidden = torch.tensor([[True, False, True], [False, True, True]])
    assert torch.autograd.gradcheck(
        lambda p: masked_patch_mse(p, patches, hidden), prediction.requires_grad_()
    )
