"""Text: sentences and other short texts, as the numbers of their tokens."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from manta.errors import ConfigError
from manta.files import Place
from manta.leaves import Columns, Packed
from manta.modalities import MODALITIES, Modality, Picture
from manta.modalities.text.config import TextConfig
from manta.modalities.text.decoder import LEAF, TextDecoder
from manta.modalities.text.inspect import TextInspector
from manta.modalities.text.learning import KEY, GivenVocabulary, VocabularyLearner, vocabulary_at
from manta.modalities.text.picture import written
from manta.modalities.text.vocabulary import Vocabulary, check_installed
from manta.spec import Spec

if TYPE_CHECKING:
    from torch import Generator

    from manta.modalities.text.floor import WeightedWords
    from manta.modalities.text.preprocess import TextPreprocess
    from manta.ragged import Leaves
    from manta.views import ViewsConfig

__all__ = ["Text", "TextConfig", "TextDecoder", "TextInspector", "Vocabulary"]

_LONGEST_CAPTION = 200


@MODALITIES.register("text")
class Text(Modality[TextConfig]):
    """Sentences and other short texts in any language, cut into tokens; needs tokenizers."""

    Config = TextConfig
    name = "text"
    views_name = "text"
    noun = "sentences"
    suffixes = (".txt",)
    columns = ("text", "sentence", "sentences", "content", "document", "review", "question")
    searchable: ClassVar[tuple[str, ...]] = ("tokens",)
    captioned = True

    @property
    def is_complete(self) -> bool:
        return KEY in self.stats or self.data.vocabulary is not None

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """That of the dataset; before an ingest the one that is given.

        Without either it has no tokens but those of bytes, as one that is learnt from nothing.
        """
        if KEY in self.stats:
            return Vocabulary.from_record(self.stats[KEY])
        if self.data.vocabulary is not None:
            return vocabulary_at(self.data.vocabulary)
        return Vocabulary.from_record(VocabularyLearner(300, 0, True)([])[KEY])

    @property
    def spec(self) -> Spec:
        return Spec("ids", 1, (self.data.tokens,), self.vocabulary.size)

    def decoder(self) -> TextDecoder:
        measured = self.stats.get("bytes")
        cuts = measured is None or measured["most"] + 1 > self.data.tokens
        return TextDecoder(self.vocabulary, self.data.tokens, cuts)

    def inspector(self) -> TextInspector:
        return TextInspector(self.learner())

    def learner(self) -> VocabularyLearner | GivenVocabulary:
        check_installed()
        if self.data.vocabulary is not None:
            return GivenVocabulary.of(self.data.vocabulary)
        size, rows = self.data.vocabulary_size, self.data.vocabulary_rows
        return VocabularyLearner(size, rows, self.data.lowercase)

    def check_learnt(self) -> None:
        given = self.data.vocabulary
        if given is None or KEY not in self.stats or not Place.of(given).exists():
            return
        if vocabulary_at(given).digest != self.stats[KEY]["digest"]:
            raise ConfigError(
                f"data.vocabulary={given} is not that of the dataset, which was ingested with "
                "another one; ingest its source again with it, or leave it out"
            )

    def preprocess(self, config: ViewsConfig) -> TextPreprocess:
        from manta.modalities.text.preprocess import TextPreprocess

        return TextPreprocess(self.vocabulary.text, self.data.tokens)

    @classmethod
    def preprocess_from(cls, description: Mapping[str, Any]) -> TextPreprocess:
        from manta.modalities.text.preprocess import TextPreprocess

        text = Vocabulary.from_record(description["tokenizer"]).text
        return TextPreprocess(text, description["tokens"])

    def floor(self) -> WeightedWords:
        from manta.modalities.text.floor import WeightedWords

        return WeightedWords()

    def picture(self, row: Columns) -> Picture:
        """Return the words of a decoded row, which its caption has as well."""
        column = row[LEAF]
        ids = column.values if isinstance(column, Packed) else column[0]
        text = self.vocabulary.read(ids)
        return Picture(written(text), text[:_LONGEST_CAPTION])

    def sampled(self, rows: int, generator: Generator) -> Leaves:
        import torch

        from manta.ragged import Ragged

        lengths = torch.tensor([max(self.data.tokens - row % 2, 1) for row in range(rows)])
        ordinary = torch.from_numpy(self.vocabulary.ordinary)
        drawn = torch.randint(len(ordinary), (int(lengths.sum()),), generator=generator)
        return {LEAF: Ragged(ordinary[drawn], lengths)}
