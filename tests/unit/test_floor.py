"""The floor: features that nothing has learned, their numbers, and what is said of them."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor

from manta import printing
from manta.api.display import metric_rows, metric_table
from manta.data import Holdout, ingest, open_dataset
from manta.data.samples import modality_of
from manta.evaluation.floor import floor_scores, in_place_of, kept_floor
from manta.evaluation.rows import SplitRows
from manta.evaluators import Evaluator, EvaluatorConfig, Features, Scores, build, lost_to_floor
from manta.evaluators.finetune import FinetuneConfig
from manta.evaluators.knn import KNNConfig
from manta.evaluators.lidar import LiDARConfig
from manta.evaluators.rank import RankConfig
from manta.modalities import IMAGES, MODALITIES, Noun, default_modality
from manta.modalities.audio import Audio, AudioConfig
from manta.modalities.audio.mel import Bands
from manta.modalities.image.floor import ColourHistogram
from manta.modalities.series.floor import MOST, RawValues
from manta.modalities.text.floor import WeightedWords
from manta.ragged import Ragged
from manta.report.evaluation.page import write_evaluation
from manta.report.parts.floor import floor_words
from page_reader import Page
from synthetic_evaluation import full


def ragged(*rows: Tensor) -> Ragged:
    return Ragged(torch.cat(rows), torch.tensor([len(row) for row in rows]))


def test_a_histogram_counts_colours_wherever_they_are() -> None:
    images = torch.zeros(3, 3, 4, 4, dtype=torch.uint8)
    images[0, 0, :2] = 255  # half of it is red
    images[1, 0, 2:] = 230  # the other half, in a shade of the same eighth
    images[2, 2] = 255
    shares = ColourHistogram()({"image": images}).square().double().round(decimals=6)
    assert shares.shape == (3, 512)
    assert torch.equal(shares[0], shares[1])
    assert (shares[0, 0], shares[0, 7 * 64]) == (0.5, 0.5)
    assert shares[2, 7] == 1


@pytest.mark.parametrize("mels", [16, None])
def test_statistics_of_a_clip_are_those_of_its_spectrogram(mels: int | None) -> None:
    floor = Audio(AudioConfig(source="", sample_rate=8000, mels=mels), {}).floor()
    noise = torch.Generator().manual_seed(0)
    clips = [torch.randn(n, generator=noise) * 0.1 for n in (4001, 8000, 37)]
    found = floor({"audio": ragged(*clips)})
    bands = Bands.of(8000, mels or 64, 0.064, 0.01)
    for own, clip in zip(found, clips, strict=True):
        levels = bands.spectrogram(clip.numpy())
        expected = np.concatenate([levels.mean(1), levels.std(1)])
        np.testing.assert_allclose(own.numpy(), expected, rtol=1e-3, atol=2e-3)
    assert torch.equal(floor({"audio": ragged(clips[1])})[0], found[1])


def test_raw_values_are_the_rows_stretched_to_one_length() -> None:
    floor = RawValues(6, 2, "row")
    row = torch.arange(12.0).view(1, 6, 2)
    assert floor({"series": row}).tolist() == [[*range(0, 12, 2), *range(1, 12, 2)]]
    short = torch.stack([torch.arange(3.0), torch.arange(3.0) + 5], dim=1)
    both = floor({"series": ragged(row[0], short)})
    assert torch.equal(both[0], floor({"series": row})[0])
    assert (both[1, 0], both[1, 5], both[1, 6]) == (0, 2, 5)
    assert RawValues(100_000, 4, "row")({"series": torch.zeros(1, 10, 4)}).shape == (1, MOST)


def test_rare_tokens_weigh_more_and_the_order_of_tokens_counts() -> None:
    floor = WeightedWords()
    ids = [torch.tensor(row, dtype=torch.int32) for row in ([0, 1], [1, 0], [0, 1], [0], [5])]
    counts = floor({"text": ragged(*ids)})
    assert (counts > 0).sum(1).tolist() == [3, 3, 3, 1, 1], "two tokens and a pair"
    assert torch.equal(counts[0], counts[2])
    assert not torch.equal(counts[0], counts[1])
    assert torch.equal(floor({"text": ragged(ids[1])})[0], counts[1])
    bank, queries = floor.fitted(counts[:4], counts[4:])
    torch.testing.assert_close(bank.norm(dim=1), torch.ones(4))
    # Rows 0 and 1 share both tokens, which are in three and four rows, and not the pair: that is
    # rarer in row 1, so that rows 0 and 2 are alike and row 3 is nearer to row 0 than to row 1.
    cosines = bank @ bank.T
    torch.testing.assert_close(cosines[0, 2], torch.tensor(1.0))
    assert cosines[3, 1] < cosines[3, 0] < cosines[1, 0] < 1
    torch.testing.assert_close(queries @ bank.T, torch.zeros(1, 4), atol=1e-6, rtol=0)
    torch.testing.assert_close(queries.norm(dim=1), torch.ones(1))


def test_values_as_they_come_are_scaled_by_the_bank_alone() -> None:
    bank, queries = torch.tensor([[0.0, 3], [2, 3]]), torch.tensor([[4.0, 5]])
    assert RawValues(2, 1, "row").fitted(bank, queries)[0] is bank
    own, other = RawValues(2, 1, "none").fitted(bank, queries)
    assert own.tolist() == [[-1, 0], [1, 0]]
    assert other.tolist() == [[3, 2]], "a constant feature keeps its unit"


@pytest.mark.parametrize("name", MODALITIES)
def test_every_modality_here_has_a_floor_that_says_what_it_is(name: str) -> None:
    modality = default_modality(name)
    assert modality is not None
    floor = modality.floor()
    assert floor is not None
    assert floor.title.islower()
    rows = modality.sampled(4, torch.Generator().manual_seed(0))
    features = floor(rows)
    assert features.shape[0] == 4
    assert features.dtype == torch.float32
    assert all(bool(part.isfinite().all()) for part in floor.fitted(features, features[:2]))


class Broken(Evaluator[EvaluatorConfig]):
    """Fails on whatever it gets."""

    Config = EvaluatorConfig

    def evaluate(self, features: Features) -> Scores:
        raise ArithmeticError("one\ntwo")


def test_evaluators_of_frozen_features_score_it_and_one_that_fails_costs_its_own() -> None:
    labels = torch.arange(40) % 2
    own = torch.nn.functional.one_hot(labels).float()
    features = Features(torch.zeros(30, 9), torch.zeros(10, 9), labels[:30], labels[30:])
    floor = in_place_of(features, ColourHistogram(), own[:30], own[30:])
    configs = (KNNConfig(k=3), RankConfig(), LiDARConfig(), FinetuneConfig())
    evaluators = [*map(build, configs), Broken(EvaluatorConfig(name="broken"))]
    scores, failures = floor_scores(floor, evaluators, "image")
    assert list(scores) == ["knn"], "ranks say how encoders fare, and the others need one"
    answered = scores["knn"]["knn_top1"]
    assert isinstance(answered, Tensor)
    assert answered.all()
    assert failures == {"broken": "failed: ArithmeticError: one two"}
    unlabelled = in_place_of(Features(own, own), ColourHistogram(), own, own)
    assert floor_scores(unlabelled, evaluators[:1], "image") == ({}, {})


def test_what_was_made_once_is_read_again(tmp_path: Path, monkeypatch: Any) -> None:
    ingest("digits", str(tmp_path / "d.manta"), executor="local")
    manifest = open_dataset(str(tmp_path / "d.manta"))
    holdout = Holdout(manifest, 0.1)
    bank, queries = (SplitRows(manifest, holdout, part, 40) for part in ("bank", "queries"))
    features = Features(torch.zeros(40, 2), torch.zeros(40, 2))
    modality = modality_of(manifest)

    def kept(like: Features = features) -> Features:
        found = kept_floor(str(tmp_path / "f"), modality, bank, queries, like, executor="local")
        assert found is not None
        return found

    first = kept()
    rows, colours = first.bank.shape
    assert (rows, 1 < colours <= 8) == (40, True), "digits are grey, of 8 levels at most"
    assert not torch.equal(first.bank, first.queries)

    def refuse(*_: Any) -> Tensor:
        raise AssertionError("it was made before")

    monkeypatch.setattr(ColourHistogram, "__call__", refuse)
    assert torch.equal(kept().queries, first.queries)
    with pytest.raises(Exception, match="some rows cannot be read any more"):
        kept(Features(torch.zeros(39, 2), torch.zeros(40, 2)))
    monkeypatch.setattr(MODALITIES["image"], "floor", lambda _: None)
    assert (
        kept_floor(str(tmp_path / "f"), modality, bank, queries, features, executor="local") is None
    )


METRICS = {"knn_top1": 0.4, "random_knn_top1": 0.3, "floor_knn_top1": 0.6, "linear_top1": 0.7}
METRICS |= {"floor_linear_top1": 0.6, "linear_l2": 1.0, "floor_linear_l2": 2.0, "rankme": 3.0}


def test_only_scores_with_a_better_floor_lose_to_it() -> None:
    assert lost_to_floor(METRICS) == ["knn_top1"]
    assert lost_to_floor(METRICS | {"floor_knn_top1": math.nan}) == []
    lower = {"risk_total": 0.5, "floor_risk_total": 0.1, "risk_probe": 0.1, "floor_risk_probe": 0.2}
    spread = {"leave_group_out_std": 0.2, "floor_leave_group_out_std": 0.1}
    assert lost_to_floor(lower | spread) == ["risk_total"]


def test_pages_consoles_and_tables_say_what_loses() -> None:
    said = floor_words(METRICS, "raw values", Noun("windows", "window"))
    assert said is not None
    assert said["about"].endswith("find in raw values, which nothing has learned.")
    assert said["lost"] == "kNN top-1 accuracy is 0.400, the floor's 0.600."
    assert floor_words({"knn_top1": 0.4, "random_knn_top1": 0.9}, "", IMAGES) is None
    table = metric_table(METRICS)
    assert table.columns.tolist() == ["trained", "untrained", "floor"]
    assert table.index.tolist() == ["knn_top1", "linear_top1", "linear_l2", "rankme"]
    assert metric_rows(METRICS)[0] == ("knn_top1", "0.4 (untrained 0.3, floor 0.6)")
    assert metric_rows(METRICS)[1] == ("linear_top1", "0.7 (floor 0.6)")


def test_the_console_has_a_column_where_there_is_a_floor(monkeypatch: Any) -> None:
    out = io.StringIO()
    monkeypatch.setattr(printing, "out", Console(file=out, width=120))
    printing.print_metrics(METRICS)
    head, knn, *_, last = out.getvalue().splitlines()
    assert head.split() == ["trained", "untrained", "floor"]
    assert knn.split()[:4] == ["knn_top1", "0.4", "0.3", "0.6"]
    assert last.startswith("knn_top1 loses to its floor: 0.4 against 0.6")


def test_the_page_of_an_evaluation_shows_it_and_says_what_loses(tmp_path: Path) -> None:
    found = full()
    page = Page(write_evaluation(found, tmp_path / "without.html"))
    assert "floor" not in page.text.lower()
    found["metrics"] |= {"floor_knn_top1": 0.7, "floor_linear_top1": 0.2}
    found["intervals"] |= {"floor_knn_top1": [0.68, 0.72]}
    page = Page(write_evaluation(found | {"floor": "colour histograms"}, tmp_path / "with.html"))
    assert "Loses to its floor kNN top-1 accuracy is 0.612, the floor's 0.700." in page.text
    assert "find in colour histograms, which nothing has learned." in page.text
    assert "Number Floor Untrained Trained Change" in page.text
    assert "0.700 0.680 to 0.720" in page.text
    assert "The floor has 0.700" in page.text
