"""Listings of all that can be named: objectives, encoders, evaluators, recipes and so on."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from manta.errors import ConfigError


def entries(kind: str) -> list[dict[str, Any]]:
    """Return one mapping for each component of a kind, all with the same keys; JSON-able.

    Raises:
        ConfigError: there is no such kind.
    """
    listings = {
        "objectives": _objectives,
        "encoders": _encoders,
        "evaluators": _evaluators,
        "modalities": _modalities,
        "masks": _masks,
        "materials": _materials,
        "schedules": _schedules,
        "sources": _sources,
        "recipes": _recipes,
        "spaces": _spaces,
    }
    if kind not in listings:
        raise ConfigError(
            f"nothing of the kind {kind!r} can be listed; one of {', '.join(listings)}"
        )
    return listings[kind]()


def recipe_folder() -> Path:
    """Return the folder of recipes.

    It is `jobs/recipes` of the working directory if there is one, else of the checkout that Manta
    is installed from, else of the installed package.
    """
    return _shipped("jobs/recipes")


def space_folder() -> Path:
    """Return the folder of search spaces, `search_spaces`, found as the recipes are."""
    return _shipped("search_spaces")


def recipe_named(name: str) -> Path:
    """Return the path of the recipe of this name: the user's own, else the one that ships."""
    return _named("jobs/recipes", name)


def space_named(name: str) -> Path:
    """Return the path of the search space of this name, as `recipe_named`."""
    return _named("search_spaces", name)


def _named(folder: str, name: str) -> Path:
    places = [place / f"{name}.yaml" for place in _places(folder)]
    return next((place for place in places if place.is_file()), places[0])


def _shipped(folder: str) -> Path:
    return _places(folder)[0]


def _places(folder: str) -> list[Path]:
    """Return the folders that there are: a user's own must not hide what ships."""
    checkout = Path(__file__).resolve().parents[2]
    # A wheel has them inside the package: see `force-include` in pyproject.toml.
    packaged = Path(str(files("manta"))) / "shipped" / Path(folder).name
    there = [place for place in (Path(folder), checkout / folder) if place.is_dir()]
    return [*there, packaged]


def _objectives() -> list[dict[str, Any]]:
    from manta.objectives import OBJECTIVES

    return [_objective(name, kind) for name, kind in OBJECTIVES.items()]


def _objective(name: str, kind: Any) -> dict[str, Any]:
    """Return one row; a user's own method may come from no paper and belong to no family."""
    paper = getattr(kind, "paper", None)
    optional = "optional, from a column that is named"
    return {
        "name": name,
        "family": getattr(kind, "family", None),
        "views": kind.views,
        "keeps": list(kind.keeps),
        "labels": optional if kind.labels == "optional" else "none",
        "exchange": kind.exchange.value,
        "slow_start": kind.slow_start,
        "paper": f"{paper.title} ({paper.year})" if paper else None,
        "reference": paper.reference if paper else None,
        "source": paper.source if paper else None,
    }


def _encoders() -> list[dict[str, Any]]:
    from manta.encoders import names

    return [{"name": name} for name in names()]


def _evaluators() -> list[dict[str, Any]]:
    from manta.config.reference import paragraph
    from manta.evaluators import EVALUATORS

    return [
        {"name": name, "needs_labels": kind.needs_labels, "about": paragraph(kind)}
        for name, kind in EVALUATORS.items()
    ]


def _modalities() -> list[dict[str, Any]]:
    from manta.config.reference import paragraph
    from manta.modalities import MODALITIES

    return [
        {
            "name": name,
            "samples": kind.noun,
            "files": list(kind.suffixes),
            "about": paragraph(kind),
        }
        for name, kind in MODALITIES.items()
    ]


def _masks() -> list[dict[str, Any]]:
    from manta.config.reference import paragraph
    from manta.views.masks import MASKS

    return [
        {
            "name": name,
            "settings": [field for field in kind.model_fields if field != "ratio"],
            "lengths": "rows of any" if kind.ragged else "rows of one size",
            "about": paragraph(kind),
        }
        for name, kind in MASKS.items()
    ]


def _materials() -> list[dict[str, Any]]:
    from manta.config.reference import paragraph
    from manta.materials import MATERIALS

    return [{"name": name, "about": paragraph(kind)} for name, kind in MATERIALS.items()]


def _schedules() -> list[dict[str, Any]]:
    from manta.config.reference import paragraph
    from manta.schedules import SCHEDULES

    return [{"name": name, "about": paragraph(kind)} for name, kind in sorted(SCHEDULES.items())]


def _sources() -> list[dict[str, Any]]:
    from manta.config.reference import paragraph
    from manta.data import SOURCES

    return [{"name": name, "about": paragraph(kind)} for name, kind in SOURCES.items()]


def _recipes() -> list[dict[str, Any]]:
    return _described("jobs/recipes")


def _spaces() -> list[dict[str, Any]]:
    return _described("search_spaces")


def _described(folder: str) -> list[dict[str, Any]]:
    names = {path.stem for place in _places(folder) for path in place.glob("*.yaml")}
    paths = [_named(folder, name) for name in sorted(names)]
    return [{"name": path.stem, "path": str(path), "about": _about(path)} for path in paths]


def _about(path: Path) -> str:
    """Return a file's description on one line; empty where it has none."""
    try:
        tree = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return "cannot be read"
    about = tree.get("description") if isinstance(tree, dict) else None
    return "" if about is None else " ".join(str(about).split())
