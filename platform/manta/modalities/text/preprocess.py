"""Preprocessing of sentences, which travels with an exported encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from manta.batch import ViewNeeds
from manta.modalities.preprocess import Preprocess, Reader, Signature
from manta.modalities.text import sentence_reader
from manta.modalities.text.decoder import LEAF, TextDecoder
from manta.modalities.text.sentence_reader import ENDED, LONGEST, TOKENIZER
from manta.modalities.text.views import TextViews, TextViewsConfig
from manta.modalities.text.vocabulary import Vocabulary
from manta.ragged import Data, Ragged
from manta.spec import Spec

_SENTENCES = ("What is the capital of France?", "It rains.")


class TextPreprocess(Preprocess):
    """Preprocessing of sentences into the token numbers that an encoder was evaluated on.

    In a graph, which knows no text, it takes token numbers that the vocabulary gave.

    Args:
        vocabulary: text of its `tokenizer.json`.
        tokens: longest row; of a longer one the beginning counts.
    """

    modality = "text"

    def __init__(self, vocabulary: str, tokens: int) -> None:
        super().__init__()
        self.vocabulary, self.tokens = Vocabulary(vocabulary), tokens
        self.spec = Spec("ids", 1, (tokens,), self.vocabulary.size)
        self.signature = Signature("ids", "int64", (-1, -1))

    def forward(self, raw: Tensor | Sequence[str]) -> Tensor:
        """Return token numbers `[N, T]` int64, negative where a row has ended.

        Args:
            raw: sentences; or token numbers `[N, T]`, the vocabulary's padding or a negative number
                where a row has ended.
        """
        ids = raw if isinstance(raw, Tensor) else self.numbers(raw)
        place = torch.arange(ids.shape[1], device=ids.device)
        is_over = (ids < 0) | (place >= self.tokens)
        if self.vocabulary.pad is not None:
            is_over = is_over | (ids == self.vocabulary.pad)
        return torch.where(is_over, ENDED, ids)

    def numbers(self, texts: Sequence[str]) -> Tensor:
        """Return the token numbers of sentences, `[N, T]` int64, -1 where a row has ended.

        Raises:
            BadSample: a sentence has nothing to read.
        """
        if isinstance(texts, str):
            raise TypeError("give a list of sentences, also of one")
        decoder = self.decoder()
        rows = [torch.from_numpy(decoder.ids(text)).long() for text in texts]
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        whole = torch.cat(rows) if rows else torch.empty(0, dtype=torch.int64)
        return Ragged(whole, lengths).padded(ENDED)[0]

    def ready(self, data: Mapping[str, Data]) -> Ragged:
        """Return decoded rows as the encoder takes them, which is as they are.

        Args:
            data: `text`, ragged rows `[T]` of token numbers.
        """
        return cast(Ragged, data[LEAF])

    def decoder(self) -> TextDecoder:
        return TextDecoder(self.vocabulary, self.tokens, cuts=False)

    def views(self, needs: ViewNeeds) -> TextViews:
        return TextViews(TextViewsConfig(preset="simclr"), needs, self.vocabulary, self.spec)

    def examples(self) -> list[Tensor]:
        usual = min(self.tokens, 16)
        return [self._random(n, t) for n, t in ((1, usual), (2, usual // 2 + 1), (5, usual + 3))]

    def traced(self) -> Tensor:
        # torch.export would take a batch of one for a constant.
        return self._random(2, 7)

    def describe(self) -> dict[str, Any]:
        """Return the spec, and the constructor's arguments as plain data."""
        tokenizer = self.vocabulary.record()
        return {**self.spec.describe(), "tokenizer": tokenizer, "tokens": self.tokens}

    def reader(self) -> Reader:
        files = {TOKENIZER: self.vocabulary.text, LONGEST: str(self.tokens)}
        return Reader(Path(sentence_reader.__file__), files, ("tokenizers",), "string", _SENTENCES)

    def _random(self, rows: int, length: int) -> Tensor:
        """Return random token numbers `[rows, length]`; each row is one shorter than the last."""
        ordinary = torch.from_numpy(self.vocabulary.ordinary).long()
        generator = torch.Generator().manual_seed(0)
        drawn = ordinary[torch.randint(len(ordinary), (rows, length), generator=generator)]
        lengths = (length - torch.arange(rows)).clamp(min=1).unsqueeze(1)
        return torch.where(torch.arange(length) < lengths, drawn, ENDED)
