"""Checkpoints: commit, damage, refusal, what is kept, who may write."""

import json
import pickle
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from manta.errors import RunError
from manta.runs.checkpoint import (
    CheckpointManifest,
    Checkpoints,
    Snapshot,
    folder_name,
    new_manifest,
    snapshot,
)
from manta.runs.folder import RunFolder, local_copy
from manta.runs.lease import Lease


def trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.randn(8, 4)).square().sum().backward()
    optimizer.step()
    return model, optimizer


def manifest(step: int, **metrics: float) -> CheckpointManifest:
    return new_manifest(
        step,
        steps_per_epoch=10,
        total_steps=100,
        fingerprint="f",
        run_id="r",
        metrics=dict(metrics),
    )


def saved(folder: RunFolder, step: int, **metrics: float) -> Checkpoints:
    checkpoints = Checkpoints(folder, None, keep_last=2)
    state = snapshot(*trained(), step)
    assert state is not None
    checkpoints.save(state, manifest(step, **metrics))
    checkpoints.wait()
    return checkpoints


def test_everything_comes_back_bit_for_bit(tmp_path):
    folder = RunFolder(tmp_path / "run")
    model, optimizer = trained()
    checkpoints = Checkpoints(folder, None)
    state = snapshot(model, optimizer, 7)
    assert state is not None
    checkpoints.save(state, manifest(7))
    expected = torch.rand(3), np.random.rand(3), random.random()
    with torch.no_grad():
        model[0].weight.zero_()
    checkpoints.wait()
    newest = checkpoints.latest()
    assert newest is not None
    assert (newest.step, newest.run_id) == (7, "r")
    checkpoints.load(newest).restore(model, optimizer)
    torch.testing.assert_close(torch.rand(3), expected[0], rtol=0, atol=0)
    np.testing.assert_array_equal(np.random.rand(3), expected[1])
    assert random.random() == expected[2]
    other, other_optimizer = trained()
    for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    first, second = optimizer.state_dict(), other_optimizer.state_dict()
    assert torch.equal(first["state"][0]["exp_avg_sq"], second["state"][0]["exp_avg_sq"])


def test_a_checkpoint_without_its_manifest_does_not_exist(tmp_path):
    folder = RunFolder(tmp_path / "run")
    saved(folder, 5)
    checkpoints = saved(folder, 9)
    folder.remove("checkpoints", folder_name(9), "manifest.json")
    newest = checkpoints.latest()
    assert newest is not None
    assert newest.step == 5


def test_a_truncated_file_is_passed_over(tmp_path):
    folder = RunFolder(tmp_path / "run")
    saved(folder, 5)
    checkpoints = saved(folder, 9)
    path = tmp_path / "run/checkpoints" / folder_name(9) / "state.pt"
    path.write_bytes(path.read_bytes()[:-10])
    newest = checkpoints.latest()
    assert newest is not None
    assert newest.step == 5


def test_changed_bytes_are_noticed(tmp_path):
    folder = RunFolder(tmp_path / "run")
    checkpoints = saved(folder, 5)
    path = tmp_path / "run/checkpoints" / folder_name(5) / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    newest = checkpoints.latest()
    assert newest is not None
    with pytest.raises(RunError, match="damaged"):
        checkpoints.load(newest)


class Bomb:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_pickle_in_place_of_state_is_refused_and_not_run(tmp_path, capsys):
    import hashlib

    folder = RunFolder(tmp_path / "run")
    checkpoints = saved(folder, 5)
    evil = pickle.dumps(Bomb())
    folder.write(evil, "checkpoints", folder_name(5), "state.pt")
    path = tmp_path / "run/checkpoints" / folder_name(5) / "manifest.json"
    raw = json.loads(path.read_text())
    raw["files"]["state.pt"] = [len(evil), hashlib.sha256(evil).hexdigest()]
    path.write_text(json.dumps(raw))
    newest = checkpoints.latest()
    assert newest is not None
    with pytest.raises(RunError, match="refused"):
        checkpoints.load(newest)
    assert "executed" not in capsys.readouterr().out


def test_the_last_and_the_best_are_kept(tmp_path):
    folder = RunFolder(tmp_path / "run")
    for step, accuracy in ((1, 0.3), (2, 0.9), (3, 0.5), (4, 0.6), (5, 0.7)):
        checkpoints = saved(folder, step, knn_top1=accuracy)
    assert [m.step for m in checkpoints.committed()] == [2, 4, 5]
    best = checkpoints.best()
    assert best is not None
    assert best.step == 2


def test_an_older_attempt_cannot_write(tmp_path):
    folder = RunFolder(tmp_path / "run")
    orphan = Lease.take(folder)
    orphan.verify()
    Lease.take(folder)
    state = snapshot(*trained(), 3)
    assert state is not None
    with pytest.raises(RunError, match="taken over"):
        Checkpoints(folder, orphan).save(state, manifest(3))
    assert folder.list("checkpoints") == []


def test_a_new_rank_keeps_its_own_generators(tmp_path):
    model, optimizer = trained()
    state = snapshot(model, optimizer, 1)
    assert state is not None
    torch.manual_seed(5)
    expected = torch.get_rng_state()
    Snapshot(1, state.weights, replace(state).state | {"generators": []}).restore(model, optimizer)
    assert torch.equal(torch.get_rng_state(), expected)


def test_an_object_store_serves_as_well_as_a_disk():
    folder = RunFolder("memory://manta-tests/run")
    saved(folder, 5, knn_top1=0.5)
    checkpoints = saved(folder, 9, knn_top1=0.4)
    assert [m.step for m in checkpoints.committed()] == [5, 9]
    newest = checkpoints.latest()
    assert newest is not None
    model, optimizer = trained()
    with torch.no_grad():
        model[0].weight.zero_()
    checkpoints.load(newest).restore(model, optimizer)
    assert torch.equal(model[0].weight, trained()[0][0].weight)
    log = local_copy(folder, "metrics.jsonl")
    assert not log.exists()
    folder.write(b"{}\n", "metrics.jsonl")
    assert local_copy(folder, "metrics.jsonl").read_bytes() == b"{}\n"
