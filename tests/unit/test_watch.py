"""The watch: what it stops, and what it leaves alone."""

import pickle

import pytest
import torch

from manta.config import WatchConfig
from manta.encoders import EncoderConfig, build
from manta.errors import TrainingStopped
from manta.spec import Spec
from manta.training.health import ROWS, CollapseMonitor, embed_plain


def test_collapse_stops_after_patience_looks():
    watch = CollapseMonitor(WatchConfig(patience=2))
    collapsed = torch.ones(64, 32) + 1e-4 * torch.randn(
        64, 32, generator=torch.Generator().manual_seed(0)
    )
    watch.check(collapsed, 50)
    with pytest.raises(TrainingStopped, match=r"collapsed at step 100.*same features") as caught:
        watch.check(collapsed, 100)
    assert caught.value.diagnosis == "collapsed"


def test_one_direction_is_a_collapse_too():
    watch = CollapseMonitor(WatchConfig(patience=1))
    line = torch.randn(64, 1, generator=torch.Generator().manual_seed(0)) * torch.ones(1, 32)
    with pytest.raises(TrainingStopped, match="collapsed"):
        watch.check(line, 50)


def test_a_recovery_resets_the_count():
    watch = CollapseMonitor(WatchConfig(patience=2))
    spread = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    for _ in range(3):
        watch.check(torch.ones(64, 32), 1)
        found = watch.check(spread, 2)
    assert found["feature_std"] == pytest.approx(1.0, abs=0.05)
    assert 20 < found["feature_rank"] <= 32


@pytest.mark.parametrize("name", ["resnet10t", "resnet18", "convnext_atto", "vit_tiny_patch16_224"])
def test_an_untrained_encoder_is_not_taken_for_a_collapsed_one(name):
    torch.manual_seed(0)
    encoder = build(EncoderConfig(name=name), Spec.image(32))
    images = torch.rand(128, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    smooth = (
        torch.nn.functional.avg_pool2d(images, 9, stride=1, padding=4) * 4 - 2
    )  # images, not noise
    CollapseMonitor(WatchConfig(patience=1)).check(embed_plain(encoder, smooth), 50)
    assert encoder.training


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_not_finite_is_named(bad):
    with pytest.raises(
        TrainingStopped, match=r"not finite at step 3: loss;.*optimizer\.lr"
    ) as caught:
        CollapseMonitor.check_finite({"loss": bad, "gradient_norm": 1.0}, 3)
    assert caught.value.diagnosis == "not-finite"


def test_the_diagnosis_survives_the_way_between_processes():
    again = pickle.loads(pickle.dumps(TrainingStopped("why", diagnosis="collapsed")))
    assert (str(again), again.diagnosis) == ("why", "collapsed")


def test_samples_of_unequal_lengths_are_embedded_too():
    spec = Spec("sequence", 2, (None,))
    encoder = build(EncoderConfig(name="resnet1d", args={"widths": [8]}), spec)
    rows = spec.example(ROWS + 5, generator=torch.Generator().manual_seed(1))
    assert embed_plain(encoder, rows).shape == (ROWS, 8)
