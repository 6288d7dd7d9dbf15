"""Checkpoints, which their manifest commits and which load without unpickling executable code.

checkpoints/step-00000100/
  weights.safetensors   the objective's parameters and buffers
  state.pt              optimizer, extra state, random generators of every rank
                        (torch.load weights_only=True)
  manifest.json         written last: step, position, fingerprint, run id, sizes and digests;
                        a folder without it is not a checkpoint
"""

from __future__ import annotations

import hashlib
import io
import math
import random
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import safetensors.torch
import torch
import torch.distributed as dist
from torch import Tensor, nn

from manta.errors import DiskFull, MantaError, RunError
from manta.runs.folder import RunFolder
from manta.runs.lease import Lease

FOLDER = "checkpoints"
MANIFEST = "manifest.json"
VERSION = 1


@dataclass(frozen=True, slots=True)
class CheckpointManifest:
    """Description of a checkpoint.

    Attributes:
        step: number of optimizer steps done.
        fingerprint: of the experiment; a resume must have the same.
        files: `(size in bytes, SHA-256)` by file name.
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
    """Copy of a run's state at a step, on the CPU, which later training does not change."""

    step: int
    weights: dict[str, Tensor]
    state: dict[str, Any]

    def restore(self, objective: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Load everything back, including this rank's random generators."""
        objective.load_state_dict(self.weights | self.state["extra"])
        optimizer.load_state_dict(self.state["optimizer"])
        rank = dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
        generators = self.state["generators"]
        # With more ranks than before, the new ones keep the generators that they were seeded with.
        if rank < len(generators):
            _set_generators(generators[rank])


def snapshot(objective: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> Snapshot | None:
    """Return the state of a run on rank 0, and None on the other ranks.

    Every rank must call this, since it gathers the random generators of all ranks.
    """
    own = _generators()
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        everyone: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(everyone, own)
        if dist.get_rank() != 0:
            return None
    else:
        everyone = [own]
    # Copies, because the background thread writes them while training goes on.
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
    """Checkpoints of one run, written by a background thread.

    Args:
        folder: the run's folder.
        lease: verified before each write; None for readers.
        keep_last: number of the newest checkpoints to keep, besides the best.
        select: metric (larger is better) that decides which one is the best.
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
        """Start writing a checkpoint in the background, after waiting for the write before.

        Raises:
            RunError: the lease was lost.
            Exception: the error of the write before.
        """
        # At most one write at a time: it bounds the memory for snapshots, and checkpoints are
        # committed in the order of their steps.
        self.wait()
        # In this thread, so that training stops here and not at the next save.
        if self.lease is not None:
            self.lease.verify()
        self._pending = self._writer.submit(self._write, state, manifest)

    def wait(self) -> None:
        """Wait until nothing is being written; raise the error of the last write, if any."""
        if self._pending is not None:
            # Cleared first, so that an error is raised once only.
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
        """Return the newest checkpoint all of whose files have their full size, or None.

        Damaged checkpoints are skipped.
        """
        return next((m for m in reversed(self.committed()) if self._whole(m)), None)

    def best(self) -> CheckpointManifest | None:
        """Return the checkpoint with the largest `select`; the newest if none was evaluated."""
        scored = [
            m for m in self.committed() if math.isfinite(m.metrics.get(self.select, math.nan))
        ]
        return (
            max(scored, key=lambda m: (m.metrics[self.select], m.step)) if scored else self.latest()
        )

    def load(self, manifest: CheckpointManifest) -> Snapshot:
        """Return the state in a checkpoint.

        Raises:
            RunError: a file differs from its digest in the manifest, or holds more than plain
                tensors and numbers.
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
            # Weights only: a checkpoint may come from anywhere, and unpickling can run any code.
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
        """Write the files of a checkpoint, commit it, and delete old ones."""
        name = folder_name(manifest.step)
        buffer = io.BytesIO()
        torch.save(state.state, buffer)
        contents = {
            "weights.safetensors": safetensors.torch.save(state.weights),
            "state.pt": buffer.getvalue(),
        }
        # An earlier attempt may have saved this step. Its manifest goes first: until all files are
        # new, the folder must not count as a checkpoint.
        if self.folder.exists(FOLDER, name, MANIFEST):
            self.folder.remove(FOLDER, name, MANIFEST)
        if self.folder.exists(FOLDER, name):
            self.folder.at(FOLDER, name).sweep()
        try:
            self._commit(contents, manifest, name)
        except DiskFull:
            # The half of it would take the room that the resumed run needs for the whole.
            with suppress(OSError, MantaError):
                self.folder.remove(FOLDER, name)
            raise
        # Only now: before the commit, an old checkpoint may be the only complete one.
        self._prune()

    def _commit(self, contents: dict[str, bytes], manifest: CheckpointManifest, name: str) -> None:
        """Write the files of a checkpoint, then its manifest, with which it exists."""
        for file, data in contents.items():
            self.folder.write(data, FOLDER, name, file)
        files = {
            file: (len(data), hashlib.sha256(data).hexdigest()) for file, data in contents.items()
        }
        self.folder.write_json(asdict(manifest) | {"files": files}, FOLDER, name, MANIFEST)

    def _prune(self) -> None:
        """Delete all checkpoints but the newest `keep_last` and the best."""
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
        """Return whether all files have their full size; digests are checked by `load`."""
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
    """Return a manifest for a checkpoint after `step` steps, created now."""
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
    """Return the state of this process's random generators, of Python, NumPy and torch."""
    # As tensors, lists and numbers: a weights-only load refuses NumPy arrays.
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
