"""What samples are called in lines and pages: the one place that turns "images" into "clips"."""

from __future__ import annotations

import re
from dataclasses import dataclass

_OF_IMAGES = re.compile(r"\b(an )?(images?)\b", re.IGNORECASE)
_VOWELS = "aeiou"


@dataclass(frozen=True, slots=True)
class Noun:
    """What samples are called.

    Attributes:
        plural: such as "images", "clips".
        singular: such as "image", "clip".
    """

    plural: str
    singular: str

    @property
    def with_article(self) -> str:
        """One of them: "an image", "a clip"."""
        return f"{'an' if self.singular[0] in _VOWELS else 'a'} {self.singular}"

    def said(self, text: str) -> str:
        """Return a text that was written of images, such as an evaluator's title, of these."""
        return text if self == IMAGES else _OF_IMAGES.sub(self._replaced, text)

    def _replaced(self, match: re.Match[str]) -> str:
        article, word = match.groups()
        mine = self.plural if word.lower() == "images" else self.singular
        mine = self.with_article if article else mine
        return mine[:1].upper() + mine[1:] if match[0][0].isupper() else mine


IMAGES = Noun("images", "image")
ROWS = Noun("rows", "row")
"""Of a modality that is not installed here."""
