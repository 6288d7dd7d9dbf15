"""A dry run: what is known of a run before it is started."""

import pytest
import torch
from torch import nn

from manta.config import Experiment, from_mapping
from manta.encoders import build
from manta.errors import ConfigError
from manta.spec import Spec
from manta.training.estimate import activation_elements, estimate
from manta.training.preflight import preflight, stand_ins


def experiment(objective="dcl", **sections) -> Experiment:
    named = objective if isinstance(objective, dict) else {"name": objective}
    tree = {"data": {"source": "digits", "image_size": 32}, "encoder": {"name": "resnet10t"}}
    return from_mapping(tree | {"objective": named} | sections)


@pytest.fixture
def plan_of(tmp_path):
    return lambda *words, **sections: estimate(experiment(*words, **sections), str(tmp_path))


def test_parameters_are_those_of_encoder_and_heads(plan_of):
    plan = plan_of({"name": "dcl", "projector": {"hidden": 64, "out": 16, "layers": 2}})
    encoder = build(experiment().encoder, Spec.image(32))
    own = sum(p.numel() for p in encoder.parameters())
    assert plan["encoder_parameters"] == own
    hidden = encoder.embed_dim * 64 + 2 * 64
    assert own + hidden + 64 * 16 <= plan["parameters"] <= own + hidden + 64 * 16 + 64 + 16
    assert plan["materials"] == {}


def test_rows_and_steps_are_unknown_before_an_ingest(plan_of):
    plan = plan_of()
    assert (plan["rows"], plan["steps"], plan["steps_per_epoch"]) == (None, None, None)


def test_a_workers_batch_is_its_share_of_a_micro_batch(plan_of):
    shares = plan_of(
        train={"batch_size": 96, "accumulate": 2, "precision": "fp32"}, resources={"workers": 3}
    )
    assert (shares["batch_per_worker"], shares["precision"]) == (16, "float32")


def test_memory_grows_with_the_batch_and_with_what_the_optimizer_keeps(plan_of):
    def memory(batch: int, optimizer: str = "adamw", precision: str = "float32") -> int:
        train = {"batch_size": batch, "precision": precision}
        plan = plan_of(train=train, optimizer={"name": optimizer})
        return plan["estimated_memory_bytes_per_worker"]

    parameters = plan_of()["parameters"]
    assert memory(64) - memory(64, "sgd") == 4 * parameters
    assert memory(128) - memory(64) == 2 * (memory(64) - memory(32))
    assert memory(128) - memory(64) == 2 * (
        memory(128, precision="bf16") - memory(64, precision="bf16")
    )


@pytest.mark.parametrize(
    "objective",
    [
        {"name": "gsimclr", "clusters": 20},
        {"name": "clusterfit", "model": "somewhere", "clusters": 5},
        {"name": "pal", "oracle": "label"},
    ],
    ids=lambda one: one["name"],
)
def test_an_objective_with_a_table_is_estimated_in_full(plan_of, objective):
    plan = plan_of(objective)
    assert plan["parameters"] > plan["encoder_parameters"]
    assert plan["estimated_memory_bytes_per_worker"] > 4 * plan["parameters"]
    assert list(plan["materials"].values()) != []
    preflight(experiment(objective))


def test_an_objective_around_a_model_says_what_is_known(plan_of):
    plan = plan_of({"name": "distill", "model": "teacher-run"})
    assert plan["encoder_parameters"] > 1_000_000
    assert plan["batch_per_worker"] == 256
    unknown = ("parameters", "precision", "estimated_memory_bytes_per_worker")
    assert [plan[key] for key in unknown] == [None] * 3
    assert "teacher-run" in plan["materials"]["teacher"]
    with stand_ins(experiment({"name": "distill", "model": "x"})) as materials:
        assert materials is None


def test_activations_are_the_outputs_of_leaf_modules():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))
    assert activation_elements(net, Spec.image(8)) == 256 + 256 + 256 + 10
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())
    assert activation_elements(net.eval(), Spec.image(8)) == 778
    assert not net.training


def test_a_preflight_refuses_what_a_worker_would_fail_at():
    with pytest.raises(ConfigError, match="timm has no optimizer"):
        preflight(experiment(optimizer={"name": "adamm"}))
    with pytest.raises(ConfigError, match="timm has no model"):
        preflight(experiment(encoder={"name": "resnet11"}))
    preflight(experiment())
    assert torch.is_grad_enabled()
