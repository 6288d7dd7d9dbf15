"""What evaluators get to see: rows from any reader, and augmented views of some of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from manta.batch import ViewNeeds
from manta.config import from_mapping
from manta.data import Holdout, LabelledBatch, Manifest, Shard
from manta.encoders import Encoder
from manta.errors import ConfigError
from manta.evaluation.augmented import Augment, augmentation, required_views
from manta.evaluation.online import SplitFeatures, _Embedder, embed_splits
from manta.evaluation.rows import Reader, SplitRows
from manta.evaluators import (
    EncoderAccess,
    EncoderEvaluator,
    EncoderEvaluatorConfig,
    Features,
    Scores,
    build,
)
from manta.evaluators.lidar import LiDARConfig
from manta.evaluators.rank import RankConfig
from manta.modalities.image import Image, ImageConfig
from manta.modalities.image.preprocess import ImagePreprocess
from manta.modalities.image.views import IMAGENET_MEAN, IMAGENET_STD, ImageViews, ImageViewsConfig
from manta.ragged import Leaves, count_rows, dense
from manta.runs.folder import RunFolder
from manta.training.artifacts import save_evaluation

DIGITS = load_digits()
ROWS, SIZE = len(DIGITS.images), 8
FACTS = {
    "labelled": True,
    "classes": None,
    "sizes": {},
    "mean": [],
    "std": [],
    "moment_rows": 0,
    "source": "",
}
MANIFEST = Manifest(
    location="",
    rows=ROWS,
    shards=[Shard("", ROWS, [ROWS], 0)],
    kind="",
    quarantined=0,
    digest="",
    bytes=0,
    **FACTS,
)
HOLDOUT = Holdout(MANIFEST, 0.2)
BANK, QUERIES = (
    SplitRows(MANIFEST, HOLDOUT, "bank", 300),
    SplitRows(MANIFEST, HOLDOUT, "queries", 300),
)


class Flat(Encoder):
    """Pixels as features; refuses to be asked in training mode."""

    embed_dim = 3 * SIZE * SIZE

    def embed(self, x: Tensor) -> Tensor:
        assert not self.training
        return x.flatten(1)


def images_of(index: Tensor) -> Tensor:
    pixels = np.rint(DIGITS.images[index.numpy()] * (255 / 16)).astype(np.uint8)
    return torch.from_numpy(pixels)[:, None].repeat(1, 3, 1, 1)


IMAGES = Image(ImageConfig(source="", image_size=SIZE), {})


def reader(batch: int) -> Reader:
    def read(rows: SplitRows, *, rank: int, world: int) -> Iterator[LabelledBatch]:
        mine = np.array_split(rows.indexes, world)[rank]
        for index in torch.from_numpy(mine).split(batch):
            labels = torch.from_numpy(DIGITS.target[index.numpy()])
            yield LabelledBatch({"image": images_of(index)}, index, labels)

    return read


def assessed(
    *,
    augment: Augment | None = None,
    views: tuple[int, int] | None = None,
    batch: int = 128,
    **encoders: Encoder,
) -> SplitFeatures:
    found = embed_splits(
        encoders or {"": Flat()},
        BANK,
        QUERIES,
        prepare=lambda data: data["image"].float() / 255,
        modality=IMAGES,
        device=torch.device("cpu"),
        read=reader(batch),
        augment=augment,
        views=views,
    )
    assert found is not None
    return found


def named(data: Leaves, index: Tensor, draw: int) -> Tensor:
    """A "view" that says of what it was made."""
    return torch.stack(
        [
            index.float(),
            dense(data, "image").float().mean((1, 2, 3)),
            torch.full((len(index),), float(draw)),
        ],
        dim=1,
    )


def test_rows_come_from_the_reader_that_is_handed_in() -> None:
    encoder = Flat().train()
    found = assessed(batch=70, **{"": encoder, "random": Flat()})
    assert encoder.training
    assert list(found.features) == ["", "random"]
    features, rows = found.features[""], torch.from_numpy(HOLDOUT.sample("queries", 300))
    assert torch.equal(torch.from_numpy(found.index), rows)
    torch.testing.assert_close(features.queries, images_of(rows).flatten(1) / 255)
    assert features.query_labels is not None
    assert np.array_equal(features.query_labels.numpy(), DIGITS.target[rows.numpy()])
    assert len(features.bank) == 300
    assert features.views is None
    assert found.sampled.tolist() == list(range(300))
    assert np.array_equal(found.thumbnails[7].transpose(2, 0, 1), images_of(rows[7:8])[0].numpy())


def test_views_are_of_rows_drawn_from_all_queries_each_with_its_own_draws() -> None:
    views = assessed(augment=named, views=(280, 3)).features[""].views
    assert views is not None
    assert views.shape == (280, 3, 3)
    index, shade, draw = views.unbind(-1)
    held_out = HOLDOUT.sample("queries", 300)
    assert torch.equal(index[:, 0], index[:, 2])
    chosen = index[:, 0].long()
    assert len(set(chosen.tolist())) == 280
    assert set(chosen.tolist()) <= set(held_out.tolist())
    torch.testing.assert_close(shade[:, 1], images_of(chosen).float().mean((1, 2, 3)))
    assert draw[:256].unique(dim=0).tolist() == [[0, 1, 2]]
    assert draw[256:].unique(dim=0).tolist() == [[3, 4, 5]]
    few = assessed(augment=named, views=(30, 2)).features[""].views
    assert few is not None
    assert few.shape == (30, 2, 3)
    assert few[:, 0, 0].max() > np.quantile(held_out, 0.8)
    assert assessed(augment=named, views=(1000, 2)).features[""].views.shape == (300, 2, 3)
    assert assessed(augment=named).features[""].views is None
    assert assessed(views=(10, 2)).features[""].views is None


def test_views_do_not_depend_on_the_readers_batches() -> None:
    augment = augmentation(ImagePreprocess(SIZE, IMAGENET_MEAN, IMAGENET_STD))
    one, other = (
        assessed(augment=augment, views=(60, 4), batch=batch).features[""].views
        for batch in (300, 37)
    )
    assert one is not None
    assert other is not None
    assert torch.equal(one, other)
    assert (
        build(LiDARConfig(rows=60, views=4)).mean_scores(Features(one[:, 0], one[:, 0], views=one))[
            "lidar"
        ]
        > 1.5
    )


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_draw_the_rows_that_one_would(world: int) -> None:
    def drawn(rank: int, ranks: int) -> Tensor:
        embedder = _Embedder(
            {"": Flat().eval()},
            lambda data: dense(data, "image"),
            named,
            torch.device("cpu"),
            reader(10),
            rank,
            ranks,
            IMAGES,
        )
        return torch.cat(embedder.embed(QUERIES, views=(50, 1))["views:"])[:, 0, 0]

    parts = [drawn(rank, world) for rank in range(world)]
    assert torch.equal(torch.cat(parts), drawn(0, 1))
    assert len(drawn(0, 1)) == 50
    assert all(len(part) for part in parts)


def test_every_objective_is_augmented_like_simclr() -> None:
    images, index = images_of(torch.arange(20)), torch.arange(20)
    mean, std = (0.1, 0.1, 0.1), (0.2, 0.2, 0.2)
    expected = ImageViews(
        ImageViewsConfig(mean=mean, std=std), ViewNeeds(global_views=1), image_size=12
    )
    view = expected({"image": images}, index, seed=0, step=3, global_batch=20).views[0].data
    augment = augmentation(ImagePreprocess(12, mean, std))
    data = {"image": images}
    assert torch.equal(augment(data, index, 3), view), "whatever the run's own views are"
    assert not torch.equal(augment(data, index, 4), view)


def test_the_largest_wish_for_views_suffices_for_all() -> None:
    wishes = [LiDARConfig(rows=100, views=20), RankConfig(), LiDARConfig(rows=400, views=5)]
    assert required_views(map(build, wishes)) == (400, 20)
    assert required_views([build(RankConfig())]) is None


class Tries(EncoderEvaluator[EncoderEvaluatorConfig]):
    """Reads the access, and says what it saw."""

    def evaluate_encoder(self, access: EncoderAccess, features: Features) -> Scores:
        parts = [access.embed(data) for data, _ in access.rows("queries")]
        answers = [labels for _, labels in access.rows("queries") if labels is not None]
        return {
            "same": float(torch.equal(torch.cat(parts), features.queries)),
            "labels": float(torch.equal(torch.cat(answers), features.query_labels)),
            "drawn": float(sum(count_rows(data) for data, _ in access.rows("bank", 50))),
            "bank": float(sum(count_rows(data) for data, _ in access.rows("bank", 10_000))),
        }


def test_evaluators_of_encoders_read_the_rows_of_the_features() -> None:
    encoder = Flat().train()
    found = assessed(**{"": encoder, "random": Flat()})
    evaluators = [build(RankConfig()), Tries(EncoderEvaluatorConfig(name="tries"))]
    metrics = found.measure(evaluators).metrics  # Flat refuses to be asked in training mode
    assert encoder.training
    seen = {"same": 1.0, "labels": 1.0, "drawn": 50.0, "bank": 300.0}
    assert {name: metrics[name] for name in seen} == seen
    assert {name: metrics[f"random_{name}"] for name in seen} == seen
    assert len(metrics) == 2 * (2 + 4)
    drawn = torch.cat([dense(data, "image") for data, _ in found.accesses[""].rows("bank", 50)])
    assert torch.equal(drawn, images_of(torch.from_numpy(HOLDOUT.sample("bank", 50))))


class Breaks(Tries):
    """Fails, as a probe on odd features may."""

    error: Exception = ZeroDivisionError("no rows\nat all")

    def evaluate_encoder(self, access: EncoderAccess, features: Features) -> Scores:
        raise self.error


class Refuses(Breaks):
    error = ConfigError("refuses needs another encoder; leave it out")


def test_an_evaluator_that_fails_costs_its_own_numbers_only(tmp_path: Path) -> None:
    found = assessed(**{"": Flat().train(), "random": Flat()})
    evaluators = [
        Breaks(EncoderEvaluatorConfig(name="breaks")),
        build(RankConfig()),
        Refuses(EncoderEvaluatorConfig(name="refuses")),
        build(LiDARConfig()),
    ]
    measured = found.measure(evaluators)
    names = {"rankme", "feature_std"}
    assert set(measured.metrics) == names | {f"random_{name}" for name in names}
    assert measured.skipped == {
        "breaks": "failed: ZeroDivisionError: no rows at all",
        "refuses": "refuses needs another encoder; leave it out",
        "lidar": "needs augmented views",
    }
    assert found.accesses[""].encoder.training, "modes are restored all the same"
    folder = RunFolder(tmp_path)
    experiment = from_mapping({"data": {"source": "digits"}, "objective": {"name": "dcl"}})
    save_evaluation(folder, experiment, found, measured, step=3, classes=list("0123456789"))
    assert folder.read_json("evaluation.json")["skipped"] == measured.skipped
    trace = folder.read("evaluation-errors.txt").decode()
    assert "Traceback" in trace
    assert "ZeroDivisionError: no rows" in trace
    with np.load(tmp_path / "artifacts" / "samples.npz") as samples:
        assert samples["classes"].tolist() == list("0123456789")
