"""Where a trial goes on from: its own checkpoints, or another trial's that PBT copied.

A trial's folder holds `rungs.json`, the results behind its weights (those of the trials that it
copied included), and `taken.json`, what it copied last and with which values. The process may be
killed between any two writes; what the folder holds then says what a resume starts from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from manta.errors import MantaError
from manta.runs.checkpoint import CheckpointManifest, Checkpoints, folder_name
from manta.runs.folder import RunFolder
from manta.tuning.study.rung_result import RungResult

RUNGS, TAKEN = "rungs.json", "taken.json"

Drawn = Mapping[str, Any] | None
"""Names of parameters to what was drawn; None: the recipe as it is."""


@dataclass(frozen=True, slots=True)
class Start:
    """What an attempt starts from.

    Attributes:
        source: the checkpoint to load; None: the newest of the trial's own.
        results: of the weights so far, which Tune knows or need not know.
        past: of the weights so far, after `results`: Tune must hear them again.
        drawn: what to train with.
        seconds: that earlier attempts took.
    """

    source: tuple[Checkpoints, CheckpointManifest] | None
    results: list[RungResult]
    past: list[RungResult]
    drawn: Drawn
    seconds: float


def taken_over(folder: RunFolder, pointer: Mapping[str, Any], drawn: Drawn) -> Start:
    """Return the start from where a pointer leads.

    That is the trial's own checkpoint after a pause, a better trial's under PBT.

    Raises:
        MantaError: the checkpoint is gone.
    """
    donor, manifest = _find(pointer)
    own = donor.folder.url == folder.url
    manifest = donor.latest() if manifest is None and own else manifest
    if manifest is None:
        raise MantaError(f"the checkpoint of step {pointer['step']} of {donor.folder.url} is gone")
    if not own:
        # Written before own checkpoints go: after a kill in between, `resumed` tells by the
        # fingerprint that the newest of them is of other values.
        folder.write_json({**pointer, "drawn": drawn}, TAKEN)
        for mine in Checkpoints(folder, None).committed():
            if mine.step > manifest.step:  # or a resume would take it for the newest
                folder.remove("checkpoints", folder_name(mine.step))
    results = _results(pointer["results"])
    return Start((donor, manifest), results, [], drawn, _seconds(_rungs(folder)))


def resumed(folder: RunFolder, drawn: Drawn, fingerprint: Callable[[Drawn], str]) -> Start:
    """Return the start from what the folder holds; a new folder holds nothing.

    Args:
        drawn: what the study's database says, which PBT may have changed since.
        fingerprint: of the trial's configuration with such values, as checkpoints carry it.
    """
    rungs = _rungs(folder)
    newest = Checkpoints(folder, None).latest()
    step = 0 if newest is None else newest.step
    # A rung beyond the newest checkpoint is trained again.
    past = [result for result in rungs if result.step <= step]
    if folder.exists(TAKEN):
        taken = folder.read_json(TAKEN)
        copied, values = _results(taken["results"]), taken["drawn"]
        # First: its own checkpoint with the copied weights trained further. Its fingerprint tells
        # it from one that the copy was to replace.
        ahead = newest is not None and step > taken["step"]
        if ahead and newest is not None and newest.fingerprint == fingerprint(values):
            reported = rungs[: len(copied)] == copied and len(past) > len(copied)
            results, again = ([], past) if reported else (copied, [])
            return Start(None, results, again, values, _seconds(rungs))
        # Second: it was killed before it had such a checkpoint, and copies once more.
        donor, manifest = _find(taken)
        if manifest is not None:
            return Start((donor, manifest), copied, [], values, _seconds(rungs))
    # Last: what it had of its own, since nothing was copied or the donor's checkpoint is gone.
    return Start(None, [], past, past[-1].drawn if past else drawn, _seconds(past))


def _find(pointer: Mapping[str, Any]) -> tuple[Checkpoints, CheckpointManifest | None]:
    """Return the checkpoints that a pointer leads to, and the one of its step if it is there."""
    donor = Checkpoints(RunFolder(pointer["folder"]), None)
    at_step = (manifest for manifest in donor.committed() if manifest.step == pointer["step"])
    return donor, next(at_step, None)


def _rungs(folder: RunFolder) -> list[RungResult]:
    return _results(folder.read_json(RUNGS)) if folder.exists(RUNGS) else []


def _results(plain: list[dict[str, Any]]) -> list[RungResult]:
    return [RungResult.from_plain(one) for one in plain]


def _seconds(results: list[RungResult]) -> float:
    return (results[-1].seconds or 0.0) if results else 0.0
