"""Where a trial goes on from: its own checkpoints, or another trial's that PBT copied; after a kill
at any moment too.

A trial's folder holds `rungs.json`, the results behind its weights (those of the trials that it
copied included), and `taken.json`, what it copied last and with which values. What it holds says
what a resume starts from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from manta.errors import MantaError
from manta.runs.checkpoint import CheckpointManifest, Checkpoints, folder_name
from manta.runs.folder import RunFolder

RUNGS, TAKEN = "rungs.json", "taken.json"

Drawn = Mapping[str, Any] | None
Results = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Start:
    """Of an attempt.

    Attributes:
        source: the checkpoint to load; None: the newest of the trial's own.
        results: behind the weights, as far as Tune knows them or need not.
        past: behind the weights, after `results`: Tune must hear them again.
        drawn: what to train with.
        seconds: that earlier attempts took.
    """

    source: tuple[Checkpoints, CheckpointManifest] | None
    results: Results
    past: Results
    drawn: Drawn
    seconds: float


def taken_over(folder: RunFolder, pointer: Mapping[str, Any], drawn: Drawn) -> Start:
    """Go on from where a pointer leads: to the trial's own checkpoint after a pause, to a better
    trial's under PBT.

    Raises:
        MantaError: the checkpoint is gone.
    """
    donor, found = _find(pointer)
    own = donor.folder.url == folder.url
    found = donor.latest() if found is None and own else found
    if found is None:
        raise MantaError(f"the checkpoint of step {pointer['step']} of {donor.folder.url} is gone")
    if not own:
        folder.write_json({**pointer, "drawn": drawn}, TAKEN)
        for mine in Checkpoints(folder, None).committed():
            if mine.step > found.step:  # or a resume would take it for the newest
                folder.remove("checkpoints", folder_name(mine.step))
    return Start((donor, found), list(pointer["results"]), [], drawn, _seconds(_rungs(folder)))


def resumed(folder: RunFolder, drawn: Drawn, fingerprint: Callable[[Drawn], str]) -> Start:
    """Go on from what the folder holds; in a new folder, begin.

    Args:
        drawn: what the study's database says, which PBT may have changed since.
        fingerprint: of the trial's configuration with such values, as checkpoints carry it.
    """
    rungs = _rungs(folder)
    newest = Checkpoints(folder, None).latest()
    step = 0 if newest is None else newest.step
    past = [result for result in rungs if result["step"] <= step]
    if folder.exists(TAKEN):
        taken = folder.read_json(TAKEN)
        copied, values = taken["results"], taken["drawn"]
        source = _find(taken)
        if (
            newest is not None
            and step > taken["step"]
            and newest.fingerprint == fingerprint(values)
        ):
            reported = rungs[: len(copied)] == copied and len(past) > len(copied)
            return Start(
                None, [] if reported else copied, past if reported else [], values, _seconds(rungs)
            )
        if source[1] is not None:  # killed before its first checkpoint with the copied weights
            return Start((source[0], source[1]), copied, [], values, _seconds(rungs))
    return Start(None, [], past, past[-1]["drawn"] if past else drawn, _seconds(past))


def _find(pointer: Mapping[str, Any]) -> tuple[Checkpoints, CheckpointManifest | None]:
    donor = Checkpoints(RunFolder(pointer["folder"]), None)
    return donor, next(
        (manifest for manifest in donor.committed() if manifest.step == pointer["step"]), None
    )


def _rungs(folder: RunFolder) -> Results:
    return list(folder.read_json(RUNGS)) if folder.exists(RUNGS) else []


def _seconds(results: Results) -> float:
    return float(results[-1]["seconds"]) if results else 0.0
