"""HuBERT and data2vec on their data: equations, what they refuse, unequal rows on two ranks."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import modality_kit
import numpy as np
import pytest
import torch
from modality_kit import SAMPLES, Samples, tones
from objective_kit import config_of, progress_at, wave_of
from torch import Tensor

from conformance.two_ranks import RankCase, assert_two_ranks_are_one
from manta import encoders, objectives
from manta.batch import Batch, DataFacts, View
from manta.encoders import EncoderConfig
from manta.errors import ConfigError
from manta.files import Place
from manta.materials import SampleSequences, write_sequences
from manta.modalities.audio import Audio, AudioConfig
from manta.modalities.audio.views import AudioViewsConfig
from manta.objectives import Objective
from manta.ragged import Ragged, rows_of
from manta.spec import Spec

ROWS, RATE, STEP, UNITS = 8, 4000, 40, 12
AUDIO = Audio(AudioConfig(source="x", sample_rate=RATE, seconds=0.32, mels=None), {})
LENGTHS = torch.linspace(400, 2400, ROWS).long()
WAVE = wave_of([8, 4, 4], [5, 4, 4])


def clips() -> Ragged:
    """Return clips of 0.1 to 0.6 s: tones in noise."""
    seconds = torch.cat([torch.arange(int(length)) / RATE for length in LENGTHS])
    pitch = torch.repeat_interleave(torch.linspace(100, 1500, ROWS), LENGTHS)
    noise = torch.randn(len(seconds), generator=torch.Generator().manual_seed(0))
    return Ragged(0.3 * torch.sin(2 * torch.pi * pitch * seconds) + 0.02 * noise, LENGTHS)


@lru_cache(maxsize=1)
def scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="manta-units-")


@lru_cache(maxsize=1)
def units() -> Path:
    """Return units of every 40 samples, of which the last ones of a clip have none."""
    folder = Path(scratch().name) / "units"
    lengths = ((LENGTHS - 60) // STEP).numpy()
    values = np.random.default_rng(0).integers(0, UNITS, lengths.sum())
    write_sequences(Place.of(folder), lengths, [values], np.uint8, step=STEP)
    return folder


def hubert(
    path: Path, *, dtype: torch.dtype = torch.float64, spec: Spec | None = None, **settings: Any
) -> Objective[Any]:
    torch.manual_seed(0)
    spec = spec or AUDIO.spec
    encoder = encoders.build(WAVE, spec)
    config = config_of("hubert", clusters=UNITS, mask_length=3, **settings)
    facts = DataFacts(ROWS, spec, {"units": path})
    return objectives.build(config, encoder, facts).to(dtype).train()


def batch_of(
    objective: Objective[Any], which: slice, step: int, views: Mapping[str, Any] | None = None
) -> Batch:
    """Return the views of a rank's rows, made by the rank."""
    pipeline = AUDIO.views(AudioViewsConfig(**(views or {})), objective.needs)
    data, index = {"audio": rows_of(clips(), which)}, torch.arange(ROWS)[which]
    batch = pipeline(data, index, seed=0, step=step, rows=which, global_batch=ROWS)
    return Batch([replace(view, data=view.tensor.double()) for view in batch], batch.index)


def expected_units(view: View, frames: int, *, backwards: Tensor | None = None) -> np.ndarray:
    """Return the unit whose begin is nearest to each frame's, frame by frame."""
    assert view.box is not None
    sequences = SampleSequences(units())
    out = np.full((ROWS, frames), -1)
    for row in range(ROWS):
        begin, end = view.box[row].tolist()
        own = sequences[torch.tensor([row])].values.tolist()
        for frame in range(frames):
            place = begin + frame * 80 * (end - begin) / 1280
            if backwards is not None and backwards[row]:
                place = end - (frame + 1) * 80 * (end - begin) / 1280
            number = int(np.floor(place / STEP + 0.5))
            if 0 <= number < len(own):
                out[row, frame] = own[number]
    return out


