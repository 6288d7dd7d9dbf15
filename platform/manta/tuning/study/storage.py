"""The study's database: how it is opened, and the attributes of trials in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial

from manta.errors import ConfigError
from manta.report.study.record import TrialState
from manta.secrets import without_secrets

ATTRIBUTE = "manta."
"""Prefix of user attributes: state, reason, run_id, values, rungs, epochs, seconds, default."""
ENDINGS = ("complete", "pruned", "failed")
"""States of a trial that has ended."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trial ended.

    Attributes:
        reason: why it did not come to its end.
        values: all numbers of its last rung.
    """

    state: TrialState
    reason: str | None
    values: dict[str, float]


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """Open a database.

    Raises:
        ConfigError: it cannot be opened.
    """
    try:
        return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
    except ImportError:
        raise ConfigError(
            f"study.storage={without_secrets(url)} needs a driver; "
            "pip install 'manta-ssl[postgres]'"
        ) from None
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = without_secrets(lines[0]) if lines else type(error).__name__
        raise ConfigError(
            f"study.storage={without_secrets(url)} cannot be opened: {reason}; "
            "name a database such as postgresql://user@host/name, or leave it away for SQLite"
        ) from None


def attributes(trial: FrozenTrial | Trial) -> dict[str, Any]:
    """Return what Manta keeps of a trial, by attribute without the prefix."""
    return {key.removeprefix(ATTRIBUTE): value for key, value in trial.user_attrs.items()}


def rejected(trial: FrozenTrial) -> bool:
    """Return whether a constraint refused what was drawn, so that it is no trial of the study."""
    return bool(trial.user_attrs.get(f"{ATTRIBUTE}state") == "rejected")
