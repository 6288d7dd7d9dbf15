"""`manta.list_objectives` and the other lists; `manta.run_doctor`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from manta.api.arguments import PathLike
from manta.api.display import as_html, as_text

if TYPE_CHECKING:
    import pandas as pd

    from manta.doctor import Check


@dataclass(frozen=True, slots=True, repr=False)
class Listing:
    """What can be named in a recipe or in a call, of one kind.

    Attributes:
        kind: such as "objectives".
        rows: a mapping for each, all with the same keys; "name" is one.
    """

    kind: str
    rows: list[dict[str, Any]] = field(hash=False)

    @property
    def names(self) -> list[str]:
        """The names alone, sorted."""
        return [row["name"] for row in self.rows]

    @property
    def table(self) -> pd.DataFrame:
        """Return a row for each, with the names as the index."""
        import pandas as pd

        return pd.DataFrame(self.rows).set_index("name")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> dict[str, Any]:
        for row in self.rows:
            if row["name"] == name:
                return row
        raise KeyError(name)

    def __repr__(self) -> str:
        rows = [(row["name"], row.get("about") or row.get("paper") or "") for row in self.rows]
        return as_text(f"{len(self)} {self.kind}", rows)

    def _repr_html_(self) -> str:
        return as_html(f"{len(self)} {self.kind}", [], [self.table] if self.rows else [])


def list_kind(kind: str) -> Listing:
    """Return what there is of a kind, as `manta list KIND` does.

    Args:
        kind: objectives, encoders, evaluators, modalities, masks, materials, schedules, sources,
            recipes or spaces.

    Raises:
        ConfigError: there is no such kind.
    """
    from manta.catalogue import entries

    return Listing(kind, entries(kind))


def list_objectives() -> Listing:
    """Return the methods of pretraining, your own included: family, views, paper.

    Returns:
        One row a method.
    """
    return list_kind("objectives")


def list_encoders() -> Listing:
    """Return the architectures: timm's and Manta's own.

    Returns:
        One row an architecture; there are more than a thousand.
    """
    return list_kind("encoders")


def list_evaluators() -> Listing:
    """Return the evaluators, your own included, and whether they need labels.

    Returns:
        One row an evaluator.
    """
    return list_kind("evaluators")


def list_schedules() -> Listing:
    """Return the schedules that a number of a recipe can follow.

    Returns:
        One row a schedule.
    """
    return list_kind("schedules")


def list_sources() -> Listing:
    """Return the kinds of data that `manta.ingest` reads.

    Returns:
        One row a kind.
    """
    return list_kind("sources")


def list_recipes() -> Listing:
    """Return the recipes that ship, each with its path and what it is for.

    Returns:
        One row a recipe.
    """
    return list_kind("recipes")


def list_spaces() -> Listing:
    """Return the search spaces that ship, each with its path and what it varies.

    Returns:
        One row a search space.
    """
    return list_kind("spaces")


def run_doctor(runs: PathLike = "manta-runs") -> list[Check]:
    """Check versions, devices, Ray, the tracking store and free disk; start and write nothing.

    Args:
        runs: folder or URL that holds the runs.

    Returns:
        A check for each thing: `name`, `status` ("ok", "warn" or "bad"), what was `found`, and one
        line that mends it.
    """
    from manta.doctor import checks

    return checks(os.fspath(runs))