def expected_loss(objective: Objective[Any], view: View, targets: np.ndarray) -> float:
    """Return HuBERT's loss, frame by frame."""
    assert view.mask is not None
    tokens = objective.encoder.tokens(view.data, hide=view.mask)
    projected = objective.projector(tokens).detach().numpy()
    codes = objective.codes.weight.detach().numpy()
    means = np.zeros((ROWS, 2))
    for row in range(ROWS):
        each: list[list[float]] = [[], []]
        for frame in range(16):
            if targets[row, frame] < 0:
                continue
            p = projected[row, frame]
            cosines = codes @ p / np.linalg.norm(codes, axis=1) / np.linalg.norm(p)
            scores = np.exp(cosines / 0.1)
            loss = -np.log(scores[targets[row, frame]] / scores.sum())
            each[0 if view.mask[row, frame] else 1].append(loss)
        means[row] = [np.mean(losses) if losses else 0.0 for losses in each]
    alpha: float = objective.config.alpha
    return float(means.mean(0) @ [alpha, 1 - alpha])


@pytest.mark.parametrize("alpha", [1.0, 0.5])
@pytest.mark.parametrize("views", [{}, {"speed": 0.4, "speed_prob": 1.0}], ids=["plain", "faster"])
@pytest.mark.parametrize("backwards", [False, True])
def test_units_of_hidden_frames_are_predicted(
    alpha: float, views: dict[str, Any], backwards: bool
) -> None:
    objective = hubert(units(), alpha=alpha)
    batch = batch_of(objective, slice(0, ROWS), 0, views)
    (view,) = batch.views
    assert view.mask is not None
    assert view.mask.shape == (ROWS, 16)
    flip = torch.arange(ROWS) % 2 == 0 if backwards else None
    view = replace(view, flip=flip)
    targets = expected_units(view, 16, backwards=flip)
    assert (targets < 0).any(), "some frames lie in the silence around their clip"
    terms = objective(Batch([view], batch.index), progress_at(0))
    expected = expected_loss(objective, view, targets)
    assert terms["loss"].item() == pytest.approx(expected, rel=1e-9)
    assert 0 <= terms["accuracy"].item() <= 1


def test_units_are_learnt() -> None:
    objective = hubert(units(), dtype=torch.float32)
    batch = batch_of(objective, slice(0, ROWS), 0)
    batch = Batch([replace(batch.views[0], data=batch.views[0].tensor.float())], batch.index)
    optimizer = torch.optim.Adam(objective.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        loss = objective(batch, progress_at(0))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 0.5 * np.log(UNITS)
    assert losses[-1] < 0.3 * losses[0]


def test_other_encoders_and_rows_without_places_are_refused(tmp_path: Path) -> None:
    facts = DataFacts(ROWS, Spec.image(32), {"units": units()})
    for name in ("test_resnet", "vit_tiny_patch16_224"):
        images = encoders.build(EncoderConfig(name=name), Spec.image(32))
        with pytest.raises(ConfigError, match=r"^objective\.name=hubert needs an encoder of f"):
            objectives.build(config_of("hubert"), images, facts)
    objective = hubert(units())
    batch = batch_of(objective, slice(0, ROWS), 0)
    nowhere = Batch([replace(batch.views[0], box=None)], batch.index)
    with pytest.raises(ConfigError, match="looks units up by the place of a view"):
        objective(nowhere, progress_at(0))
    unmasked = Batch([replace(batch.views[0], mask=None)], batch.index)
    with pytest.raises(ConfigError, match="was given a view without a mask"):
        objective(unmasked, progress_at(0))


WAVES = Samples(lambda: AUDIO, tones, (WAVE,))
"""Clips as waveforms, of which a frame is 80 samples."""
KINDS = {"waves": WAVES, "spectrograms": SAMPLES["audio"], "text": SAMPLES["text"]}


def data2vec(kind: str, **settings: Any) -> Objective[Any]:
    """Build the objective around a teacher that is unlike the student."""
    objective = modality_kit.objective_of("data2vec", KINDS[kind], **settings)
    generator = torch.Generator().manual_seed(1)
    for parameter in objective.teacher.parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        parameter.data.add_(0.05 * noise)
    return objective


def rows_at(kind: str, objective: Objective[Any], rows: slice, step: int) -> Batch:
    return modality_kit.batch_of(KINDS[kind], objective, rows, step)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [{}, {"mask_length": 3, "top_layers": 2}], ids=str)
