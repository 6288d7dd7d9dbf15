"""Reader of waves of any rate for the graph of an encoder, which takes waves of one.

A registered model carries a copy of this file, and MLflow loads it with the graph: it imports
nothing of Manta. Decoders resample by it too, so that both give the same samples.
"""

from __future__ import annotations

import json
import math
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

SETTINGS = "waves.json"
"""File beside the graph: the `rate` that it takes, and the `longest` part of a clip in seconds."""
_FINEST = 2000
"""Largest number in the ratio of two rates; a stranger one is rounded, by less than 1 in 10^6."""
_BETA = 8.0
"""Shape of the Kaiser window of the resampling filter: 80 dB of what would fold back is gone."""
_HALF_WIDTH = 16
"""Samples of the lower rate that the filter reaches to either side."""
Wave = npt.NDArray[np.float32]


class WaveModel:
    """Model from waves of any rate to features, as MLflow calls it.

    Args:
        graph: takes waves `[N, T]` float32 of one rate.
        folder: with the settings.
    """

    def __init__(self, graph: Any, folder: Path) -> None:
        settings = json.loads((folder / SETTINGS).read_text())
        self.graph, self.rate, self.longest = graph, settings["rate"], settings["longest"]

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> Wave:
        """Return `[N, D]` float32.

        Args:
            data: waves `[N, T]` float32, full scale at 1; what is no number is silence.
            params: `rate`, samples a second of these waves.
        """
        rate = int((params or {}).get("rate", self.rate))
        waves = np.nan_to_num(np.asarray(data, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        start, stop = middle(waves.shape[1], rate, self.longest)
        rows = [resampled(wave, rate, self.rate) for wave in waves[:, start:stop]]
        most = most_samples(self.rate, self.longest)
        features: Wave = self.graph.predict(np.stack(rows)[:, :most])
        return features


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> WaveModel:
    """Return the model in MLflow's folder; MLflow calls this."""
    import mlflow.pytorch

    return WaveModel(mlflow.pytorch._load_pyfunc(path, model_config), Path(path))


def most_samples(rate: int, longest: float) -> int:
    """Return the samples of the longest clip that is decoded, at least 1.

    Args:
        longest: of clips, in seconds.
    """
    return max(round(rate * longest), 1)


def middle(frames: int, rate: int, longest: float) -> tuple[int, int]:
    """Return first and one past the last frame of the part that stands for a clip."""
    most = most_samples(rate, longest)
    start = max(frames - most, 0) // 2
    return start, min(start + most, frames)


def resampled(wave: Wave, rate: int, target: int) -> Wave:
    """Return a wave at another rate, through a windowed sinc; the same array at its own rate.

    It has `ceil(len(wave) * target / rate)` samples. SciPy does it, and not a library that some
    machines of a cluster may lack: samples are the same everywhere.
    """
    if rate == target:
        return wave
    from scipy.signal import resample_poly  # takes long to import, and may not be needed

    ratio = Fraction(target, rate)
    if max(ratio.numerator, ratio.denominator) > _FINEST:
        ratio = Fraction(target / rate).limit_denominator(
            _FINEST if rate > target else max(1, _FINEST * rate // target)
        )
    up, down = ratio.numerator, ratio.denominator
    out: Wave = resample_poly(wave, up, down, window=_taps(up, down)).astype(np.float32)
    length = math.ceil(len(wave) * target / rate)
    return out[:length] if len(out) >= length else np.pad(out, (0, length - len(out)))


@lru_cache(maxsize=16)
def _taps(up: int, down: int) -> npt.NDArray[np.float32]:
    """Return the low-pass filter between two rates, at `up` times the first."""
    from scipy.signal import firwin

    widest = max(up, down)
    taps = firwin(2 * _HALF_WIDTH * widest + 1, 1 / widest, window=("kaiser", _BETA))
    return np.asarray(taps, dtype=np.float32)
