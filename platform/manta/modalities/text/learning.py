"""What is learnt of a whole dataset of sentences: its vocabulary, or which one was given."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from manta.errors import ConfigError
from manta.files import Place
from manta.modalities import BadSample
from manta.modalities.text.reading import text_of
from manta.modalities.text.vocabulary import MASK, PAD, UNKNOWN, Vocabulary, check_installed

KEY = "vocabulary"
"""Name of a vocabulary's record in a dataset's stats."""
_LEAST_TIMES = 2
"""How often two tokens must follow one another to become one."""
_MOST_OF_A_ROW = 1 << 16
"""Characters of a row that are learnt from: a line of 10 MB has no more to say than a page."""
_FOLDERS = {
    "tokenizer.json": None,
    "manifest.json": ("stats", KEY),
    "run.json": ("stats", KEY),
    "manta.json": ("preprocess", "tokenizer"),
}
"""Files by which a folder is known to have a vocabulary, and where it is in them."""


@dataclass(frozen=True)
class VocabularyLearner:
    """Learner of byte-level pairs (Sennrich et al. 2016), of which any text can be made.

    Args:
        size: tokens, at most.
        rows: to learn from, at most.
        lowercase: whether capitals are taken for small letters.
    """

    size: int
    rows: int
    lowercase: bool

    def __call__(self, rows: Iterable[bytes]) -> dict[str, Any]:
        """Return the record of a vocabulary that depends on the rows alone."""
        check_installed()
        from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

        steps = [normalizers.NFKC(), *([normalizers.Lowercase()] if self.lowercase else [])]
        tokenizer = Tokenizer(models.BPE())
        tokenizer.normalizer = normalizers.Sequence(steps)
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self.size,
            min_frequency=_LEAST_TIMES,
            special_tokens=[PAD, UNKNOWN, MASK],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(_texts(rows), trainer)
        return {KEY: Vocabulary(tokenizer.to_str()).record()}


@dataclass(frozen=True)
class GivenVocabulary:
    """What stands in the place of a learner where a vocabulary is given.

    Args:
        vocabulary: as it was given.
        digest: of its content.
    """

    vocabulary: Vocabulary
    digest: str
    rows: int = 0

    @classmethod
    def of(cls, location: str) -> GivenVocabulary:
        """Return the vocabulary of a file or a folder.

        Raises:
            ConfigError: there is none.
        """
        vocabulary = vocabulary_at(location)
        return cls(vocabulary, vocabulary.digest)

    def __call__(self, rows: Iterable[bytes]) -> dict[str, Any]:
        return {KEY: self.vocabulary.record()}


def vocabulary_at(location: str) -> Vocabulary:
    """Return the vocabulary of a `tokenizer.json`, or of a dataset, a run or an exported encoder.

    Raises:
        ConfigError: there is none, or it cannot be read.
    """
    place = Place.of(location)
    try:
        is_folder = place.is_dir()
        vocabulary = _in_folder(place) if is_folder else Vocabulary(place.read().decode())
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ConfigError(f"data.vocabulary: {location} cannot be read: {reason}") from None
    _ = vocabulary.size  # refuses what is no tokenizer.json
    return vocabulary


def _in_folder(place: Place) -> Vocabulary:
    for name, keys in _FOLDERS.items():
        if not (place / name).exists():
            continue
        text = (place / name).read().decode()
        if keys is None:
            return Vocabulary(text)
        record = json.loads(text)
        for key in keys:
            record = record[key]
        return Vocabulary.from_record(record)
    raise ConfigError(
        f"data.vocabulary: {place.url} has none; give a tokenizer.json, or the folder of a dataset "
        "of sentences, of a run or of an exported encoder"
    )


def _texts(rows: Iterable[bytes]) -> Iterable[str]:
    for row in rows:
        try:
            yield text_of(row)[:_MOST_OF_A_ROW]
        except BadSample:  # damaged after it was looked at: nothing to learn from
            continue
