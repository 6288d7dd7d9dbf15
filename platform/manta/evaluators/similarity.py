"""Similarity of pairs as people see it: rank correlation with the cosines of frozen features.

As in SentEval (Conneau & Kiela 2018) and the STS tasks (Agirre et al. 2012 and later): nothing is
trained; the cosine of two sentences' features is held against a score that people gave. On SICK
(Marelli et al. 2014) that is relatedness without the regression that SentEval puts in between.

A correlation is no mean over pairs, but to first order its error is one: of its influence function
(Croux & Dehon 2010, for ranks). Scores per pair are its values about the correlation, so that their
mean is the correlation itself, and intervals and paired tests of other evaluators hold here too.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from scipy.stats import rankdata
from torch import Tensor

from manta.data.sources import Sample, SourceOptions, open_source
from manta.errors import DataError
from manta.evaluators._base import (
    EVALUATORS,
    EncoderAccess,
    EncoderEvaluator,
    EncoderEvaluatorConfig,
    Features,
    Scores,
)
from manta.evaluators._metrics import FLOOR, Metric
from manta.modalities import BadSample
from manta.ragged import Leaves, joined

Values = npt.NDArray[np.float64]
USUAL = (
    ("sentence_A", "sentence_B", "relatedness_score"),  # SICK
    ("sentence1", "sentence2", "score"),  # STS-B
    ("sentence1", "sentence2", "label"),
    ("sentence1", "sentence2", "similarity_score"),
    ("text1", "text2", "score"),
    ("left", "right", "score"),
    ("2", "3", "1"),  # the STS tasks, without a header
)
"""Columns of the two sides and of the score, as people name them."""
FEWEST = 3
_WORD = re.compile(r"\w\w+")


class SimilarityConfig(EncoderEvaluatorConfig):
    """Settings of the pairs."""

    name: Literal["similarity"] = "similarity"
    pairs: str = Field(
        description="CSV, TSV, JSON lines or Parquet with a pair and its score in each row: two "
        "sentences, or two paths of files of other samples"
    )
    left: str | None = Field(
        None, description="column of one side; None: as SICK, STS-B or the STS tasks have it"
    )
    right: str | None = Field(None, description="column of the other side")
    score: str | None = Field(None, description="column of the scores; larger ones are more alike")
    split: str = Field("all", description="part to read, where the file has a column of parts")
    rows: int = Field(50_000, ge=FEWEST, description="pairs, at most: the first ones")
    batch: int = Field(
        64, ge=1, description="samples that go through the encoder at a time; bounds the memory"
    )

    @model_validator(mode="after")
    def _all_or_none(self) -> SimilarityConfig:
        given = [one is not None for one in (self.left, self.right, self.score)]
        if any(given) and not all(given):
            raise ValueError("left, right and score are set together, or none of them")
        return self


METRICS = {
    "similarity_spearman": Metric(
        "Rank correlation with people",
        "Spearman's, of cosines and scores.",
        short="Spearman",
        better="higher",
    ),
    "similarity_pearson": Metric(
        "Linear correlation with people",
        "Pearson's, of cosines and scores.",
        short="Pearson",
        better="higher",
    ),
    "similarity_pairs": Metric(
        "Pairs with a score", "Of which both sides could be read.", kind="setting"
    ),
}


@EVALUATORS.register("similarity")
class Similarity(EncoderEvaluator[SimilarityConfig]):
    """Correlation of cosines with people's scores of pairs: `similarity_spearman`.

    `similarity_pearson` is the linear one. Of sentences `floor_similarity_spearman` is what the
    cosines of their words alone give, weighted by how rare they are. `similarity_pairs` were
    scored; pairs without a score, or with a side that cannot be read, are left out.
    """

    Config = SimilarityConfig
    title = "Similarity of pairs"
    about = "Whether pairs that people find alike are alike in the features, without any training."
    metrics = METRICS

    @torch.no_grad()
    def evaluate_encoder(self, access: EncoderAccess, features: Features) -> Scores:
        config = self.config
        pairs = list(islice(read_pairs(config, access.modality), config.rows))
        vectors = embedded(access, [side for pair in pairs for side in pair.sides], config.batch)
        pairs = [pair for pair in pairs if all(side in vectors for side in pair.sides)]
        if len(pairs) < FEWEST:
            raise DataError(
                f"{config.pairs} has {len(pairs)} pairs with a score whose sides can be read; "
                f"similarity takes {FEWEST}"
            )
        people = np.array([pair.score for pair in pairs])
        left, right = (
            torch.stack([vectors[pair.sides[side]] for pair in pairs]).double() for side in (0, 1)
        )
        cosines = F.cosine_similarity(left, right).numpy()
        scores: dict[str, float | Tensor] = {
            "similarity_spearman": torch.from_numpy(spearman(cosines, people)),
            "similarity_pearson": torch.from_numpy(pearson(cosines, people)),
            "similarity_pairs": float(len(pairs)),
        }
        if access.modality == "text":
            words = tfidf_cosines([pair.sides for pair in pairs])
            for name, correlated in (("spearman", spearman), ("pearson", pearson)):
                floor = torch.from_numpy(correlated(words, people))
                scores[f"{FLOOR}similarity_{name}"] = floor
        return scores


@dataclass(frozen=True, slots=True)
class Pair:
    """Two samples, encoded, and how alike people find them."""

    sides: tuple[bytes, bytes]
    score: float


def read_pairs(config: SimilarityConfig, modality: str) -> Iterator[Pair]:
    """Yield the pairs that have two sides and a score.

    Raises:
        DataError: there is no such file or column, or a score is no number.
    """
    left, right, score = _columns(config, modality)
    sides = (_samples(config, modality, side, score) for side in (left, right))
    for one, other in zip(*sides, strict=True):
        if one.data is None or other.data is None or one.label is None:
            continue
        try:
            value = float(one.label)
        except ValueError:
            raise DataError(
                f"{config.pairs}: column {score} holds {str(one.label)[:40]!r}, not a number; set "
                "the similarity evaluator's score"
            ) from None
        yield Pair((one.data, other.data), value)


def _columns(config: SimilarityConfig, modality: str) -> tuple[str, str, str]:
    if config.left is not None and config.right is not None and config.score is not None:
        return config.left, config.right, config.score
    for left, right, score in USUAL:
        with suppress(DataError):
            for side in (left, right):
                next(_samples(config, modality, side, score), None)
            return left, right, score
    if not _is_there(config, modality):
        raise DataError(f"there are no pairs at {config.pairs}; set the evaluator's pairs")
    raise DataError(
        f"{config.pairs} has no columns with the names of SICK or STS-B; set the similarity "
        "evaluator's left, right and score"
    )


def _is_there(config: SimilarityConfig, modality: str) -> bool:
    try:
        open_source(config.pairs, SourceOptions(modality=modality))
    except DataError:
        return False
    return True


def _samples(config: SimilarityConfig, modality: str, side: str, score: str) -> Iterator[Sample]:
    options = SourceOptions(config.split, side, score, modality=modality)
    source = open_source(config.pairs, options)
    for unit in source.units():
        yield from source.read(unit)


def embedded(access: EncoderAccess, samples: Sequence[bytes], batch: int) -> dict[bytes, Tensor]:
    """Return the features `[D]` of each different sample, on the CPU; none of one that is bad."""
    readable: dict[bytes, Leaves] = {}
    found: dict[bytes, Tensor] = {}
    for sample in dict.fromkeys(samples):
        with suppress(BadSample):
            readable[sample] = access.decoded([sample])
        if len(readable) == batch:
            found |= _vectors(access, readable)
            readable = {}
    return found | _vectors(access, readable) if readable else found


def _vectors(access: EncoderAccess, rows: dict[bytes, Leaves]) -> dict[bytes, Tensor]:
    vectors = access.embed(joined(list(rows.values()))).cpu()
    return dict(zip(rows, vectors, strict=True))


def pearson(x: Values, y: Values) -> Values:
    """Return `[N]` scores whose mean is Pearson's correlation, 0 where either is constant."""
    a, b = _standardised(x), _standardised(y)
    r = np.mean(a * b)
    scores: Values = a * b - r / 2 * (a**2 + b**2) + r
    return scores if a.any() and b.any() else np.zeros(len(x))