def test_latents_of_hidden_tokens_are_predicted(kind: str, settings: dict[str, Any]) -> None:
    objective = data2vec(kind, **settings)
    assert not objective.teacher.training
    batch = rows_at(kind, objective, slice(0, ROWS), 0)
    (view,) = batch.views
    assert view.mask is not None
    prefix = objective.encoder.prefix_tokens
    tokens = objective.encoder.tokens(view.data, hide=view.mask)[:, prefix:]
    predicted = objective.predictor(tokens.flatten(0, 1)).view_as(tokens).detach().numpy()
    layers = [layer.numpy() for layer in objective.teacher.layers(view.data)]
    lengths = [view.mask.shape[1]] * ROWS
    if isinstance(view.data, Ragged):
        lengths = view.data.lengths.tolist()
        assert len(set(lengths)) > 1
    rows = []
    for row, length in enumerate(lengths):
        target = np.zeros((length, tokens.shape[2]))
        for layer in layers[-settings.get("top_layers", 1) :]:
            values = layer[row, :length]
            scaled = (values - values.mean(0)) / np.sqrt(values.var(0) + 1e-5)
            target += scaled / settings.get("top_layers", 1)
        error = np.square(predicted[row, :length] - target).mean(1)
        hidden = view.mask[row, :length].numpy()
        assert hidden.any()
        assert not view.mask[row, length:].any()
        rows.append(error[hidden].mean())
    terms = objective(batch, progress_at(0))
    assert terms["loss"].item() == pytest.approx(np.mean(rows), rel=1e-9)
    assert terms["target_std"] > 0.1


def test_several_masks_have_one_target() -> None:
    objective = data2vec("waves", masks=3, mask_length=2)
    batch = rows_at("waves", objective, slice(0, ROWS), 0)
    first, *others = batch.views
    assert len(others) == 2
    for other in others:
        assert torch.equal(first.tensor, other.tensor)
        assert not torch.equal(first.mask, other.mask)
    each = [
        objective(Batch([view], batch.index), progress_at(0))["loss"].item() for view in batch.views
    ]
    loss = objective(batch, progress_at(0))["loss"].item()
    assert loss == pytest.approx(np.mean(each), rel=1e-9)


def test_a_hidden_tokens_number_is_told_too() -> None:
    objective = data2vec("text", language=0.5)
    batch = rows_at("text", objective, slice(0, ROWS), 0)
    (view,) = batch.views
    assert isinstance(view.data, Ragged)
    assert view.mask is not None
    terms = objective(batch, progress_at(0))
    tokens = objective.encoder.tokens(view.data, hide=view.mask)
    logits = objective.words(tokens).detach().numpy()
    rows = []
    for row, ids in enumerate(torch.split(view.data.values, view.data.lengths.tolist())):
        each = []
        for place in np.flatnonzero(view.mask[row].numpy()):
            scores = logits[row, place]
            each.append(np.log(np.exp(scores).sum()) - scores[int(ids[place])])
        rows.append(np.mean(each))
    assert terms["language"].item() == pytest.approx(np.mean(rows), rel=1e-9)
    expected = terms["latents"].item() + 0.5 * terms["language"].item()
    assert terms["loss"].item() == pytest.approx(expected, rel=1e-9)
    with pytest.raises(AssertionError, match=r"objective\.language: only token numbers can"):
        data2vec("waves", language=0.5)


def test_ts2vec_takes_waves_that_end_within_a_frame() -> None:
    config = AudioConfig(source="x", sample_rate=RATE, seconds=0.33, mels=None)
    odd = Samples(lambda: Audio(config, {}), tones, (WAVE,))
    objective = modality_kit.objective_of("ts2vec", odd)
    loss = objective(modality_kit.batch_of(odd, objective), progress_at(0))["loss"]
    loss.backward()
    assert loss.isfinite()
    assert objective.encoder.convolutions.layers[0].weight.grad.any()


def test_data2vec_refuses_what_it_cannot_hide() -> None:
    facts = DataFacts(ROWS, Spec.image(32))
    images = encoders.build(EncoderConfig(name="test_resnet"), Spec.image(32))
    with pytest.raises(ConfigError, match="needs an encoder whose tokens can be hidden"):
        objectives.build(config_of("data2vec"), images, facts)
    with pytest.raises(AssertionError, match=r"top_layers 3 is more than the encoder's 2 blocks"):
        data2vec("waves", top_layers=3)


def test_two_ranks_are_one(tmp_path: Path) -> None:
    """Their clips and sentences have unequal numbers of tokens."""
    language = partial(data2vec, "text", language=0.5)
    cases = [
        RankCase("hubert", partial(hubert, units()), batch_of, ROWS),
        RankCase("data2vec", language, partial(rows_at, "text"), ROWS),
    ]
    assert_two_ranks_are_one(cases, tmp_path)
