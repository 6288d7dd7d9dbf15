"""Reader of sentences for the graph of an encoder, which takes the numbers of their tokens.

A registered model carries a copy of this file, and MLflow loads it with the graph: it imports
nothing of Manta.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

TOKENIZER, LONGEST = "tokenizer.json", "tokens.txt"
"""Files beside the graph: the vocabulary, and how many tokens of a sentence count."""
ENDED = -1
"""Number that stands where a sentence has ended."""


class SentenceModel:
    """Model from sentences to features, as MLflow calls it.

    Args:
        graph: takes token numbers `[N, T]` int64.
        folder: with the vocabulary.
    """

    def __init__(self, graph: Any, folder: Path) -> None:
        from tokenizers import Tokenizer

        self.graph = graph
        self.tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.longest = int((folder / LONGEST).read_text())

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> npt.NDArray[np.float32]:
        """Return `[N, D]` float32.

        Args:
            data: sentences: a list, an array, a series or a table of one column.
        """
        features: npt.NDArray[np.float32] = self.graph.predict(self.numbers(_sentences(data)))
        return features

    def numbers(self, sentences: Iterable[str]) -> npt.NDArray[np.int64]:
        """Return token numbers `[N, T]`, -1 where a sentence has ended."""
        encode = self.tokenizer.encode
        rows = [encode(_read(one), add_special_tokens=False).ids for one in sentences]
        rows = [row[: self.longest] for row in rows]
        numbers = np.full((len(rows), max(map(len, rows), default=1) or 1), ENDED, dtype=np.int64)
        for place, row in enumerate(rows):
            numbers[place, : len(row)] = row
        return numbers


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> SentenceModel:
    """Return the model in MLflow's folder; MLflow calls this."""
    import mlflow.pytorch

    return SentenceModel(mlflow.pytorch._load_pyfunc(path, model_config), Path(path))


def _sentences(data: Any) -> list[str]:
    """Return the sentences of whatever MLflow passes on."""
    if isinstance(data, str):
        return [data]
    flat = np.asarray(data, dtype=object).reshape(-1)
    return [str(one) for one in flat]


def _read(sentence: str) -> str:
    """Return a sentence without the mark of its encoding, control characters as blanks."""
    controls = dict.fromkeys([*range(32), *range(127, 160)], " ")
    return sentence.removeprefix("\ufeff").translate(controls).strip()
