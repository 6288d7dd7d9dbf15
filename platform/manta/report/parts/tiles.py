"""One sample among others on a page: its picture or its words, and its sound."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from manta.report.parts import images
from manta.report.parts.samples import Array

MOST_SOUND = 1_500_000
"""Letters of sound that a page holds."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A sample among others.

    Attributes:
        image: a URI that holds its picture.
        alt: what it is, for those who do not see it.
        agrees: whether it has the query's label; None where there are no labels.
        caption: what is said of it; empty for nothing.
        as_text: the caption stands in place of the picture.
        sound: its number among the page's sounds; None for none.
    """

    image: str
    alt: str
    agrees: bool | None
    caption: str = ""
    as_text: bool = False
    sound: int | None = None


@dataclass(slots=True)
class Looks:
    """What samples look and sound like.

    Attributes:
        thumbnails: `[S, h, w, 3]` uint8.
        captions: of all samples; None where there are none.
        as_text: captions stand in place of pictures.
        sounds: WAV files, empty for none; None where there are no sounds at all.
        played: URIs of the sounds that tiles have asked for, by number.
    """

    thumbnails: Array
    captions: Sequence[str] | None = None
    as_text: bool = False
    sounds: Sequence[bytes] | None = None
    played: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, arrays: Mapping[str, Any], *, as_text: bool = False) -> Looks:
        """Return those of arrays as they are kept.

        Captions and sounds of another number than the pictures do not count.
        """
        thumbnails = np.asarray(arrays["thumbnails"])
        captions, lengths = arrays.get("captions"), arrays.get("sound_lengths")
        if captions is not None and len(captions) != len(thumbnails):
            captions = None
        sounds = None
        if lengths is not None and len(lengths) == len(thumbnails):
            whole, stops = np.asarray(arrays["sounds"]).tobytes(), np.cumsum(lengths)
            both = zip(stops - lengths, stops, strict=True)
            sounds = [whole[start:stop] for start, stop in both]
        words = None if captions is None else [str(one) for one in captions]
        return cls(thumbnails, words, as_text and words is not None, sounds)

    def taken(self, rows: Array) -> Looks:
        """Return those of some rows."""
        places = [int(row) for row in rows]
        return Looks(
            self.thumbnails[rows],
            None if self.captions is None else [self.captions[row] for row in places],
            self.as_text,
            None if self.sounds is None else [self.sounds[row] for row in places],
        )

    def tile(self, row: int, alt: str, agrees: bool | None = None) -> Tile:
        """Return a sample as a tile; with its sound while the page has room for it."""
        caption = "" if self.captions is None else self.captions[row]
        image = "" if self.as_text else images.data_uri(self.thumbnails[row])
        tile = Tile(image, alt, agrees, caption, self.as_text)
        sound = b"" if self.sounds is None else self.sounds[row]
        if row not in self.played:
            uri = f"data:audio/wav;base64,{base64.b64encode(sound).decode()}"
            if not sound or sum(map(len, self.played.values())) + len(uri) > MOST_SOUND:
                return tile
            self.played[row] = uri
        return replace(tile, sound=row)
