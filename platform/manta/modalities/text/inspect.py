"""Inspection of sentences at an ingest: what is kept of them, and what is measured."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import ClassVar

from manta.modalities import Inspected
from manta.modalities.text.learning import GivenVocabulary, VocabularyLearner
from manta.modalities.text.reading import text_of


@dataclass(frozen=True)
class TextInspector:
    """Inspector that keeps UTF-8 text with something to read as it is.

    Its length is in characters. It measures `bytes` of the text as a vocabulary sees it, which no
    number of tokens exceeds by more than one, `characters` and `words`.

    Args:
        vocabulary: that the dataset will have.
    """

    vocabulary: VocabularyLearner | GivenVocabulary
    column: ClassVar[str] = "text"

    def __call__(self, data: bytes, *, measure: bool) -> Inspected:
        text = text_of(data)
        seen = unicodedata.normalize("NFKC", text).lower()
        measures = {
            "bytes": len(seen.encode()),
            "characters": len(text),
            "words": len(text.split()),
        }
        return Inspected(data, len(text), measures)
