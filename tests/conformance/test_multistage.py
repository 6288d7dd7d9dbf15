"""Tests of multistage: what a stage freezes, clusters and restricts, and what is exported."""

from __future__ import annotations

import copy
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from objective_kit import ENCODERS, SIZE, batch_of, objective_of, rows_of
from pydantic import ValidationError
from torch import Tensor, nn

from manta.batch import Batch, Progress
from manta.encoders import Encoder, EncoderConfig, build, concatenation
from manta.errors import ConfigError
from manta.functional.restricted import restricted_nt_xent
from manta.modalities.image.preprocess import ImagePreprocess
from manta.objectives import OBJECTIVES, Objective
from manta.serving import ExportedEncoder, load_exported, save_encoder
from manta.serving.formats import export_model
from manta.spec import Spec
from manta.training.batchnorm import synchronise

SMALL = {"clusters": 2, "fit_rows": 32}
STEPS, ROWS = 5, 16
"""Of a stage, and of a step: two steps bring the rows that are wanted, and the three after them are
restricted."""


def given(objective: Objective[Any], step: int) -> Batch:
    return batch_of(objective, ROWS, step=step, start=ROWS * step, dtype=torch.float64)


def run(
    stages: int, rank: int = 0, world: int = 1, *, learns: bool = True, **config: Any
) -> dict[str, Any]:
    """Run all stages on this rank's rows; return the state after every step."""
    objective = synchronise(
        objective_of("multistage", dtype=torch.float64, stages=stages, **SMALL, **config)
    )
    optimizer = torch.optim.SGD([p for p in objective.parameters() if p.requires_grad], lr=0.05)
    rows = slice(rank * ROWS // world, (rank + 1) * ROWS // world)
    losses, negatives, states = [], [], []
    for step in range(STEPS * stages):
        progress = Progress(step, STEPS * stages)
        actual = objective(rows_of(given(objective, step), rows), progress)
        if learns:
            optimizer.zero_grad()
            actual["loss"].backward()
            optimizer.step()
        losses.append(actual["loss"].item())
        negatives.append(actual["negatives"].item())
        objective.after_step(progress)
        states.append(copy.deepcopy(objective.state_dict()))
    return {"losses": losses, "negatives": negatives, "states": states, "objective": objective}


@pytest.fixture(scope="module")
def two() -> dict[str, Any]:
    return run(2)


@pytest.fixture(scope="module")
def three() -> dict[str, Any]:
    return run(3)


def of_part(state: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {key.removeprefix(part): value for key, value in state.items() if key.startswith(part)}


def same(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return actual.keys() == expected.keys() and all(
        torch.equal(actual[key], expected[key]) for key in actual
    )


def features_of(encoder: nn.Module, batch: Batch) -> Tensor:
    a, b = (F.normalize(encoder(view.data), dim=1) for view in batch)
    return F.normalize(a + b, dim=1).detach()


def nearest(features: Tensor, centroids: Tensor) -> Tensor:
    return torch.stack([(features - centre).square().sum(1) for centre in centroids]).argmin(0)


def test_a_stage_freezes_the_encoder_clusters_its_features_and_restricts_negatives(
    two: dict[str, Any],
) -> None:
    objective, negatives = two["objective"], two["negatives"]
    # The encoder is kept after step 4; steps 5 and 6 bring 32 rows; step 7 is the first that is
    # restricted.
    assert negatives[:7] == [30.0] * 7
    assert all(0 < count < 30 for count in negatives[7:])
    assert objective.fitted.tolist() == [True]
    kept = dict(objective.earlier[0].named_parameters())
    assert any(
        not torch.equal(value, kept[name]) for name, value in objective.encoder.named_parameters()
    )
    assert not objective.earlier[0].training
    assert objective.exported is objective.encoder

    batch = batch_of(objective, ROWS, step=9, dtype=torch.float64)
    z = objective.projector(objective.encoder(torch.cat([view.data for view in batch]))).chunk(2)
    cluster = nearest(features_of(objective.earlier[0], batch), objective.centroids[0])
    assert len(cluster.unique()) == 2
    expected = restricted_nt_xent(*z, allowed=cluster[:, None] == cluster, temperature=0.5).item()
    assert objective(batch, Progress(9, 10))["loss"].item() == pytest.approx(expected, rel=1e-9)


def test_centroids_are_the_means_of_their_clusters(two: dict[str, Any]) -> None:
    objective = two["objective"]
    rows, centroids = objective.queue.rows, objective.centroids[0]
    assert int(objective.queue.filled) == 32
    own = torch.cdist(rows, centroids).argmin(1)
    for cluster in range(2):
        torch.testing.assert_close(rows[own == cluster].mean(0), centroids[cluster])


def test_each_boundary_keeps_its_encoder_and_empties_the_queue(three: dict[str, Any]) -> None:
    states = three["states"]
    for stage, last in enumerate((4, 9)):
        encoder = of_part(states[last], "encoder.")
        assert not same(of_part(states[last - 1], f"earlier.{stage}."), encoder)
        for state in states[last:]:
            assert same(of_part(state, f"earlier.{stage}."), encoder)
    assert not same(of_part(states[-1], "earlier.0."), of_part(states[-1], "earlier.1."))
    filled = [int(state["queue.filled"]) for state in states]
    assert filled == [0] * 5 + [16, 32, 32, 32] + [0] + [16, 32, 32, 32, 32]
    fitted = [state["fitted"].tolist() for state in states]
    assert fitted == [[False, False]] * 6 + [[True, False]] * 5 + [[True, True]] * 4


def test_the_second_fit_is_of_what_the_second_frozen_encoder_sees(three: dict[str, Any]) -> None:
    objective = three["objective"]
    rows = torch.cat(
        [features_of(objective.earlier[1], given(objective, step)) for step in (10, 11)]
    )
    torch.testing.assert_close(objective.queue.rows, rows)
    own = nearest(rows, objective.centroids[1])
    assert len(own.unique()) == 2
    for cluster in range(2):
        torch.testing.assert_close(rows[own == cluster].mean(0), objective.centroids[1, cluster])


def test_a_negative_shares_the_anchors_cluster_under_every_finished_stage(
    three: dict[str, Any],
) -> None:
    objective = three["objective"]
    batch = given(objective, 20)
    own = [
        nearest(features_of(objective.earlier[i], batch), objective.centroids[i]) for i in range(2)
    ]
    first, second = (cluster[:, None] == cluster for cluster in own)
    both = objective.allowed(batch.views, 2)
    assert torch.equal(both, first & second)
    assert not torch.equal(both, first)
    assert not torch.equal(both, second)
    objective._features.clear()
    objective.fitted[1] = False  # as in the first half of the last stage
    assert torch.equal(objective.allowed(batch.views, 2), first)
    objective._features.clear()
    objective.fitted[1] = True


def test_a_short_stage_is_fitted_half_way() -> None:
    objective = objective_of("multistage", stages=2, clusters=2, fit_rows=512)
    for step in range(8):
        progress = Progress(step, 8)
        objective(batch_of(objective, 16, step=step), progress)
        objective.after_step(progress)
        assert objective.fitted.tolist() == [step >= 5]
    objective = objective_of("multistage", stages=2, clusters=40, fit_rows=512)
    objective(batch_of(objective, 16), Progress(0, 2))
    objective.after_step(Progress(0, 2))
    objective(batch_of(objective, 16), Progress(1, 2))
    with pytest.raises(
        ConfigError, match="16 samples came in half a stage, too few for 40 clusters"
    ):
        objective.after_step(Progress(1, 2))


# All stages' features


def exporting_all(three: dict[str, Any], fitted: list[bool]) -> tuple[Objective[Any], Encoder]:
    objective = objective_of(
        "multistage", dtype=torch.float64, stages=3, exported_stages="all", **SMALL
    )
    objective.load_state_dict(three["states"][-1] | {"fitted": torch.tensor(fitted)})
    return objective, objective.exported


@pytest.mark.parametrize("fitted", [[False, False], [True, False], [True, True]])
def test_all_stages_features_are_exported_one_after_the_other(
    three: dict[str, Any], fitted: list[bool]
) -> None:
    objective, exported = exporting_all(three, fitted)
    parts = [
        *(encoder for encoder, used in zip(objective.earlier, fitted, strict=True) if used),
        objective.encoder,
    ]
    assert exported.embed_dim == len(parts) * objective.encoder.embed_dim
    assert objective.encoder.training, "to ask for it changes nothing"
    x = given(objective, 0).views[0].data
    for mode in (False, True):  # an evaluation, and back to training
        exported.train(mode)
        assert objective.encoder.training == mode
        assert not any(module.training for module in objective.earlier.modules())
    exported.eval()
    actual = exported(x).chunk(len(parts), dim=1)
    for features, part in zip(actual, parts, strict=True):
        torch.testing.assert_close(features, part(x))


def test_all_stages_are_saved_loaded_and_exported(three: dict[str, Any], tmp_path: Path) -> None:
    _, encoder = exporting_all(three, [True, True])
    whole = ExportedEncoder(encoder.float(), ImagePreprocess(SIZE, (0.5,) * 3, (0.25,) * 3))
    saved = save_encoder(whole, tmp_path / "encoder", config=ENCODERS[0])
    assert not saved.timm
    images = torch.randint(
        0, 256, (3, 40, 36, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    loaded = load_exported(saved.folder)
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), whole(images), rtol=1e-5, atol=1e-5)
    assert loaded.embed_dim == whole.embed_dim == 3 * encoder.parts[0].embed_dim
    assert export_model(saved.folder, "safetensors", tmp_path / "again").error < 1e-4
    assert export_model(saved.folder, "pt2", tmp_path / "encoder.pt2").error < 1e-4
    with pytest.raises(ConfigError, match="timm cannot build this concatenation"):
        export_model(saved.folder, "timm", tmp_path / "timm")


PART = {"name": "test_resnet"}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"args": {"encoder": PART}}, "encoder.args.count: Field required"),
        (
            {"args": {"encoder": {"nam": "test_resnet"}, "count": 2}},
            "encoder.args.encoder.nam: Extra inputs",
        ),
        ({"args": {"encoder": PART, "count": 2}, "stem": "small"}, "set encoder.args.encoder.stem"),
        (
            {"args": {"encoder": PART | {"args": {"checkpoint_path": "weights.pth"}}, "count": 2}},
            "checkpoint_path",
        ),
    ],
)
def test_a_wrong_concatenation_is_one_line(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(EncoderConfig.model_validate({"name": "concatenation", **config}), Spec.image(SIZE))


def test_the_wholes_pretrained_is_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A saved folder is loaded with `pretrained: false`: no part may fetch weights then."""
    asked: list[bool] = []
    monkeypatch.setattr(
        concatenation,
        "build",
        lambda config, spec: asked.append(config.pretrained) or build(ENCODERS[0], spec),
    )
    for pretrained in (False, True):
        args = {"encoder": PART | {"pretrained": True}, "count": 2}
        build(
            EncoderConfig(name="concatenation", pretrained=pretrained, args=args), Spec.image(SIZE)
        )
    assert asked == [False, False, True, True]


# On several ranks


def worker(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world
    )
    actual = run(3, rank, world, learns=False)
    del actual["objective"]
    torch.save(actual, f"{folder}/{rank}")
    dist.barrier()
    dist.destroy_process_group()


def test_ranks_share_the_stages_of_one_process(tmp_path: Path) -> None:
    """The suite's few steps on ranks end before the first stage does."""
    multiprocessing.set_forkserver_preload(
        ["torch", "timm", "sklearn.datasets", "manta.objectives", "manta.serving"]
    )
    mp.start_processes(worker, args=(2, str(tmp_path)), nprocs=2, start_method="forkserver")
    ranks = [torch.load(tmp_path / str(rank), weights_only=True) for rank in range(2)]
    alone = run(3, learns=False)
    for term in ("losses", "negatives"):
        means = [sum(both) / 2 for both in zip(*(rank[term] for rank in ranks), strict=True)]
        assert means == pytest.approx(alone[term], rel=1e-9)
    assert alone["negatives"][8] < 30
    assert alone["negatives"][-1] < 30
    for rank in ranks:
        for key, value in alone["states"][-1].items():
            torch.testing.assert_close(rank["states"][-1][key], value, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stages": 1}, "greater than or equal to 2"),
        ({"clusters": 10, "fit_rows": 9}, "cannot make 10 clusters"),
        ({"exported_stages": "first"}, "'last' or 'all'"),
    ],
)
def test_a_config_that_cannot_work_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        OBJECTIVES["multistage"].Config.model_validate({"name": "multistage", **values})
