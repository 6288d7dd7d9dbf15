"""The reference of the Python API: a directive of mkdocstrings for every public name."""

from __future__ import annotations

import pkgutil

import manta
import manta.functional

MANTA = """# manta

All that the command line does, from Python: `import manta`. The tutorial is
[From Python](../tutorials/python.md).
"""
FUNCTIONAL = """# manta.functional

The equations of the methods, as pure functions of tensors, each tested against a float64 reference
that is written from its paper. They need torch only.
"""
EXTENDING = """# Extending Manta

The contracts behind [your own objective](../tutorials/your-objective.md), evaluator or source. A
component is registered by a decorator, and found in an installed package through the entry-point
group `manta.objectives`, `manta.evaluators`, `manta.encoders` or `manta.sources`.
"""
CONTRACTS = (
    "manta.objectives.Objective",
    "manta.objectives.ObjectiveConfig",
    "manta.objectives.HeadConfig",
    "manta.objectives.Paper",
    "manta.objectives.Exchange",
    "manta.objectives.Queue",
    "manta.objectives.SampleTable",
    "manta.batch",
    "manta.encoders.Encoder",
    "manta.evaluators.Evaluator",
    "manta.data.sources.Source",
    "manta.registry.Registry",
)


def write_manta() -> str:
    """Return the page of the names in `manta.__all__`."""
    names = [name for name in manta.__all__ if not name.startswith("__")]
    return page(MANTA, [f"manta.{name}" for name in names])


def write_functional() -> str:
    """Return the page of the modules of equations."""
    modules = pkgutil.iter_modules(manta.functional.__path__, "manta.functional.")
    return page(FUNCTIONAL, [one.name for one in modules if "._" not in one.name])


def write_extending() -> str:
    """Return the page of the contracts."""
    return page(EXTENDING, list(CONTRACTS))


def page(head: str, names: list[str]) -> str:
    """Return a page that documents the names in order."""
    return "\n\n".join([head, *(f"::: {name}" for name in names)]) + "\n"
