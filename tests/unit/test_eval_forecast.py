"""Forecasts by a ridge regression on frozen features: its arithmetic, its parts, its refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from manta.encoders import Encoder
from manta.errors import ConfigError, DataError
from manta.evaluators import EncoderAccess, build
from manta.evaluators.forecast import ForecastConfig, Recording

CONTEXT, HORIZON, PARTS = 16, 4, (240, 80, 80)


class Lags(Encoder):
    """The values of a window are its features, in another order."""

    takes = ("sequence",)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.embed_dim = CONTEXT * channels

    def embed(self, x: Tensor) -> Tensor:
        return x.flip(2).flatten(1)


class Frames(Lags):
    """Frames are the values themselves."""

    dense_dim = 2

    def feature_map(self, x: Tensor) -> Tensor:
        return x


class Nothing(Lags):
    """An encoder that tells nothing of its input."""

    def embed(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x), 3)


def access(encoder: Encoder, channels: int) -> EncoderAccess:
    def rows(split: str, limit: int | None = None) -> Any:
        yield {"series": torch.zeros(1, CONTEXT, channels)}, None

    def prepare(data: Any) -> Tensor:
        return data["series"].transpose(1, 2)

    return EncoderAccess(encoder, prepare, 0, torch.device("cpu"), rows, "series")


def written(folder: Path, length: int = 420) -> Path:
    """Write two waves in noise, the second of which follows the first, in units far apart."""
    generator = np.random.default_rng(0)
    time = np.arange(length)
    first = np.sin(time / 5) + 0.2 * generator.standard_normal(length)
    second = 1000 + 50 * np.roll(first, 2) + generator.standard_normal(length)
    both = (first, second)
    lines = [f"2016-01-01 {n:05d},{a},{b}" for n, (a, b) in enumerate(zip(*both, strict=True))]
    path = folder / "long.csv"
    path.write_text("date,a,b\n" + "\n".join(lines) + "\n")
    return path


def scores(path: Path, encoder: Encoder, channels: int, **settings: Any) -> dict[str, float]:
    given = {"context": CONTEXT, "horizons": (HORIZON,), "parts": PARTS} | settings
    config = ForecastConfig(data=str(path), **given)
    return build(config).mean_scores(None, access(encoder, channels))


def by_sklearn(path: Path, alpha: float) -> tuple[float, float]:
    """Return the floor's errors, computed by scikit-learn's Ridge."""
    table = np.loadtxt(path, delimiter=",", skiprows=1, usecols=(1, 2)).astype(np.float32)
    first = table[: PARTS[0]].astype(np.float64)
    values = (table - first.mean(0)) / first.std(0)
    inputs: dict[int, list[np.ndarray]] = {0: [], 1: []}
    targets: dict[int, list[np.ndarray]] = {0: [], 1: []}
    bounds = {0: (CONTEXT, PARTS[0]), 1: (PARTS[0] + PARTS[1], sum(PARTS))}
    for part, (start, stop) in bounds.items():
        for end in range(start, stop - HORIZON + 1):
            for channel in range(2):
                last = values[end - 1, channel]
                inputs[part].append(values[end - CONTEXT : end, channel] - last)
                targets[part].append(values[end : end + HORIZON, channel] - last)
    ridge = Ridge(alpha=alpha).fit(np.array(inputs[0]), np.array(targets[0]))
    error = ridge.predict(np.array(inputs[1])) - np.array(targets[1])
    return float(np.square(error).mean()), float(np.abs(error).mean())


def test_the_floor_is_scikit_learns_ridge_on_the_values(tmp_path: Path) -> None:
    path = written(tmp_path)
    found = scores(path, Nothing(1), 1, alphas=(3.0,))
    mse, mae = by_sklearn(path, 3.0)
    assert found["forecast_floor_mse_4"] == pytest.approx(mse, rel=1e-4)
    assert found["forecast_floor_mae_4"] == pytest.approx(mae, rel=1e-4)
    assert found["forecast_alpha_4"] == 3.0


@pytest.mark.parametrize("normalise", ["row", "data"])
def test_features_that_hold_the_values_forecast_as_the_values_do(
    tmp_path: Path, normalise: str
) -> None:
    path = written(tmp_path)
    of_each = scores(path, Lags(1), 1, normalise=normalise)
    # Values that are not normalised by row tell the level too.
    least = 0.9 if normalise == "row" else 0.5
    assert least < of_each["forecast_mse_4"] / of_each["forecast_floor_mse_4"] < 1.1
    of_both = scores(path, Lags(2), 2, normalise=normalise)
    # The second channel follows the first, which only an encoder of both sees.
    assert of_both["forecast_mse_4"] < 0.9 * of_each["forecast_mse_4"]
    nothing = scores(path, Nothing(1), 1, normalise=normalise)
    assert nothing["forecast_mse_4"] > 2 * nothing["forecast_floor_mse_4"]


def test_frames_are_taken_one_or_all(tmp_path: Path) -> None:
    path = written(tmp_path)
    last = scores(path, Frames(2), 2, features="last", normalise="data")
    every = scores(path, Frames(2), 2, features="all", normalise="data")
    pooled = scores(path, Frames(2), 2, normalise="data")
    assert every["forecast_mse_4"] == pytest.approx(pooled["forecast_mse_4"], rel=1e-3)
    assert last["forecast_mse_4"] > 1.2 * every["forecast_mse_4"]
    with pytest.raises(ConfigError, match="no frames"):
        scores(path, Nothing(2), 2, features="last")


def test_no_part_sees_the_next_ones_values(tmp_path: Path) -> None:
    series = Recording.read(ForecastConfig(data=str(written(tmp_path)), parts=PARTS, context=16))
    assert series.stops == (240, 320, 400)
    ends = [series.ends(part, CONTEXT, HORIZON) for part in range(3)]
    assert [(int(part[0]), int(part[-1]) + HORIZON) for part in ends] == [
        (CONTEXT, 240),
        (240, 320),
        (320, 400),
    ]
    of_first = series.values[:240]
    torch.testing.assert_close(of_first.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    shares = Recording.read(ForecastConfig(data=str(written(tmp_path)), context=16))
    assert shares.stops == (252, 336, 420)


def test_what_cannot_be_forecast_is_refused_in_one_line(tmp_path: Path) -> None:
    path = written(tmp_path, length=60)
    with pytest.raises(DataError, match="set the forecast evaluator's context"):
        scores(path, Lags(1), 1)
    with pytest.raises(ConfigError, match=r"takes 3 channels, and .* has 2"):
        scores(written(tmp_path), Lags(3), 3)
    wide = tmp_path / "wide.csv"
    wide.write_text("1.5,2.5,3.5\n" * 3)
    with pytest.raises(DataError, match="must be one recording"):
        scores(wide, Lags(1), 1)
    with pytest.raises(DataError, match="no column 'c'"):
        scores(written(tmp_path), Lags(1), 1, column="c")
