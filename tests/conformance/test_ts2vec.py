"""TS2Vec on series: frames lie alike, what is hidden is not seen, ranks are one, it learns."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from objective_kit import config_of, progress_at
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from conformance.two_ranks import RankCase, assert_two_ranks_are_one
from manta import encoders, objectives
from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import EncoderConfig
from manta.errors import ConfigError
from manta.modalities.series import Series, SeriesConfig
from manta.modalities.series.views import SeriesViewsConfig
from manta.objectives import Objective
from manta.objectives.ts2vec import Seen, TS2Vec, common_frames
from manta.ragged import Data, Ragged, rows_of

ROWS, CHANNELS = 8, 2
EQUAL, UNEQUAL = [40] * ROWS, [40, 9, 33, 12, 7, 25, 18, 40]
TCN = EncoderConfig(name="tcn", args={"hidden": 8, "depth": 3, "output": 16, "dropout": 0.0})
PATCHES = EncoderConfig(
    name="patchtst", args={"dim": 16, "depth": 2, "heads": 2, "patch": 2, "dropout": 0.0}
)
RESNET = EncoderConfig(name="resnet1d", args={"widths": [8, 16]})


def modality(lengths: list[int]) -> Series:
    measures = {"length": (min(lengths), max(lengths)), "channels": (CHANNELS, CHANNELS)}
    stats = {name: {"least": least, "most": most} for name, (least, most) in measures.items()}
    return Series(SeriesConfig(source="x"), stats)


def series(lengths: list[int], values: Tensor | None = None) -> Tensor | Ragged:
    generator = torch.Generator().manual_seed(0)
    made = torch.randn(sum(lengths), CHANNELS, generator=generator) if values is None else values
    ragged = Ragged(made, torch.tensor(lengths))
    is_equal = min(lengths) == max(lengths)
    return made.view(len(lengths), -1, CHANNELS) if is_equal else ragged


def objective_of(config: EncoderConfig, lengths: list[int], **settings: Any) -> Objective[Any]:
    torch.manual_seed(0)
    spec = modality(lengths).spec
    encoder = encoders.build(config, spec)
    built = objectives.build(config_of("ts2vec", **settings), encoder, DataFacts(ROWS, spec))
    return built.double().train()


def batch_of(
    lengths: list[int], stretch: bool, objective: Objective[Any], rows: slice, step: int
) -> Batch:
    config = SeriesViewsConfig(crop=(0.3, 1.0), stretch=stretch)
    views = modality(lengths).views(config, objective.needs)
    data, index = {"series": rows_of(series(lengths), rows)}, torch.arange(len(lengths))[rows]
    batch = views(data, index, seed=0, step=step, rows=rows, global_batch=len(lengths))
    return Batch([replace(view, data=doubled(view.data)) for view in batch], batch.index)


def doubled(data: Data) -> Data:
    if isinstance(data, Ragged):
        return Ragged(data.values.double(), data.lengths)
    assert isinstance(data, Tensor)
    return data.double()


@pytest.mark.parametrize("lengths", [EQUAL, UNEQUAL], ids=["equal", "unequal"])
def test_crops_that_keep_their_lengths_meet_in_the_same_values(lengths: list[int]) -> None:
    """A ramp tells what time each frame is of."""
    ramp = torch.cat([torch.arange(length) for length in lengths]).float()
    values = series(lengths, ramp.unsqueeze(1).expand(-1, CHANNELS))
    config = SeriesViewsConfig(preset="plain", crop=(0.3, 1.0), stretch=False)
    views = modality(lengths).views(config, ViewNeeds())
    index = torch.arange(ROWS)
    batch = views({"series": values}, index, seed=3, step=0, global_batch=ROWS)
    seen = []
    for view in batch.views:
        assert isinstance(view.data, Ragged)
        assert view.box is not None
        assert torch.equal(view.box[:, 1] - view.box[:, 0], view.data.lengths.float())
        padded = view.data.padded(-1.0)[0].mT.double()
        seen.append(Seen(padded, view.data.lengths.unsqueeze(1), view.box, view.flip))
    common = common_frames(*seen)
    boxes = torch.stack([one.box for one in seen if one.box is not None])
    lower, upper = boxes[:, :, 0].amax(0), boxes[:, :, 1].amin(0)
    assert torch.equal(common.counts[:, 0], (upper - lower).clamp(min=0).long())
    assert (common.counts > 0).any()
    for row, count in enumerate(common.counts[:, 0].tolist()):
        expected = (lower[row] + torch.arange(count)).double().expand(CHANNELS, -1)
        torch.testing.assert_close(common.first[row, :, :count], expected)
        torch.testing.assert_close(common.second[row, :, :count], expected)


def test_stretched_and_mirrored_views_are_brought_to_the_same_times() -> None:
    """The map's axes are rows and columns, and the box has columns first."""
    times = (torch.arange(8).double() + 0.5) / 8
    left = 2 + 4 * times  # columns 2 to 6 of the source, stretched to 8 frames
    right = 10 - 6 * times  # columns 4 to 10, mirrored
    rows = torch.arange(4).double()
    first, second = (one.expand(1, 1, 4, 8) + 100 * rows.view(4, 1) for one in (left, right))
    counts = torch.tensor([[4, 8]])
    a = Seen(first, counts, torch.tensor([[2.0, 0, 6, 4]]), torch.tensor([False]))
    b = Seen(second, counts, torch.tensor([[4.0, 0, 10, 4]]), torch.tensor([True]))
    common = common_frames(a, b)
    # Columns 4 to 6 are what both show: 2 of the coarser view's, which are 0.75 wide each.
    assert common.counts.tolist() == [[4, 2]]
    expected = torch.tensor([4.5, 5.5]).double() + 100 * rows.view(4, 1)
    torch.testing.assert_close(common.first[0, 0], expected)
    torch.testing.assert_close(common.second[0, 0], expected)


