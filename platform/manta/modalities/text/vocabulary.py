"""Vocabularies: from texts to token numbers and back, by the library tokenizers.

A vocabulary is the text of a `tokenizer.json`. It is learnt from the data or given at an ingest,
and travels with the dataset, the run and the exported encoder.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from manta.errors import ConfigError

PAD, UNKNOWN, MASK = "[PAD]", "[UNK]", "[MASK]"
"""Tokens of a learnt vocabulary that stand for no text, numbers 0 to 2."""
_OTHER_NAMES = {PAD: "<pad>", UNKNOWN: "<unk>", MASK: "<mask>"}
Ids = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Vocabulary:
    """What the tokens are, and how a text is cut into them.

    Args:
        text: of a `tokenizer.json`.
    """

    text: str = field(repr=False)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Vocabulary:
        """Return the vocabulary of which `record` gave plain data."""
        return cls(zlib.decompress(base64.b64decode(record["tokenizer"])).decode())

    def record(self) -> dict[str, Any]:
        """Return plain data, for a dataset's stats."""
        packed = base64.b64encode(zlib.compress(self.text.encode(), 9)).decode()
        return {"digest": self.digest, "size": self.size, "tokenizer": packed}

    @cached_property
    def digest(self) -> str:
        """Name of the content."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    @cached_property
    def size(self) -> int:
        """One more than the largest token number; the mask's is there even if no token is."""
        return max(self._highest, self.mask) + 1

    @cached_property
    def pad(self) -> int | None:
        """Number that stands where a row has ended; None where no token does."""
        return self._named(PAD)

    @cached_property
    def mask(self) -> int:
        """Number of what stands in the place of a hidden token."""
        named = self._named(MASK)
        return self._highest + 1 if named is None else named

    @cached_property
    def ordinary(self) -> Ids:
        """Numbers of the tokens that stand for text."""
        added = loaded(self.text).get_added_tokens_decoder()
        special = {number for number, token in added.items() if token.special}
        numbers = set(loaded(self.text).get_vocab(with_added_tokens=True).values())
        return np.array(sorted(numbers - special), dtype=np.int32)

    def ids(self, text: str) -> Ids:
        """Return the numbers of a text's tokens; at least one."""
        numbers = loaded(self.text).encode(text, add_special_tokens=False).ids
        return np.array(numbers or [self._named(UNKNOWN) or 0], dtype=np.int32)

    def read(self, ids: Iterable[int]) -> str:
        """Return the text of token numbers; of a hidden one the mask's name."""
        numbers = [int(number) for number in ids]
        if self._named(MASK) is None:
            numbers = [number for number in numbers if number != self.mask]
        return str(loaded(self.text).decode(numbers, skip_special_tokens=False)).strip()

    @cached_property
    def _highest(self) -> int:
        return int(max(loaded(self.text).get_vocab(with_added_tokens=True).values()))

    def _named(self, name: str) -> int | None:
        tokenizer = loaded(self.text)
        number = tokenizer.token_to_id(name)
        number = tokenizer.token_to_id(_OTHER_NAMES[name]) if number is None else number
        return None if number is None else int(number)


def check_installed() -> None:
    """Check that the library tokenizers is there.

    Raises:
        ConfigError: it is not.
    """
    if find_spec("tokenizers") is None:
        raise ConfigError("data.modality=text needs tokenizers; pip install 'manta-ssl[text]'")


@lru_cache(maxsize=8)
def loaded(text: str) -> Any:
    """Return the tokenizer of a `tokenizer.json`, which neither cuts nor pads.

    Raises:
        ConfigError: tokenizers is not installed, or cannot read the text.
    """
    check_installed()
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # tokenizers raises this class alone
        reason = " ".join(str(error).split())[:120]
        raise ConfigError(f"data.vocabulary is no tokenizer.json: {reason}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
