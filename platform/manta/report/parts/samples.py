"""Images that a page shows, with their features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Samples:
    """Held-out images with their features.

    Attributes:
        thumbnails: `[Q, h, w, 3]` uint8.
        features, random_features: `[Q, D]` float32, of the trained and of the untrained encoder.
        labels: `[Q]` int64, or None without labels.
    """

    thumbnails: Array
    features: Array
    random_features: Array
    labels: Array | None
