"""The card of a run's model."""

from __future__ import annotations

from typing import Any

from manta.runs.folder import RunFolder
from manta.runs.store import load_experiment
from manta.tracking.card import model_card


def card_of(folder: RunFolder) -> str:
    """Markdown, from what the run has written down so far."""
    return model_card(load_experiment(folder), folder.read_json("run.json"), evaluation_of(folder))


def evaluation_of(folder: RunFolder) -> dict[str, Any]:
    """The run's last evaluation; empty if it had none."""
    return dict(folder.read_json("evaluation.json")) if folder.exists("evaluation.json") else {}
