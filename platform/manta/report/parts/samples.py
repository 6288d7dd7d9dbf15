"""Images that a page shows, with their features."""

from __future__ import annotations

from collections.abc import Sequence
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
        labels: `[Q]` int64, below 0 for none, or None without labels.
        classes: names of labels from 0; None: they are called by their numbers.
        captions: what is said of each; None where nothing is.
        as_text: captions stand in place of pictures.
    """

    thumbnails: Array
    features: Array
    random_features: Array
    labels: Array | None
    classes: list[str] | None = None
    captions: Sequence[str] | None = None
    as_text: bool = False

    def named(self, label: int) -> str:
        """Return a label's class, or its number; "none" below 0."""
        if label < 0:
            return "none"
        return self.classes[label] if self.classes and label < len(self.classes) else str(label)
