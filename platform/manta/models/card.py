"""Card of a run's model."""

from __future__ import annotations

from typing import Any

from manta.config import Experiment
from manta.runs.folder import RunFolder
from manta.tracking.card import model_card


def card_of(folder: RunFolder, experiment: Experiment) -> str:
    """Return a model's card as Markdown, from the files that the run has written so far.

    Args:
        experiment: the run's own configuration.
    """
    return model_card(experiment, folder.read_json("run.json"), evaluation_of(folder))


def evaluation_of(folder: RunFolder) -> dict[str, Any]:
    """Return the run's last evaluation; empty if there is none."""
    return dict(folder.read_json("evaluation.json")) if folder.exists("evaluation.json") else {}
