"""Similarity of pairs: correlations and their intervals, files of pairs, any modality."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor

from manta.encoders import Encoder
from manta.errors import ConfigError, DataError
from manta.evaluators import EncoderAccess, build, lost_to_floor, of_encoder
from manta.evaluators.similarity import (
    SimilarityConfig,
    pearson,
    read_pairs,
    spearman,
    tfidf_cosines,
)
from manta.leaves import Leaf
from manta.modalities import BadSample
from manta.modalities.image import ImageDecoder
from odd.case import encoded, write


class Plane:
    """Decoder of two numbers, written as words, into a point."""

    layout: ClassVar[Any] = {"point": Leaf("float32", (2,))}
    draws = False

    def __call__(self, data: bytes, draw: object) -> dict[str, Any]:
        try:
            return {"point": np.array(data.split(), dtype=np.float32)}
        except ValueError:
            raise BadSample("no point") from None


class Same(Encoder):
    """Give what it is given, in rows."""

    embed_dim = 2

    def embed(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def access(modality: str = "text", decoder: Any = None, leaf: str = "point") -> EncoderAccess:
    def rows(split: str, limit: int | None = None) -> Any:
        yield {}, None

    return EncoderAccess(
        Same(),
        lambda data: data[leaf].float(),
        0,
        torch.device("cpu"),
        rows,
        modality,
        decoder or Plane(),
    )


def scored(config: SimilarityConfig, **facts: Any) -> dict[str, float]:
    return build(config).mean_scores(None, access(**facts))


PAIRS = [("1 0", "1 0", 5.0), ("1 0", "1 1", 3.5), ("1 0", "0 1", 1.0), ("1 0", "1 4", 2.0)]
COSINES = [1, 2**-0.5, 0, 17**-0.5]


def written(path: Path, header: str, form: str, separator: str = "\t") -> Path:
    rows = [form.format(left, right, score).replace("|", separator) for left, right, score in PAIRS]
    head = [header.replace("|", separator)] if header else []
    return write(path, "\n".join([*head, *rows]) + "\n")


@pytest.mark.parametrize(
    ("name", "header", "form", "separator"),
    [
        ("sick.txt", "pair_ID|sentence_A|sentence_B|relatedness_score", "7|{}|{}|{}", "\t"),
        ("stsb.csv", "split|Sentence1|Sentence2|Score", "dev|{}|{}|{}", ","),
        ("sts.tsv", "", "{2}|{0}|{1}", "\t"),
    ],
)
def test_files_of_the_usual_forms(
    tmp_path: Path, name: str, header: str, form: str, separator: str
) -> None:
    place = written(tmp_path / name, header, form, separator)
    found = scored(SimilarityConfig(pairs=str(place), batch=2))
    people = [score for *_, score in PAIRS]
    assert found["similarity_spearman"] == pytest.approx(1)
    assert found["similarity_pearson"] == pytest.approx(stats.pearsonr(COSINES, people)[0])
    assert found["similarity_pairs"] == 4
    assert found["floor_similarity_spearman"] == 0  # digits are no words


def test_columns_are_named_and_parquet_is_read(tmp_path: Path) -> None:
    columns = {"a": [p[0] for p in PAIRS], "b": [p[1] for p in PAIRS], "far": [0.0, 1.5, 4, 3]}
    pq.write_table(pa.table(columns), tmp_path / "p.parquet")
    place = str(tmp_path / "p.parquet")
    found = scored(SimilarityConfig(pairs=place, left="a", right="b", score="far"))
    assert found["similarity_spearman"] == pytest.approx(-1)
    with pytest.raises(DataError, match="set the similarity evaluator's left, right and score"):
        scored(SimilarityConfig(pairs=place))
    with pytest.raises(ValidationError, match="are set together"):
        SimilarityConfig(pairs=place, left="a")


def test_pairs_without_a_score_or_a_side_are_left_out(tmp_path: Path) -> None:
    rows = "\t1 0\t1 1\n5\t1 0\t1 0\n1\t1 0\t0 1\n2\tword\t1 0\n4\t1 0\t2 1\n3\t\t1 0\n"
    place = str(write(tmp_path / "sts.tsv", rows))
    found = scored(SimilarityConfig(pairs=place))
    assert (found["similarity_pairs"], found["similarity_spearman"]) == (3, pytest.approx(1))
    with pytest.raises(DataError, match="has 2 pairs with a score"):
        scored(SimilarityConfig(pairs=place, rows=3))


def test_what_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there are no pairs at"):
        scored(SimilarityConfig(pairs=str(tmp_path / "none.tsv")))
    place = str(write(tmp_path / "w.csv", "left,right,score\na b,c d,high\n"))
    with pytest.raises(DataError, match="column score holds 'high', not a number"):
        scored(SimilarityConfig(pairs=place))
    blind = EncoderAccess(Same(), lambda data: data, 0, torch.device("cpu"), None, "text")
    with pytest.raises(ConfigError, match="cannot be decoded"):
        blind.decoded([b"1 0"])


def test_pairs_may_be_files_of_images(tmp_path: Path) -> None:
    colours = {"red": (250, 5, 5), "pink": (250, 90, 90), "blue": (5, 5, 250)}
    for name, colour in colours.items():
        write(tmp_path / f"{name}.png", encoded(colour))
    table = "left,right,score\nred.png,red.png,3\nred.png,pink.png,2\nred.png,blue.png,1\n"
    config = SimilarityConfig(pairs=str(write(tmp_path / "pairs.csv", table)))
    assert len(list(read_pairs(config, "image"))) == 3
    found = scored(config, modality="image", decoder=ImageDecoder(8), leaf="image")
    assert found["similarity_spearman"] == pytest.approx(1)
    assert not any(name.startswith("floor_") for name in found)


def test_scores_are_those_of_scipy_and_their_spread_is_the_jackknife() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=80)
    y = (x + random.normal(size=80)).round(0)  # with ties, as people's scores have
    for ours, theirs in ((spearman, stats.spearmanr), (pearson, stats.pearsonr)):
        scores, value = ours(x, y), theirs(x, y)[0]
        assert scores.mean() == pytest.approx(value, abs=1e-12)
        without = np.array([theirs(np.delete(x, i), np.delete(y, i))[0] for i in range(80)])
        jackknife = value + 79 * (without.mean() - without)
        assert np.corrcoef(jackknife, scores)[0, 1] > 0.995
        assert scores.std() == pytest.approx(jackknife.std(), rel=0.06)
        assert not ours(x, np.ones(80)).any()
        assert ours(x, x).mean() == pytest.approx(1)


def test_floors_that_an_evaluator_gives_belong_to_no_encoder() -> None:
    numbers = {"similarity_spearman": 0.5, "floor_similarity_spearman": 0.6}
    assert of_encoder("", numbers) == numbers
    assert of_encoder("random", numbers) == {"random_similarity_spearman": 0.5}
    assert lost_to_floor(numbers) == ["similarity_spearman"]


def test_tfidf_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(1)
    words = ["Cat", "dogs", "a", "tree", "über", "x1", "sea"]
    texts = [" ".join(random.choice(words, 6)) for _ in range(20)]
    texts[0] = "a"  # of no word
    vectors = TfidfVectorizer(sublinear_tf=True).fit_transform(texts)
    expected = np.asarray(vectors[:10].multiply(vectors[10:]).sum(1)).ravel()
    sides = [(one.encode(), two.encode()) for one, two in zip(texts[:10], texts[10:], strict=True)]
    np.testing.assert_allclose(tfidf_cosines(sides), expected, atol=1e-12)