def spearman(x: Values, y: Values) -> Values:
    """Return `[N]` scores whose mean is Spearman's correlation, 0 where either is constant.

    It is Pearson's of the shares of smaller values, which are themselves means over pairs.
    """
    u, v = ((rankdata(one) - 0.5) / len(one) for one in (x, y))
    a, b = _standardised(u), _standardised(v)
    if not a.any() or not b.any():
        return np.zeros(len(x))
    r = np.mean(a * b)
    by_x = _share(x, u, (b - r * a) / (len(x) * u.std()))
    return pearson(u, v) + by_x + _share(y, v, (a - r * b) / (len(y) * v.std()))


def _share(x: Values, u: Values, weights: Values) -> Values:
    """Return what each value adds to the weighted sum of the shares of smaller values, `[N]`."""
    _, place = np.unique(x, return_inverse=True)
    of_value = np.bincount(place, weights)
    above: Values = of_value[::-1].cumsum()[::-1] - of_value / 2
    return above[place] - np.sum(weights * u)


def _standardised(x: Values) -> Values:
    deviation = x.std()
    is_flat = deviation <= 1e-12 * max(float(np.abs(x).max()), 1e-300)
    return np.zeros(len(x)) if is_flat else (x - x.mean()) / deviation


def tfidf_cosines(pairs: Sequence[tuple[bytes, bytes]]) -> Values:
    """Return the cosine of the tf-idf vectors of each two sentences.

    Words of two letters or more in small letters count 1 + log(times), and the log of how rare they
    are among all these sentences, as scikit-learn smooths it.
    """
    counts = [[Counter(_WORD.findall(side.decode().lower())) for side in pair] for pair in pairs]
    rows = Counter(word for pair in counts for side in pair for word in side)
    total = 1 + 2 * len(pairs)
    rare = {word: math.log(total / (1 + count)) + 1 for word, count in rows.items()}
    return np.array([_cosine(*(_weighed(side, rare) for side in pair)) for pair in counts])


def _weighed(words: Counter[str], rare: dict[str, float]) -> dict[str, float]:
    return {word: (1 + math.log(count)) * rare[word] for word, count in words.items()}


def _cosine(one: dict[str, float], other: dict[str, float]) -> float:
    lengths = [math.sqrt(sum(value**2 for value in side.values())) for side in (one, other)]
    product = sum(value * other.get(word, 0.0) for word, value in one.items())
    return product / (lengths[0] * lengths[1]) if all(lengths) else 0.0
