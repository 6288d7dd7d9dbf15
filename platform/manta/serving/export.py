"""Encoders with their preprocessing, from samples to features, and as folders of weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from manta.encoders import Encoder, EncoderConfig, load_saved
from manta.encoders.concatenation import config_of
from manta.encoders.saved import DESCRIPTION, WEIGHTS, description_in, saved_state, weighted
from manta.errors import RunError
from manta.modalities import MODALITIES
from manta.modalities.preprocess import Preprocess
from manta.ragged import moved
from manta.spec import Spec

TIMM_DESCRIPTION = "config.json"


class ExportedEncoder(nn.Module):
    """Encoder with its preprocessing inside, in evaluation mode.

    `torch.export` accepts it with every axis free that is -1 in the signature.

    Args:
        source: settings of `data` by which sources made the samples that it was trained on, such as
            the window that recordings were cut into.
    """

    def __init__(
        self,
        encoder: Encoder,
        preprocess: Preprocess,
        *,
        source: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.source = dict(source or {})
        self.preprocess = preprocess
        self.encoder = encoder
        self.embed_dim = encoder.embed_dim
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return features `[N, D]` float32 of samples as `preprocess.signature` describes them."""
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
            built for the spec of the preprocessing.

    Raises:
        RunError: the loaded encoder differs from the one that was saved.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    encoder, preprocess = exported.encoder, exported.preprocess
    config = config_of(encoder, config)
    by_timm = _timm_expresses(encoder, config, preprocess)
    if by_timm:
        _write_timm(exported, folder, config)
    else:
        # From a `config.json` of an earlier export, timm would build another network.
        (folder / TIMM_DESCRIPTION).unlink(missing_ok=True)
    save_weights(encoder, folder)
    description = {
        "encoder": config.model_dump(mode="json", exclude={"start"}),
        "embed_dim": encoder.embed_dim,
        "preprocess": preprocess.describe(),
        "modality": preprocess.modality,
        "spec": preprocess.spec.describe(),
        "timm": by_timm,
    } | ({"source": exported.source} if exported.source else {})
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")
    _verify(encoder, folder, by_timm=by_timm, spec=preprocess.spec)
    return SavedEncoder(folder, by_timm)


def save_weights(encoder: Encoder, folder: Path) -> None:
    """Write an encoder's weights alone, without the description."""
    # Copies, since safetensors refuses tied and channels-last tensors.
    weights = {k: v.detach().cpu().contiguous().clone() for k, v in saved_state(encoder).items()}
    safetensors.torch.save_file(weights, folder / WEIGHTS)


def load_exported(folder: str | Path) -> ExportedEncoder:
    """Return the encoder that `save_encoder` wrote, on the CPU in evaluation mode.

    This draws nothing from torch's generator.

    Raises:
        RunError: the folder holds no encoder that Manta saved, or the weights do not fit.
    """
    encoder, described, modality = load_saved(folder)
    preprocess = MODALITIES[modality].preprocess_from(described)
    return ExportedEncoder(encoder, preprocess, source=description_in(folder).get("source"))


def rebuild(folder: str | Path) -> Encoder:
    """Return the encoder of `load_exported` without its preprocessing."""
    return load_exported(folder).encoder


def _timm_expresses(encoder: Encoder, config: EncoderConfig, preprocess: Preprocess) -> bool:
    from manta.encoders.timm import TimmEncoder, expressible

    is_timm = isinstance(encoder, TimmEncoder) and expressible(config)
    return is_timm and preprocess.modality == "image"


def _write_timm(exported: ExportedEncoder, folder: Path, config: EncoderConfig) -> None:
    """Write timm's `config.json`, with the arguments that the model was built with."""
    from timm.models._hub import save_config_for_hf

    from manta.encoders.timm import arguments

    described = exported.preprocess.describe()
    spec = exported.preprocess.spec
    preprocessing = {
        "input_size": [spec.channels, *spec.size],
        "test_input_size": [spec.channels, *spec.size],
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
        model_args=arguments(config, spec),
    )


def _verify(encoder: Encoder, folder: Path, *, by_timm: bool, spec: Spec) -> None:
    """Check on noise that the folder loads as the same encoder.

    The encoder's mode and all random generators stay as they were.

    Raises:
        RunError: the outputs differ.
    """
    training, device = encoder.training, next(encoder.parameters()).device
    generator = torch.Generator().manual_seed(0)
    x = spec.example(2, generator=generator)
    loaded: list[nn.Module] = [rebuild(folder)]
    if by_timm:
        import timm

        with torch.random.fork_rng(devices=[]):
            loaded.append(timm.create_model(f"local-dir:{folder}", pretrained=True).eval())
    with torch.no_grad():
        expected = encoder.eval().embed(moved(x, device)).cpu()
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
