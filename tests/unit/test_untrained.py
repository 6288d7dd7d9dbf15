"""The untrained encoder that results are shown beside."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from manta import encoders
from manta.encoders import Encoder, EncoderConfig
from manta.evaluation.untrained import BATCH, recalibrate_batchnorm
from manta.spec import Spec

BATCHES = 3


class Convolution(Encoder):
    """A convolution, BatchNorm, and dropout, which draws in training mode."""

    embed_dim = 4

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5)
        )

    def embed(self, x: Tensor) -> Tensor:
        return self.layers(x).mean((2, 3))  # type: ignore[no-any-return]


def sorted_by_class() -> Tensor:
    """`[3 BATCH, 3, 8, 8]`: dark images, then grey ones, then bright ones."""
    noise = torch.randint(
        0, 40, (BATCHES * BATCH, 3, 8, 8), generator=torch.Generator().manual_seed(1)
    )
    return (noise + torch.arange(BATCHES).repeat_interleave(BATCH).view(-1, 1, 1, 1) * 100).to(
        torch.uint8
    )


def prepare(images: Tensor) -> Tensor:
    return images.float() / 255


def test_statistics_are_those_of_all_images_however_they_are_sorted() -> None:
    encoder, images = Convolution(), sorted_by_class()
    convolution, norm = encoder.layers[0], encoder.layers[1]
    weights = [parameter.clone() for parameter in encoder.parameters()]
    assert recalibrate_batchnorm(encoder.train(), images.split(50), prepare)
    with torch.no_grad():
        seen = convolution(prepare(images)).transpose(0, 1).flatten(1).double()
    torch.testing.assert_close(norm.running_mean.double(), seen.mean(1), rtol=1e-4, atol=1e-5)
    # A batch is a sample of the classes: of a sorted one the variance would be a tenth of this.
    torch.testing.assert_close(norm.running_var.double(), seen.var(1), rtol=0.02, atol=0)
    assert all(
        torch.equal(now, before) for now, before in zip(encoder.parameters(), weights, strict=True)
    )


@pytest.mark.parametrize("training", [True, False])
def test_nothing_else_is_touched(training: bool) -> None:
    encoder = Convolution().train(training)
    state = torch.get_rng_state()
    recalibrate_batchnorm(encoder, [sorted_by_class()], prepare)
    assert torch.equal(torch.get_rng_state(), state)
    assert {module.training for module in encoder.modules()} == {training}
    assert encoder.layers[1].momentum == 0.1, "what is trained on from here goes on as ever"


def test_the_same_images_give_the_same_statistics() -> None:
    first, second = Convolution(), Convolution()
    recalibrate_batchnorm(first, sorted_by_class().split(50), prepare)
    recalibrate_batchnorm(second, sorted_by_class().split(128), prepare)
    assert torch.equal(first.layers[1].running_var, second.layers[1].running_var)


def test_statistics_of_pretrained_weights_stay() -> None:
    encoder = Convolution()
    encoder.layers[1].running_mean.fill_(0.25)
    assert not recalibrate_batchnorm(encoder, [sorted_by_class()], prepare)
    assert encoder.layers[1].running_mean.unique().tolist() == [0.25]


def test_one_image_has_no_variance() -> None:
    encoder = Convolution()
    assert not recalibrate_batchnorm(encoder, [sorted_by_class()[:1]], prepare)
    assert encoder.layers[1].running_var.unique().tolist() == [1.0]


def test_a_network_without_batchnorm_reads_no_image() -> None:
    plain = EncoderConfig(
        name="vit_tiny_patch16_224", args={"embed_dim": 24, "depth": 1, "num_heads": 2}
    )
    encoder = encoders.build(plain, Spec.image(32))
    unread = iter([torch.zeros(2, 3, 32, 32, dtype=torch.uint8)])
    assert not recalibrate_batchnorm(encoder, unread, prepare)
    assert next(unread) is not None
