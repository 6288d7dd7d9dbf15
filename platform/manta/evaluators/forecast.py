"""Forecasts of a long series by a ridge regression on frozen features of what came before.

As in Yue et al. 2022 (TS2Vec): the encoder stays as it is, a ridge regression from its features of
a window of `context` values gives the next `horizon` values of every channel, and its penalty is
chosen on a validation part. Errors are of values standardised by the first part, which comes before
the others in time.

Ours: predictions are differences to the last value of the window, in deviations of the window where
the encoder sees windows normalised by row. Beside it stands a floor that learns no features: the
same ridge regression on the window's values less the last one, one for all channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

from manta.data.sources import SourceOptions, open_source
from manta.encoders import DenseEncoder, TokenEncoder
from manta.errors import ConfigError, DataError
from manta.evaluators._base import (
    EVALUATORS,
    EncoderAccess,
    EncoderEvaluator,
    EncoderEvaluatorConfig,
    Features,
    Scores,
)
from manta.evaluators._metrics import Metric
from manta.functional.ridge import ridge
from manta.modalities.series.decoder import LEAF, filled
from manta.modalities.series.packing import unpack
from manta.ragged import Ragged

WHOLE = 1 << 40
"""Window that no recording is longer than."""
PART = 512
"""Windows that are taken at a time, which bounds the memory."""
ALPHAS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)


class ForecastConfig(EncoderEvaluatorConfig):
    """Settings of the series to forecast, and of the regression."""

    name: Literal["forecast"] = "forecast"
    data: str = Field(description="one long recording: a CSV with a row for each point in time")
    column: str | None = Field(None, description="channels to take, with commas; None: all")
    horizons: tuple[int, ...] = Field((24,), min_length=1, description="values ahead, one or more")
    context: int = Field(512, ge=2, description="values before, which the encoder sees")
    parts: tuple[float, float, float] = Field(
        (0.6, 0.2, 0.2),
        description="to learn from, to choose the penalty on, to score on, in the order of time: "
        "shares, or numbers of values (ETTh1: [8640, 2880, 2880])",
    )
    features: Literal["pooled", "last", "all"] = Field(
        "pooled", description="of a window: the vector, the last frame or token, or all of them"
    )
    normalise: Literal["row", "data"] = Field(
        "row", description="how the encoder's data were normalised: as data.normalise of its run"
    )
    alphas: tuple[float, ...] = Field(ALPHAS, min_length=1, description="penalties to choose from")

    @field_validator("horizons")
    @classmethod
    def _ahead(cls, horizons: tuple[int, ...]) -> tuple[int, ...]:
        if min(horizons) < 1:
            raise ValueError("a horizon is at least 1 value ahead")
        return horizons


def _metrics(prefix: str, of: str) -> dict[str, Metric]:
    names = (("mse", "Squared error"), ("mae", "Absolute error"))
    return {
        f"{prefix}_{name}_{{h:d}}": Metric(
            f"{title} {{h}} ahead{of}", "Mean over standardised values.", better="lower"
        )
        for name, title in names
    }


METRICS = {
    **_metrics("forecast", ""),
    **_metrics("forecast_floor", ", by values alone"),
    "forecast_alpha_{h:d}": Metric(
        "Penalty, {h} ahead", "Chosen on the validation part.", kind="setting"
    ),
}


@EVALUATORS.register("forecast")
class Forecast(EncoderEvaluator[ForecastConfig]):
    """Errors of forecasts from frozen features: `forecast_mse_24`, `forecast_mae_24`.

    `forecast_floor_mse_24` and `forecast_floor_mae_24` are those of a ridge regression on the
    values themselves, without an encoder; `forecast_alpha_24` is the penalty that was chosen.
    """

    Config = ForecastConfig
    title = "Forecasts"
    about = "How well a ridge regression on frozen features tells the values to come."
    metrics = METRICS
    modalities = frozenset({"series"})

    @torch.no_grad()
    def evaluate_encoder(self, access: EncoderAccess, features: Features) -> Scores:
        config = self.config
        series = Recording.read(config)
        raw = RawInputs(series, config.context)
        embedded = EncodedInputs.of(access, series, config)
        scores: dict[str, float] = {}
        for horizon in config.horizons:
            floor = forecast(raw, series, horizon, config)
            ours = forecast(embedded, series, horizon, config)
            scores |= {
                f"forecast_mse_{horizon}": ours.mse,
                f"forecast_mae_{horizon}": ours.mae,
                f"forecast_floor_mse_{horizon}": floor.mse,
                f"forecast_floor_mae_{horizon}": floor.mae,
                f"forecast_alpha_{horizon}": ours.alpha,
            }
        return scores


@dataclass(frozen=True, slots=True)
class Recording:
    """A long recording, standardised.

    Attributes:
        values: `[T, C]` float32.
        stops: where the three parts end.
    """

    values: Tensor
    stops: tuple[int, int, int]

    @classmethod
    def read(cls, config: ForecastConfig) -> Recording:
        """Read the recording that the settings name.

        Raises:
            DataError: it cannot be read, is not one recording, or is too short.
        """
        settings = (("window", WHOLE),)
        options = SourceOptions(
            modality="series", column=config.column, labels="none", settings=settings
        )
        source = open_source(config.data, options)
        samples = [sample for unit in source.units() for sample in source.read(unit)]
        reason = next((sample.reason for sample in samples if sample.reason), None)
        if len(samples) != 1 or samples[0].data is None:
            what = reason or f"holds {len(samples)} recordings"
            raise DataError(
                f"{config.data} {what}; the forecast evaluator's data must be one recording"
            )
        values = filled(unpack(samples[0].data).values)
        stops = _stops(config.parts, len(values))
        room = (stops[0] - config.context, stops[1] - stops[0], stops[2] - stops[1])
        if min(room) < max(config.horizons):
            raise DataError(
                f"{config.data} has {len(values):,} values in time, too few for one forecast in "
                "each part; set the forecast evaluator's context, horizons or parts"
            )
        first = values[: stops[0]]
        deviation = first.std(axis=0)
        flat = np.where(deviation > 0, deviation, 1.0)
        standard = (values - first.mean(axis=0)) / flat
        return cls(torch.from_numpy(standard.astype(np.float32)), stops)

    @property
    def channels(self) -> int:
        return self.values.shape[1]

    def ends(self, part: int, context: int, horizon: int) -> Tensor:
        """Return the first places after windows whose forecasts lie in a part, `[n]` int64."""
        start = context if part == 0 else self.stops[part - 1]
        return torch.arange(start, self.stops[part] - horizon + 1)

    def windows(self, ends: Tensor, context: int) -> Tensor:
        """Return what lies before some places, `[n, context, C]`."""
        return self.values[ends.unsqueeze(1) + torch.arange(-context, 0)]

    def changes(self, ends: Tensor, horizon: int) -> Tensor:
        """Return what follows, less the last value before it: `[n, C, horizon]`."""
        ahead = self.values[ends.unsqueeze(1) + torch.arange(horizon)]
        return (ahead - self.values[ends - 1].unsqueeze(1)).transpose(1, 2)


@dataclass(frozen=True, slots=True)
class RawInputs:
    """Values of windows, less the last one, as inputs of one regression for all channels."""

    series: Recording
    context: int

    @property
    def groups(self) -> list[list[int]]:
        return [list(range(self.series.channels))]

    def __call__(self, ends: Tensor, channels: Sequence[int]) -> Tensor:
        """Return the inputs at some places and channels, `[n, channels, D]`."""
        windows = self.series.windows(ends, self.context)[:, :, list(channels)]
        return (windows - windows[:, -1:]).transpose(1, 2)


@dataclass(frozen=True, slots=True)
class EncodedInputs:
    """Features of windows as inputs.

    Attributes:
        features: `[T, 1, D]` of all channels together, or `[T, C, D]` of each by itself.
        deviations: `[T, C]` that forecasts are in.
    """

    features: Tensor
    deviations: Tensor

    @property
    def groups(self) -> list[list[int]]:
        """Channels that have a regression together: all where each is encoded by itself."""
        channels = list(range(self.deviations.shape[1]))
        is_apart = self.features.shape[1] == len(channels)
        return [channels] if is_apart else [[channel] for channel in channels]

    def __call__(self, ends: Tensor, channels: Sequence[int]) -> Tensor:
        which = list(channels)
        features = self.features[ends]
        features = features[:, which] if features.shape[1] > 1 else features
        scale = self.deviations[ends][:, which].unsqueeze(2)
        return torch.cat([features * scale, scale], dim=2)

    @classmethod
    def of(cls, access: EncoderAccess, series: Recording, config: ForecastConfig) -> EncodedInputs:
        """Encode the windows before every place that a forecast begins at.

        Raises:
            ConfigError: the encoder takes another number of channels, or has no frames.
        """
        taken = _channels_of(access)
        if taken not in (1, series.channels):
            raise ConfigError(
                f"forecast: the encoder takes {taken} channels, and {config.data} has "
                f"{series.channels}; choose as many by the evaluator's column"
            )
        length = series.stops[2]
        deviations = torch.ones(length, series.channels)
        parts = []
        for ends in torch.split(torch.arange(config.context, length), PART):
            windows = series.windows(ends, config.context)
            if config.normalise == "row":
                deviation, mean = torch.std_mean(windows, dim=1, correction=0)
                deviations[ends] = deviation
                scale = torch.where(deviation > 1e-6, deviation, 1.0)
                windows = (windows - mean.unsqueeze(1)) / scale.unsqueeze(1)
            if taken == 1:
                windows = windows.transpose(1, 2).flatten(0, 1).unsqueeze(2)
            vectors = _vectors(access, windows, config.features)
            parts.append(vectors.view(len(ends), -1, vectors.shape[1]))
        features = torch.cat(parts)
        spread, mean = torch.std_mean(features[: series.stops[0] - config.context], dim=(0, 1))
        features = (features - mean) / torch.where(spread > 1e-6, spread, 1.0)
        before = features.new_zeros(config.context, *features.shape[1:])
        return cls(torch.cat([before, features]), deviations)


@dataclass(frozen=True, slots=True)
class Errors:
    """Mean errors of forecasts in the last part, and the penalty that was chosen."""

    mse: float
    mae: float
    alpha: float


def forecast(inputs: Any, series: Recording, horizon: int, config: ForecastConfig) -> Errors:
    """Return the errors of ridge regressions from inputs to the values ahead.

    Args:
        inputs: `RawInputs` or `EncodedInputs`.
    """
    ends = [series.ends(part, config.context, horizon) for part in range(3)]
    sums = np.zeros((2, 2, len(config.alphas)))  # of validation and test, squares and sizes
    for channels in inputs.groups:
        solutions = ridge(_pairs(inputs, series, ends[0], channels, horizon), config.alphas)
        for part in (1, 2):
            for x, y in _pairs(inputs, series, ends[part], channels, horizon):
                for place, (weight, bias) in enumerate(solutions):
                    error = x @ weight + bias - y
                    sums[part - 1, 0, place] += float(error.square().sum())
                    sums[part - 1, 1, place] += float(error.abs().sum())
    counts = [len(ends[part]) * series.channels * horizon for part in (1, 2)]
    validation, test = (sums[part] / counts[part] for part in (0, 1))
    best = int((np.sqrt(validation[0]) + validation[1]).argmin())
    return Errors(float(test[0, best]), float(test[1, best]), config.alphas[best])


def _pairs(
    inputs: Any, series: Recording, ends: Tensor, channels: list[int], horizon: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield inputs `[n, D]` and what they should give, `[n, horizon]`, in float64."""
    for part in torch.split(ends, PART):
        x = inputs(part, channels).flatten(0, 1).double()
        yield x, series.changes(part, horizon)[:, channels].flatten(0, 1).double()


