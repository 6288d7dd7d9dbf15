"""What a run's objective is told of its data."""

from __future__ import annotations

from pathlib import Path

import torch

from manta import encoders
from manta.config import from_mapping
from manta.data import Manifest, Shard
from manta.encoders import EncoderConfig
from manta.modalities.image.preprocess import ImagePreprocess
from manta.runs.build import build_objective
from manta.serving import ExportedEncoder, save_encoder
from manta.spec import Spec


def test_a_teacher_sees_pixels_that_are_normalised_as_the_views_are(tmp_path: Path) -> None:
    config = EncoderConfig(name="test_resnet")
    torch.manual_seed(0)
    teacher = ExportedEncoder(
        encoders.build(config, Spec.image(32)), ImagePreprocess(32, (0.5,) * 3, (0.25,) * 3)
    )
    save_encoder(teacher, tmp_path, config=config)
    mean, std = (0.1, 0.1, 0.1), (0.2, 0.2, 0.2)
    experiment = from_mapping(
        {
            "data": {"source": "digits", "image_size": 32},
            "encoder": {"name": "test_resnet"},
            "objective": {"name": "distill", "model": "given"},
            "views": {"mean": mean, "std": std},
        }
    )
    manifest = Manifest(
        location="",
        rows=8,
        shards=[Shard("", 8, [8], 0)],
        kind="",
        quarantined=0,
        digest="",
        bytes=0,
        labelled=False,
        classes=None,
        sizes={},
        mean=[],
        std=[],
        moment_rows=0,
        source="",
    )
    objective = build_objective(experiment, manifest, {"teacher": tmp_path})
    assert tuple(objective.data.mean) == mean
    assert tuple(objective.data.std) == std
