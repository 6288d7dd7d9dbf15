"""An encoder as others use it: uint8 images in, features out; and as a folder of weights."""

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
    """uint8 images of any size to what an encoder saw when it was evaluated.

    Args:
        image_size: side of the square that the encoder takes.
        mean, std: of the pixels, per channel, in 0..1.
        resize: side of the square that decoding gave; None: `image_size`.

    The steps are those of `manta.data.decode` and `Views.plain`: the central square, resized to
    `resize` (bicubic, antialiased, rounded to whole pixel values), from there to `image_size`
    (bilinear, antialiased), normalised. A square image of the right size is only normalised.
    Decoding's filter sees past the edge of the square that was cut out, this one does not: the
    outermost pixels of oblong images differ a little.
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
        """Turn `[N, H, W, 3]` uint8, sides at least 2, into `[N, 3, image_size, image_size]`
        float32."""
        height, width = images.shape[1:3]
        # With sym_min and index_select the graph holds for every size; min() or slices would fix
        # the orientation.
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
        """Return what `forward` would give for `[N, 3, resize, resize]` uint8, decoded as
        `manta.data.decode` does."""
        pixels = images.float()
        if self.resize != self.image_size:
            pixels = F.interpolate(
                pixels, size=(self.image_size, self.image_size), mode="bilinear", antialias=True
            )
        return (pixels / 255 - self.mean) / self.std

    def describe(self) -> dict[str, Any]:
        """Return the arguments, as plain data."""
        return {
            "image_size": self.image_size,
            "resize": self.resize,
            "mean": self._mean,
            "std": self._std,
        }


class ExportedEncoder(nn.Module):
    """An encoder with its preprocessing inside; `torch.export` takes it with dynamic batch, height
    and width.

    Puts the encoder into evaluation mode.
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
    """A folder that `rebuild` loads.

    Attributes:
        folder: holds `model.safetensors` and `manta.json`, and timm's `config.json` where timm can
            load it.
        timm: whether `timm.create_model("local-dir:FOLDER", pretrained=True)` gives the same
            encoder. Not so for a small convolutional stem, which no argument of timm's makes, and
            for encoders from elsewhere.
    """

    folder: Path
    timm: bool


def save_encoder(
    exported: ExportedEncoder, folder: str | Path, *, config: EncoderConfig
) -> SavedEncoder:
    """Write weights and description, load them again, and compare the outputs.

    Args:
        config: what `exported.encoder`, or each part of a concatenation, was built from, at the
            preprocessing's size.

    Raises:
        RunError: the folder gives another encoder than the one that was saved.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    encoder, preprocess = exported.encoder, exported.preprocess
    config = config_of(encoder, config)
    by_timm = _timm_expresses(encoder, config)
    if by_timm:
        _write_timm(exported, folder, config)
    else:
        # With it, timm would build another network around the weights.
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
    """Write an encoder's weights alone, beside a description that is there or will be."""
    # Copies, since safetensors refuses tied and channels-last tensors.
    weights = {
        k: v.detach().cpu().contiguous().clone() for k, v in weighted(encoder).state_dict().items()
    }
    safetensors.torch.save_file(weights, folder / WEIGHTS)


def load_exported(folder: str | Path) -> ExportedEncoder:
    """Return what `save_encoder` wrote, on the CPU in evaluation mode.

    Draws nothing from torch's generator.

    Raises:
        RunError: nothing that Manta saved is there, or the weights do not fit.
    """
    encoder, preprocess = load_saved(folder)
    return ExportedEncoder(encoder, **preprocess)


def rebuild(folder: str | Path) -> Encoder:
    """Return the encoder alone of `load_exported`."""
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
    # timm describes the weights it would have loaded; these are others.
    provenance = {"tag": "manta", "num_classes": 0, "origin_url": None, "paper_ids": None}
    save_config_for_hf(
        weighted(exported.encoder),
        str(folder / TIMM_DESCRIPTION),
        model_config={"num_classes": 0, "pretrained_cfg": preprocessing | provenance},
        model_args=arguments(config, image_size=size),
    )


def _verify(encoder: Encoder, folder: Path, *, by_timm: bool, image_size: int) -> None:
    """Compare what the folder gives with `encoder`, on noise; leaves no trace in the encoder or in
    any generator."""
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
            # Devices round differently; another architecture or a missing weight is far outside.
            if not error < 1e-2:
                raise RunError(
                    f"{folder} does not give back the encoder saved in it (relative error "
                    f"{error:.2g})"
                )
