"""What a study's database holds, and how it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from manta.errors import ConfigError
from manta.secrets import without_secrets

ATTRIBUTE = "manta."
"""Prefix of user attributes: state, reason, run_id, values, epochs, seconds, default."""
ENDINGS = ("complete", "pruned", "failed")
RESOURCE, REPEATED = "resource", "repeated"
NOTED = (RESOURCE, "epochs", "seconds", "training_seconds", "evaluation_seconds", "run_id")
"""What a trial's result holds beside its numbers."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trial ended. `values` are all numbers of its last rung."""

    state: str
    reason: str | None
    values: dict[str, float]


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """
    Raises:
        ConfigError: the database cannot be opened.
    """
    try:
        return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
    except ImportError:
        raise ConfigError(
            f"study.storage={without_secrets(url)} needs a driver; pip install 'manta-ssl[postgres]'"
        ) from None
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = without_secrets(lines[0]) if lines else type(error).__name__
        raise ConfigError(
            f"study.storage={without_secrets(url)} cannot be opened: {reason}; "
            "name a database such as postgresql://user@host/name, or leave it away for SQLite"
        ) from None


def rejected(trial: FrozenTrial) -> bool:
    """Drawn, but refused by a constraint: not a trial that anyone asked for."""
    return bool(trial.user_attrs.get(f"{ATTRIBUTE}state") == "rejected")


def numbers(result: Mapping[str, Any]) -> dict[str, float]:
    """What was measured, out of Tune's flat result."""
    prefix = "values/"
    return {
        key.removeprefix(prefix): float(value)
        for key, value in result.items()
        if key.startswith(prefix)
    }
