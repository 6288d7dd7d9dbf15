"""Decoder of sentences into one leaf: the numbers of their tokens."""

from __future__ import annotations

from dataclasses import dataclass

from manta.leaves import Array, Layout, Leaf
from manta.modalities import BadSample, Draw
from manta.modalities.text.reading import excerpt, text_of
from manta.modalities.text.vocabulary import Ids, Vocabulary

LEAF = "text"
_BYTES_A_TOKEN = 64
"""Of a text longer than so many bytes for each token of a row, only a part is cut into tokens."""


@dataclass(frozen=True)
class TextDecoder:
    """Decoder of UTF-8 text into `{"text": [T] int32}`, the numbers of its tokens.

    Nothing is put before or after them: what an encoder wants there it adds itself.

    Args:
        vocabulary: of the tokens.
        tokens: longest T; of a longer text a stretch of as many, drawn in training and the
            beginning in evaluations.
        cuts: whether such a stretch is drawn; False: it is always the beginning.
    """

    vocabulary: Vocabulary
    tokens: int
    cuts: bool = True

    @property
    def layout(self) -> Layout:
        return {LEAF: Leaf("int32", (None,), self.tokens)}

    @property
    def draws(self) -> bool:
        return self.cuts

    def __call__(self, data: bytes, draw: Draw | None) -> dict[str, Array]:
        if draw is None or not self.cuts:
            return {LEAF: self.vocabulary.ids(self._text(data, 0.0))[: self.tokens]}
        place, start = draw.uniform(2).tolist()
        ids = self.vocabulary.ids(self._text(data, place))
        free = len(ids) - self.tokens
        first = min(int(start * (free + 1)), free) if free > 0 else 0
        return {LEAF: ids[first : first + self.tokens]}

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise ValueError("a row has a token at least")

    def ids(self, text: str) -> Ids:
        """Return the numbers of a text's tokens, as in an evaluation."""
        # Half of a pair, which is no text, is refused as what it is in bytes.
        row: Ids = self(text.encode("utf-8", "surrogatepass"), None)[LEAF]
        return row

    def _text(self, data: bytes, place: float) -> str:
        """Return the text, or of a long one the part at a place."""
        most = _BYTES_A_TOKEN * self.tokens
        if len(data) <= most:
            return text_of(data)
        try:
            return text_of(excerpt(data, place, most))
        except BadSample:  # a stretch of blanks, or bytes that are none of UTF-8
            return text_of(data)
