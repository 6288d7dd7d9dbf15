"""Encoders with their preprocessing, from uint8 images to features, and as folders of weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manta.encoders import Encoder, EncoderConfig, load_saved
from manta.encoders.concatenation import config_of
from manta.encoders.saved import DESCRIPTION, WEIGHTS, weighted
from manta.errors import RunError

TIMM_DESCRIPTION = "config.json"


class Preprocess(nn.Module):
    """Preprocessing of uint8 images of any size into the input that an encoder was evaluated on.

    The steps are those of `manta.modalities.image` and `Views.plain`: the central square is
    resized to `resize` (bicubic, antialiased, rounded to whole pixel values), then to `image_size`
    (bilinear, antialiased), and normalised. A square image of the right size is only normalised.
    The filter of `decode` reads pixels beyond the edge of the central square and this one does
    not, so the outermost pixels of oblong images differ slightly.

    Args:
        image_size: side of the square that the encoder takes, in pixels.
        mean, std: of the pixels, per channel, in 0..1.
        resize: side of the square to which images are decoded; None: `image_size`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        resize: int | None = None,
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.resize = resize or image_size
        self._mean, self._std = [float(value) for value in mean], [float(value) for value in std]
        self.register_buffer("mean", torch.tensor(self._mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(self._std).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return prepared images, `[N, 3, image_size, image_size]` float32.

        Args:
            images: `[N, H, W, 3]` uint8, with sides of at least 2 pixels.
        """
        height, width = images.shape[1:3]
        # With sym_min and index_select the exported graph works for every size; min() or slices
        # would fix it to portrait or landscape.
        side = torch.sym_min(height, width)
        square = torch.arange(side, device=images.device)
        images = images.index_select(1, square + (height - side) // 2).index_select(
            2, square + (width - side) // 2
        )
        pixels = images.permute(0, 3, 1, 2).float()
        pixels = F.interpolate(
            pixels, size=(self.resize, self.resize), mode="bicubic", antialias=True
        )
        pixels = pixels.round().clamp(0, 255)
        if self.resize != self.image_size:
            pixels = F.interpolate(
                pixels, size=(self.image_size, self.image_size), mode="bilinear", antialias=True
            )
        return (pixels / 255 - self.mean) / self.std

    def ready(self, images: Tensor) -> Tensor:
        """Return the output of `forward` for images that `manta.data.decode` has decoded.

        Args:
            images: `[N, 3, resize, resize]` uint8.
        """
        pixels = images.float()
        if self.resize != self.image_size:
            pixels = F.interpolate(
                pixels, size=(self.image_size, self.image_size), mode="bilinear", antialias=True
            )
        return (pixels / 255 - self.mean) / self.std

    def describe(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain data."""
        return {
            "image_size": self.image_size,
            "resize": self.resize,
            "mean": self._mean,
            "std": self._std,
        }


class ExportedEncoder(nn.Module):
    """Encoder with its preprocessing inside, in evaluation mode.

    `torch.export` accepts it with dynamic batch size, height and width.
    """

    def __init__(
        self,
        encoder: Encoder,
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        resize: int | None = None,
    ) -> None:
        super().__init__()
        self.preprocess = Preprocess(image_size, mean, std, resize=resize)
        self.encoder = encoder
        self.embed_dim = encoder.embed_dim
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return features `[N, D]` float32 of `[N, H, W, 3]` uint8."""
        return self.encoder.embed(self.preprocess(images)).float()


@dataclass(frozen=True, slots=True)
class SavedEncoder:
    """Folder with a saved encoder, which `rebuild` loads.

    Attributes:
        folder: holds `model.safetensors` and `manta.json`, and timm's `config.json` if timm can
            load it.
        timm: whether `timm.create_model("local-dir:FOLDER", pretrained=True)` gives the same
            encoder. It cannot for a small convolutional stem, which timm has no argument for, nor
            for encoders that are not timm's.
    """

    folder: Path
    timm: bool


def save_encoder(
    exported: ExportedEncoder, folder: str | Path, *, config: EncoderConfig
) -> SavedEncoder:
    """Write an encoder's weights and description, load them again, and compare the outputs.

    Args:
        config: configuration from which `exported.encoder`, or each part of a concatenation, was
            built at the image size of the preprocessing.

    Raises:
        RunError: the loaded encoder differs from the one that was saved.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    encoder, preprocess = exported.encoder, exported.preprocess
    config = config_of(encoder, config)
    by_timm = _timm_expresses(encoder, config)
    if by_timm:
        _write_timm(exported, folder, config)
    else:
        # From a `config.json` of an earlier export, timm would build another network.
        (folder / TIMM_DESCRIPTION).unlink(missing_ok=True)
    save_weights(encoder, folder)
    description = {
        "encoder": config.model_dump(mode="json"),
        "embed_dim": encoder.embed_dim,
        "preprocess": preprocess.describe(),
        "timm": by_timm,
    }
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")
    _verify(encoder, folder, by_timm=by_timm, image_size=preprocess.image_size)
    return SavedEncoder(folder, by_timm)


def save_weights(encoder: Encoder, folder: Path) -> None:
    """Write an encoder's weights alone, without the description."""
    # Copies, since safetensors refuses tied and channels-last tensors.
    weights = {
        k: v.detach().cpu().contiguous().clone() for k, v in weighted(encoder).state_dict().items()
    }
    safetensors.torch.save_file(weights, folder / WEIGHTS)


def load_exported(folder: str | Path) -> ExportedEncoder:
    """Return the encoder that `save_encoder` wrote, on the CPU in evaluation mode.

    This draws nothing from torch's generator.

    Raises:
        RunError: the folder holds no encoder that Manta saved, or the weights do not fit.
    """
    encoder, preprocess = load_saved(folder)
    return ExportedEncoder(encoder, **preprocess)


def rebuild(folder: str | Path) -> Encoder:
    """Return the encoder of `load_exported` without its preprocessing."""
    return load_exported(folder).encoder


def _timm_expresses(encoder: Encoder, config: EncoderConfig) -> bool:
    from manta.encoders.timm import TimmEncoder, expressible

    return isinstance(encoder, TimmEncoder) and expressible(config)


def _write_timm(exported: ExportedEncoder, folder: Path, config: EncoderConfig) -> None:
    """Write timm's `config.json`, with the arguments that the model was built with."""
    from timm.models._hub import save_config_for_hf

    from manta.encoders.timm import arguments

    described = exported.preprocess.describe()
    size = described["image_size"]
    preprocessing = {
        "input_size": [3, size, size],
        "test_input_size": [3, size, size],
        "mean": described["mean"],
        "std": described["std"],
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "test_crop_pct": 1.0,
    }
    # timm would fill in the origin of its own pretrained weights, which these are not.
    provenance = {"tag": "manta", "num_classes": 0, "origin_url": None, "paper_ids": None}
    save_config_for_hf(
        weighted(exported.encoder),
        str(folder / TIMM_DESCRIPTION),
        model_config={"num_classes": 0, "pretrained_cfg": preprocessing | provenance},
        model_args=arguments(config, image_size=size),
    )


def _verify(encoder: Encoder, folder: Path, *, by_timm: bool, image_size: int) -> None:
    """Check on noise that the folder loads as the same encoder.

    The encoder's mode and all random generators stay as they were.

    Raises:
        RunError: the outputs differ.
    """
    training, device = encoder.training, next(encoder.parameters()).device
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, image_size, image_size, generator=generator)
    loaded: list[nn.Module] = [rebuild(folder)]
    if by_timm:
        import timm

        with torch.random.fork_rng(devices=[]):
            loaded.append(timm.create_model(f"local-dir:{folder}", pretrained=True).eval())
    with torch.no_grad():
        expected = encoder.eval().embed(x.to(device)).cpu()
        encoder.train(training)
        for module in loaded:
            error = float(
                (module(x) - expected).abs().max() / expected.abs().max().clamp_min(1e-12)
            )
            # Devices round differently, by far less than this; another architecture or a missing
            # weight gives far more.
            if not error < 1e-2:
                raise RunError(
                    f"{folder} does not give back the encoder saved in it (relative error "
                    f"{error:.2g})"
                )
