"""Checkpoints: written aside, committed by their manifest, read without unpickling anything
executable.

checkpoints/step-00000100/
  weights.safetensors   the objective's parameters and buffers
  state.pt              optimizer, extra state, random generators of every rank
                        (torch.load weights_only=True)
  manifest.json         written last: step, position, fingerprint, run id, sizes and digests;
                        a folder without it is no checkpoint
"""

from __future__ import annotations

import hashlib
import io
import math
import random
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import safetensors.torch
import torch
import torch.distributed as dist
from torch import Tensor, nn

from manta.errors import MantaError, RunError
from manta.runs.folder import RunFolder
from manta.runs.lease import Lease

FOLDER = "checkpoints"
MANIFEST = "manifest.json"
VERSION = 1


@dataclass(frozen=True, slots=True)
class CheckpointManifest:
    """Description of a checkpoint.

    Attributes:
        step: optimizer steps done.
        files: `(bytes, SHA-256)` by name.
    """

    step: int
    epoch: int
    total_steps: int
    fingerprint: str
    run_id: str | None
    created: float
    metrics: dict[str, float] = field(default_factory=dict)
    files: dict[str, tuple[int, str]] = field(default_factory=dict)
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run's state at a step, on the CPU, detached from what training changes next."""

    step: int
    weights: dict[str, Tensor]
    state: dict[str, Any]

    def restore(self, objective: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put everything back, this rank's random generators included."""
        objective.load_state_dict(self.weights | self.state["extra"])
        optimizer.load_state_dict(self.state["optimizer"])
        rank = dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
        generators = self.state["generators"]
        # In a larger world than before, new ranks keep their seeded generators.
        if rank < len(generators):
            _set_generators(generators[rank])


def snapshot(objective: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> Snapshot | None:
    """Return the state of a run on rank 0, None elsewhere.

    Every rank must call it, since the generators of all ranks are kept.
    """
    own = _generators()
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        everyone: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(everyone, own)
        if dist.get_rank() != 0:
            return None
    else:
        everyone = [own]
    full = objective.state_dict()
    weights = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in full.items()
        if isinstance(value, Tensor)
    }
    extra = {name: value for name, value in full.items() if not isinstance(value, Tensor)}
    state = {
        "optimizer": _to_cpu(optimizer.state_dict()),
        "extra": _to_cpu(extra),
        "generators": everyone,
    }
    return Snapshot(step, weights, state)


class Checkpoints:
    """Checkpoints of one run. `save` returns at once; one background thread writes.

    Args:
        folder: the run's.
        lease: verified before anything is written.
        keep_last: newest kept, besides the best.
        select: metric (larger is better) by which the best is kept.
    """

    def __init__(
        self,
        folder: RunFolder,
        lease: Lease | None,
        *,
        keep_last: int = 2,
        select: str = "knn_top1",
    ) -> None:
        self.folder = folder
        self.lease = lease
        self.keep_last = keep_last
        self.select = select
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def save(self, state: Snapshot, manifest: CheckpointManifest) -> None:
        """Write in the background; waits for (and reports the error of) the write before.

        Raises:
            RunError: the lease was lost.
        """
        self.wait()
        if self.lease is not None:
            self.lease.verify()
        self._pending = self._writer.submit(self._write, state, manifest)

    def wait(self) -> None:
        """Wait until nothing is being written; raise the error of the last write."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def committed(self) -> list[CheckpointManifest]:
        """Return every committed checkpoint, oldest first."""
        committed = [
            self._manifest(name)
            for name in self.folder.list(FOLDER)
            if self.folder.exists(FOLDER, name, MANIFEST)
        ]
        return sorted(committed, key=lambda manifest: manifest.step)

    def latest(self) -> CheckpointManifest | None:
        """Return the newest checkpoint whose files are all there in full size; a damaged one is
        passed over."""
        return next((m for m in reversed(self.committed()) if self._whole(m)), None)

    def best(self) -> CheckpointManifest | None:
        """Return the one with the largest selection metric; the newest if none was evaluated."""
        scored = [
            m for m in self.committed() if math.isfinite(m.metrics.get(self.select, math.nan))
        ]
        return (
            max(scored, key=lambda m: (m.metrics[self.select], m.step)) if scored else self.latest()
        )

    def load(self, manifest: CheckpointManifest) -> Snapshot:
        """Return the state that a checkpoint holds.

        Raises:
            RunError: a file is not what the manifest says, or holds more than plain tensors and
                numbers.
        """
        name = folder_name(manifest.step)
        contents = {}
        for file, (_, digest) in manifest.files.items():
            contents[file] = self.folder.read(FOLDER, name, file)
            if hashlib.sha256(contents[file]).hexdigest() != digest:
                raise RunError(
                    f"checkpoint {self.path(manifest)} is damaged ({file}); delete it to use the "
                    "one before"
                )
        try:
            state = torch.load(
                io.BytesIO(contents["state.pt"]), map_location="cpu", weights_only=True
            )
        except Exception as error:
            raise RunError(
                f"checkpoint {self.path(manifest)} holds more than tensors and is refused"
            ) from error
        return Snapshot(
            manifest.step, safetensors.torch.load(contents["weights.safetensors"]), state
        )

    def path(self, manifest: CheckpointManifest) -> str:
        return self.folder.url_of(FOLDER, folder_name(manifest.step))

    def _write(self, state: Snapshot, manifest: CheckpointManifest) -> None:
        name = folder_name(manifest.step)
        buffer = io.BytesIO()
        torch.save(state.state, buffer)
        contents = {
            "weights.safetensors": safetensors.torch.save(state.weights),
            "state.pt": buffer.getvalue(),
        }
        # A replay of steps that an earlier attempt has saved: without its manifest the checkpoint
        # does not count, until all of its files are new.
        if self.folder.exists(FOLDER, name, MANIFEST):
            self.folder.remove(FOLDER, name, MANIFEST)
        if self.folder.exists(FOLDER, name):
            self.folder.at(FOLDER, name).sweep()
        for file, data in contents.items():
            self.folder.write(data, FOLDER, name, file)
        files = {
            file: (len(data), hashlib.sha256(data).hexdigest()) for file, data in contents.items()
        }
        self.folder.write_json(asdict(manifest) | {"files": files}, FOLDER, name, MANIFEST)
        self._prune()

    def _prune(self) -> None:
        committed = self.committed()
        kept = {m.step for m in committed[-self.keep_last :]}
        if (best := self.best()) is not None:
            kept.add(best.step)
        for old in committed:
            if old.step not in kept:
                self.folder.remove(FOLDER, folder_name(old.step))

    def _manifest(self, name: str) -> CheckpointManifest:
        raw = self.folder.read_json(FOLDER, name, MANIFEST)
        if raw.get("version") != VERSION:
            raise RunError(
                f"checkpoint {name} is of version {raw.get('version')}; this Manta reads {VERSION}"
            )
        raw["files"] = {file: tuple(value) for file, value in raw["files"].items()}
        return CheckpointManifest(**raw)

    def _whole(self, manifest: CheckpointManifest) -> bool:
        try:
            place = self.folder.at(FOLDER, folder_name(manifest.step))
            return all((place / file).size() == size for file, (size, _) in manifest.files.items())
        except (OSError, MantaError):
            return False


def folder_name(step: int) -> str:
    return f"step-{step:08d}"


def new_manifest(
    step: int,
    *,
    steps_per_epoch: int,
    total_steps: int,
    fingerprint: str,
    run_id: str | None,
    metrics: dict[str, float],
) -> CheckpointManifest:
    """Return a manifest for `step` steps done, now."""
    return CheckpointManifest(
        step,
        step // steps_per_epoch,
        total_steps,
        fingerprint,
        run_id,
        time.time(),
        metrics=metrics,
    )


def _generators() -> dict[str, Any]:
    """Return the state of this process's random generators in types that a weights-only load
    takes."""
    kind, keys, position, has_gauss, cached = np.random.get_state()
    version, internal, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [
            str(kind),
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            position,
            has_gauss,
            cached,
        ],
        "python": [version, list(internal), gauss],
    }


def _set_generators(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))


def _to_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, dict):
        return {key: _to_cpu(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_to_cpu(item) for item in value)
    return value
