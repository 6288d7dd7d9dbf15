"""Denoising autoencoder of the data, for pseudo-classes without a model (G-SimCLR, S056)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.batch import ViewNeeds
from manta.config import Experiment
from manta.data import Holdout, Manifest, read_split
from manta.encoders import EncoderConfig, build
from manta.encoders.conv_autoencoder import ConvAutoencoder
from manta.errors import ConfigError
from manta.modalities.image import ImageDecoder
from manta.modalities.image.preprocess import ImagePreprocess
from manta.modalities.image.views import ImageViews, ImageViewsConfig
from manta.ragged import dense
from manta.serving import ExportedEncoder, save_encoder
from manta.spec import Spec

CONFIG = EncoderConfig(name="conv_autoencoder")
SIZE = 32
"""Side of the autoencoder's images, in pixels."""
ROWS, STEPS, BATCH, NOISE = 20_000, 400, 128, 0.3
"""Most images used; optimizer steps; images per step; standard deviation of the noise."""


@contextmanager
def trained_autoencoder(experiment: Experiment, manifest: Manifest, *, seed: int) -> Iterator[Path]:
    """Train an autoencoder to remove noise, on at most `ROWS` rows.

    Yields:
        the folder of its saved encoder, which is deleted when the block ends.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # All rows, because held-out rows get pseudo-classes too.
    parts = read_split(manifest, Holdout(manifest), "bank", limit=ROWS, decoder=ImageDecoder(SIZE))
    images = torch.cat([dense(part.data, "image") for part in parts])
    views = ImageViews(_image_views(experiment), ViewNeeds(preset="plain"), image_size=SIZE)
    # Afterwards the run's own random state continues as if nothing had been trained here.
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build(CONFIG, Spec.image(SIZE))
        if not isinstance(model, ConvAutoencoder):
            raise ConfigError(
                f"the name {CONFIG.name!r} is registered by another encoder; rename that"
            )
        _fit(model.to(device).train(), images, views, device)
    with tempfile.TemporaryDirectory(prefix="manta-autoencoder-") as scratch:
        exported = ExportedEncoder(model.cpu(), ImagePreprocess(SIZE, views.mean, views.std))
        yield save_encoder(exported, scratch, config=CONFIG).folder


def _image_views(experiment: Experiment) -> ImageViewsConfig:
    """Return the settings of a run's views.

    Raises:
        ConfigError: its samples are no images.
    """
    if not isinstance(experiment.views, ImageViewsConfig):
        raise ConfigError(
            f"objective: pseudo-classes without a model are made of images, and data.modality="
            f"{experiment.data.modality}; name a model, such as a run of this data"
        )
    return experiment.views


def _fit(model: ConvAutoencoder, images: Tensor, views: ImageViews, device: torch.device) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(STEPS):
        drawn = torch.randint(len(images), (min(BATCH, len(images)),))
        clean = views.plain({"image": images[drawn].to(device)})
        loss = F.mse_loss(model.reconstruct(clean + NOISE * torch.randn_like(clean)), clean)
        optimizer.zero_grad()
        torch.autograd.backward([loss])
        optimizer.step()
