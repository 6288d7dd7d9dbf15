"""Benchmarks import what exists: nothing else runs them, so a rename would break them unnoticed."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

BENCHMARKS = sorted((Path(__file__).resolve().parents[2] / "benchmarks").glob("*.py"))


def missing_imports(source: str) -> list[str]:
    """Return the names that a script imports from Manta, at any depth, and that do not exist."""
    missing = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("manta"):
            continue
        module = importlib.import_module(node.module or "")
        for alias in node.names:
            if not hasattr(module, alias.name) and not _is_module(f"{node.module}.{alias.name}"):
                missing.append(f"{node.module}.{alias.name}")
    return missing


def _is_module(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return False
    return True


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_benchmarks_import_what_exists(path: Path) -> None:
    assert missing_imports(path.read_text()) == []


def test_a_missing_name_is_found() -> None:
    source = "def f():\n    from manta.batch import Batch, Nothing\n"
    assert missing_imports(source) == ["manta.batch.Nothing"]