def _vectors(access: EncoderAccess, windows: Tensor, which: str) -> Tensor:
    """Return `[n, D]` of windows `[n, context, channels]`, on the CPU.

    Raises:
        ConfigError: the encoder has neither frames nor tokens.
    """
    if which == "pooled":
        return access.embed({LEAF: windows}).cpu()
    encoder: Any = access.encoder
    x = access.prepared({LEAF: windows})
    if isinstance(encoder, DenseEncoder):
        frames = encoder.feature_map(x).flatten(2)
    elif isinstance(encoder, TokenEncoder):
        frames = encoder.tokens(x)[:, encoder.prefix_tokens :].mT
    else:
        raise ConfigError("forecast: this encoder has no frames; set features=pooled")
    frames = frames[:, :, -1] if which == "last" else frames.flatten(1)
    return frames.float().cpu()


def _channels_of(access: EncoderAccess) -> int:
    data = next(iter(access.rows("bank", 1)))[0][LEAF]
    values = data.values if isinstance(data, Ragged) else cast(Tensor, data)
    return int(values.shape[-1])


def _stops(parts: Sequence[float], length: int) -> tuple[int, int, int]:
    """Return where three parts end, given as shares or numbers of values."""
    are_shares = sum(parts) <= 1
    sizes = [int(part * length) if are_shares else int(part) for part in parts]
    first, second, third = np.cumsum(sizes).clip(max=length).tolist()
    return first, second, third
