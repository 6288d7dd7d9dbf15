"""Checks of the software: the checkout, Python and the required packages."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from manta.doctor.check import Check, installed_version, one_line
from manta.words import in_shell


def source_tree(package_folder: Path = Path(__file__).parents[1]) -> Check:
    """Check that the folder `platform` does not shadow the standard library's module.

    If it did, even `import torch` would fail.
    """
    name, stray = "source tree", package_folder.parent / "__init__.py"
    if stray.exists():
        mend = f"rm {in_shell(str(stray))}"
        return Check(name, "bad", f"{stray} exists and shadows the module `platform`", mend)
    return Check(name, "ok", str(package_folder))


def python() -> Check:
    """Check the version of Python."""
    found = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 12):
        return Check("Python", "ok", found)
    return Check(
        "Python",
        "bad",
        found,
        "make the environment with Python 3.11 or 3.12: python3.12 -m venv .venv",
    )


def images() -> Check:
    """Check which formats of images can be read beside those that every Pillow reads."""
    from manta.data import optional_formats

    formats = optional_formats()
    present = [kind for kind, remedy in formats.items() if not remedy]
    absent = [f"{kind} ({remedy})" for kind, remedy in formats.items() if remedy]
    line = ", ".join(["JPEG, PNG, WebP, GIF, TIFF, BMP", *present])
    return Check("images", "ok", line + (f"; not {', '.join(absent)}" if absent else ""))


def torch_pair() -> Check:
    """Check that torchvision was built for this torch; if not, it and timm fail to import."""
    found = f"torch {installed_version('torch')}, torchvision {installed_version('torchvision')}"
    try:
        torch = import_module("torch")
        boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
        import_module("torchvision").ops.nms(boxes, torch.ones(1), 0.5)
    except Exception as error:
        mend = (
            "pip install --force-reinstall torch torchvision (both from one index, so that they "
            "match)"
        )
        return Check("torch", "bad", f"{found}: {one_line(error)}", mend)
    return Check("torch", "ok", found)


def package(name: str, wanted: str) -> Check:
    """Check an installed distribution against a version specifier."""
    from packaging.specifiers import SpecifierSet

    title = {"mlflow": "MLflow", "optuna": "Optuna", "ray": "Ray"}.get(name, name)
    found = installed_version(name)
    if found == "missing":
        return Check(title, "bad", "not installed", f"pip install '{name}{wanted}'")
    if found not in SpecifierSet(wanted):
        return Check(title, "bad", f"{found}, needs {wanted}", f"pip install '{name}{wanted}'")
    return Check(title, "ok", found)


def ray() -> Check:
    """Check Ray and the packages that its dashboard needs."""
    check = package("ray", "==2.60.*")
    extras = [module for module in ("aiohttp_cors", "opencensus") if find_spec(module) is None]
    if check.status == "ok" and extras:
        found = (
            f"{check.found} without its dashboard ({', '.join(extras)} missing): stopped trials "
            "keep their resources"
        )
        return Check("Ray", "bad", found, "pip install 'ray[default,train,tune,data]==2.60.0'")
    return check
