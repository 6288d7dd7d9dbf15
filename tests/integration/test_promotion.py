"""Challengers against champions in the registry, over SQLite and over a server in front of
PostgreSQL."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from postgres_server import postgres
from sklearn.datasets import load_digits
from torch import Tensor, nn
from tracking_server import Server

from manta.encoders import Encoder, EncoderConfig
from manta.encoders._config import ENCODERS
from manta.errors import PromotionRefused, TrackingError
from manta.evaluators import Features, paired_gain
from manta.evaluators.knn import KNN, KNNConfig
from manta.modalities.image.preprocess import ImagePreprocess
from manta.serving import ExportedEncoder, load_exported, save_encoder
from manta.tracking import (
    EvaluateModels,
    ModelAnswers,
    RegisteredModel,
    Tracker,
    download_model,
    log_model,
    promote,
)
from manta.tracking.registry import LONGEST_DESCRIPTION

CARD = "# A card\n\n" + "Of a model. " * 500
"""Longer than the descriptions that PostgreSQL takes."""


class Grid(Encoder):
    """The grey pixels of images of 8 px, each with a weight."""

    embed_dim = 64

    def __init__(self, weight: Tensor | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(64) if weight is None else weight)

    def embed(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x.mean(1), 8).flatten(1) * self.weight


@pytest.fixture(autouse=True)
def _grids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENCODERS._components, "grid", lambda config, size: Grid())


def exported(weight: Tensor) -> ExportedEncoder:
    return ExportedEncoder(Grid(weight), ImagePreprocess(8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))


def digits() -> tuple[Tensor, Tensor]:
    """In a random order: uint8 `[N, 8, 8, 3]` and labels."""
    found = load_digits()
    order = torch.randperm(len(found.target), generator=torch.Generator().manual_seed(0))
    pixels = torch.tensor(found.images * 15, dtype=torch.uint8)[order]
    return pixels[..., None].expand(-1, -1, -1, 3).contiguous(), torch.tensor(found.target)[order]


def correct(module: ExportedEncoder) -> Tensor:
    """Which of 797 digits the nearest of 1,000 others tell."""
    images, labels = digits()
    with torch.no_grad():
        features = module(images)
    return KNN(KNNConfig(k=5)).hits(
        Features(features[:1000], features[1000:], labels[:1000], labels[1000:])
    )["knn_top1"]


def evaluate_in(tracker: Tracker) -> EvaluateModels:
    def evaluate(models: Sequence[str], metric: str) -> ModelAnswers:
        found = {}
        with tempfile.TemporaryDirectory() as scratch:
            for number, model in enumerate(models):
                files = download_model(tracker, model, Path(scratch) / str(number))
                found[model] = correct(load_exported(files / "encoder"))
        return ModelAnswers(found, "s3://me:secret@bucket/digits", "d1ge57", 1000, {"k": 5})

    return evaluate


def weights() -> dict[str, Tensor]:
    """Of four models. What is better by noise is the champion, shaken until it scored higher on
    just these queries."""
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    masks = {name: torch.zeros(64) for name in ("champion", "worse", "better")}
    for name, pixels in {"champion": 24, "worse": 8, "better": 64}.items():
        masks[name][order[:pixels]] = 1
    truth = correct(exported(masks["champion"].clone()))
    for seed in range(100):
        shaken = masks["champion"] * (
            1 + 0.03 * torch.randn(64, generator=torch.Generator().manual_seed(seed))
        )
        gain = paired_gain(correct(exported(shaken.clone())), truth)
        if gain.gain > 0 >= gain.low:
            return masks | {"noise": shaken}
    raise AssertionError("no shaken champion is better by chance")


@pytest.fixture(scope="module")
def behind_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with postgres() as url:
        server = Server(
            tmp_path_factory.mktemp("promotion"), url.replace("postgresql:", "postgresql+psycopg:")
        )
        server.start()
        yield server
        server.stop()


@pytest.fixture(params=["sqlite", "server and postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Tracker:
    if request.param == "sqlite":
        found: Tracker = request.getfixturevalue("tracker")
        return found
    return Tracker(request.getfixturevalue("behind_postgres").uri, runs_dir=tmp_path)


def registered(tracker: Tracker, run_id: str, weight: Tensor, folder: Path) -> RegisteredModel:
    module = exported(weight.clone())
    saved = save_encoder(module, folder, config=EncoderConfig(name="grid"))
    return log_model(tracker, run_id, module, name="digits", encoder_folder=saved.folder, card=CARD)


def test_only_a_challenger_that_is_truly_better_gets_the_alias(
    store: Tracker, tmp_path: Path
) -> None:
    run_id = store.create_run("promotion", config={})
    evaluate, client = evaluate_in(store), store.client
    for number, (name, weight) in enumerate(weights().items(), start=1):
        assert registered(store, run_id, weight, tmp_path / name).version == str(number)
    champion, worse, better, noise = (
        correct(exported(weight.clone())).double() for weight in weights().values()
    )

    def holder() -> str:
        return str(client.get_model_version_by_alias("digits", "champion").version)

    def tags(version: str) -> dict[str, str]:
        found = client.get_model_version("digits", version).tags
        return {key.removeprefix("manta.champion."): value for key, value in found.items()}

    first = promote(store, "digits", evaluate, metric="knn_top1", challenger="1", min_gain=0.005)
    assert (first.champion, first.gain, first.accuracy) == (None, None, float(champion.mean()))
    assert first.low < first.accuracy < first.high
    assert "no version had it before" in first.sentence
    assert holder() == "1"
    assert (tags("1")["outcome"], tags("1")["against"]) == ("promoted", "none")

    with pytest.raises(PromotionRefused, match=r"a gain of -.* train a better one") as refused:
        promote(store, "digits", evaluate, metric="knn_top1", challenger="2")
    assert refused.value.status == 3
    assert worse.mean() < champion.mean() - 0.1
    assert (holder(), tags("2")["outcome"]) == ("1", "refused")

    with pytest.raises(PromotionRefused, match="may be chance"):
        promote(
            store, "digits", evaluate, metric="knn_top1", challenger="@candidate"
        )  # the last that was registered
    assert noise.mean() > champion.mean()
    assert (holder(), tags("4")["outcome"]) == ("1", "refused")
    assert float(tags("4")["gain"]) == pytest.approx(
        float(noise.mean() - champion.mean()), abs=1e-6
    )

    gain = float(better.mean() - champion.mean())
    with pytest.raises(PromotionRefused, match="must lie above"):
        promote(store, "digits", evaluate, metric="knn_top1", challenger="3", min_gain=gain)
    assert holder() == "1"
    found = promote(store, "digits", evaluate, metric="knn_top1", challenger="3", min_gain=0.005)
    assert found.gain == pytest.approx(gain)
    assert found.low > 0.005
    assert holder() == "3"
    evidence = tags("3")
    assert evidence["outcome"] == "promoted"
    assert [float(end) for end in evidence["interval"].split()] == pytest.approx(
        [found.low, found.high], abs=1e-5
    )
    assert {
        key: evidence[key]
        for key in ("metric", "against", "digest", "queries", "bank_rows", "settings")
    } == {
        "metric": "knn_top1",
        "against": "1",
        "digest": "d1ge57",
        "queries": "797",
        "bank_rows": "1000",
        "settings": '{"k": 5}',
    }
    description = client.get_model_version("digits", "3").description
    assert description.startswith(
        f"## Promotion to @champion, {found.date[:10]}\n\nVersion 3 of 'digits' gets @champion"
    )
    assert description.count("## Promotion") == 1  # the refused one before was replaced
    assert LONGEST_DESCRIPTION - 100 < len(description) <= LONGEST_DESCRIPTION
    assert CARD.startswith(description.partition("\n\n---\n\n")[2])
    assert "secret" not in description + str(evidence)
    with pytest.raises(PromotionRefused, match="has the alias 'champion' already"):
        promote(store, "digits", evaluate, metric="knn_top1", challenger="champion")
    files = download_model(store, "models:/digits@champion", tmp_path / "champion")
    assert (files / "README.md").read_text() == CARD


def test_an_alias_that_moves_meanwhile_is_left_alone(tracker: Tracker, tmp_path: Path) -> None:
    run_id = tracker.create_run("race", config={})
    for number in range(3):
        registered(tracker, run_id, torch.eye(64)[number] + 0.1, tmp_path / str(number))
    tracker.client.set_registered_model_alias("digits", "champion", "1")

    def evaluate(models: Sequence[str], metric: str) -> ModelAnswers:
        tracker.client.set_registered_model_alias("digits", "champion", "2")
        answers = dict(zip(models, (torch.ones(100) > 0, torch.ones(100) < 0), strict=True))
        return ModelAnswers(answers, "data", "digest", 1, {})

    with pytest.raises(PromotionRefused, match="was moved to version 2 meanwhile"):
        promote(tracker, "digits", evaluate, metric="knn_top1")
    assert str(tracker.client.get_model_version_by_alias("digits", "champion").version) == "2"


def test_what_is_not_there_is_one_line(tracker: Tracker, tmp_path: Path) -> None:
    evaluate = evaluate_in(tracker)
    with pytest.raises(TrackingError, match="find the model 'nothing'"):
        promote(tracker, "nothing", evaluate, metric="knn_top1")
    registered(tracker, tracker.create_run("one", config={}), torch.ones(64), tmp_path / "one")
    with pytest.raises(TrackingError, match=r"no alias 'best' \(@candidate\)"):
        promote(tracker, "digits", evaluate, metric="knn_top1", challenger="best")
    with pytest.raises(TrackingError, match="find version 9"):
        promote(tracker, "digits", evaluate, metric="knn_top1", challenger="9")