def test_hidden_values_do_not_reach_the_frames() -> None:
    torch.manual_seed(0)
    encoder: Any = encoders.build(TCN, modality(UNEQUAL).spec).eval()
    rows = series(UNEQUAL)
    assert isinstance(rows, Ragged)
    hide = torch.rand(ROWS, 40, generator=torch.Generator().manual_seed(1)) < 0.5
    hidden = hide[torch.arange(40) < rows.lengths.unsqueeze(1)].unsqueeze(1)
    other = Ragged(torch.where(hidden, 7.0, rows.values), rows.lengths)
    torch.testing.assert_close(encoder.frames(other, hide), encoder.frames(rows, hide))
    assert (encoder.frames(other) - encoder.frames(rows)).abs().max() > 0.1
    torch.testing.assert_close(encoder.frames(rows), encoder.feature_map(rows))


CASES = [(TCN, EQUAL, True), (TCN, EQUAL, False), (TCN, UNEQUAL, True), (PATCHES, UNEQUAL, True)]


def test_two_ranks_are_one_of_equal_and_unequal_lengths(tmp_path: Path) -> None:
    cases = [
        RankCase(
            config.name,
            partial(objective_of, config, lengths),
            partial(batch_of, lengths, stretch),
            ROWS,
        )
        for config, lengths, stretch in CASES
    ]
    assert_two_ranks_are_one(cases, tmp_path)


@pytest.mark.parametrize("config", [TCN, PATCHES, RESNET], ids=lambda config: config.name)
@pytest.mark.parametrize("lengths", [EQUAL, UNEQUAL], ids=["equal", "unequal"])
def test_gradients_reach_every_parameter(config: EncoderConfig, lengths: list[int]) -> None:
    settings = {"hide": 0.0} if config.name == "resnet1d" else {}
    objective = objective_of(config, lengths, **settings)
    loss = objective(batch_of(lengths, True, objective, slice(0, ROWS), 0), progress_at(20))["loss"]
    loss.backward()
    assert torch.isfinite(loss)
    for key, parameter in objective.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), key
    trained = [parameter.requires_grad for parameter in objective.encoder.parameters()]
    assert all(trained)


def test_the_order_of_the_samples_does_not_matter() -> None:
    objective = objective_of(TCN, UNEQUAL)
    batch = batch_of(UNEQUAL, True, objective, slice(0, ROWS), 0)
    order = torch.tensor([3, 1, 0, 7, 2, 6, 4, 5])
    views = [
        replace(view, data=rows_of(view.data, order), box=view.box[order], flip=view.flip[order])
        for view in batch
        if view.box is not None and view.flip is not None
    ]
    permuted = objective(Batch(views, batch.index[order]), progress_at(20))["loss"]
    torch.testing.assert_close(permuted, objective(batch, progress_at(20))["loss"])


def test_the_export_is_the_mean_of_the_weights_after_each_step() -> None:
    objective = objective_of(TCN, EQUAL)
    assert isinstance(objective, TS2Vec)
    weight = objective.encoder.get_parameter("entry.weight")
    seen = []
    for step in range(3):
        with torch.no_grad():
            weight.add_(1.0 + step)
        seen.append(weight.detach().clone())
        objective.after_step(Progress(step, 3))
    mean = objective.exported.get_parameter("entry.weight")
    torch.testing.assert_close(mean.data, torch.stack(seen).mean(0))
    assert not mean.requires_grad


def test_an_encoder_that_cannot_hide_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"such as encoder\.name=tcn"):
        objective_of(RESNET, EQUAL)


def test_it_learns_what_series_are() -> None:
    """Waves of three frequencies in noise, told apart by a linear probe."""
    generator = torch.Generator().manual_seed(5)
    kinds = torch.arange(240) % 3
    phase = torch.rand(240, 1, generator=generator)
    period = torch.tensor([16.0, 11.0, 8.0])[kinds].unsqueeze(1)
    waves = (2 * torch.pi * (torch.arange(48) / period + phase)).sin()
    waves = waves + 0.7 * torch.randn(240, 48, generator=generator)
    data = waves.unsqueeze(2).expand(-1, -1, CHANNELS).contiguous()
    lengths = [48] * 240
    args = {"hidden": 16, "depth": 4, "output": 32}
    objective = objective_of(EncoderConfig(name="tcn", args=args), lengths).float()
    pipeline = modality(lengths).views(SeriesViewsConfig(stretch=False), objective.needs)
    optimizer = torch.optim.AdamW(objective.encoder.parameters(), lr=3e-3)

    def score() -> float:
        with torch.no_grad():
            features = objective.exported.eval()(data.mT).numpy()
        probe = LogisticRegression(max_iter=500).fit(features[:120], kinds[:120])
        return float(probe.score(features[120:], kinds[120:]))

    before, losses = score(), []
    for step in range(60):
        index = torch.arange(16 * step, 16 * step + 16) % 240
        batch = pipeline({"series": data[index]}, index, seed=0, step=step, global_batch=16)
        loss = objective(batch, Progress(step, 60))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        objective.after_step(Progress(step, 60))
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    assert score() > before + 0.15  # measured: 0.67 and 0.98
