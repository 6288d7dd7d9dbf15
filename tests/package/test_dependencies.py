"""What `pyproject.toml` declares is what the code imports."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path

import yaml

import manta
from manta.extras import EXTRAS, describe_extras, missing_extras

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Declared, but imported by what Manta imports and not by Manta.
INDIRECT = {
    "cmaes": "Optuna's CMA-ES sampler",
    "nvidia-ml-py": "MLflow's metrics of the GPU",
    "editables": "hatchling, for `pip install --editable`",
    "hatchling": "pip, which builds Manta with it",
    "pytest-xdist": "a plugin of pytest",
    "pytest-timeout": "a plugin of pytest",
    "ipykernel": "nbclient, which runs a notebook in it",
    "nbclient": "a command of the test of notebooks",
    "pandas-stubs": "mypy",
    "types-pyyaml": "mypy",
    "ruff": "a command",
    "mypy": "a command",
    "import-linter": "a command",
    "optuna-dashboard": "a command",
    "s3fs": "fsspec, for s3://",
    "gcsfs": "fsspec, for gs://",
    "psycopg": "SQLAlchemy, for postgresql://",
    "onnx": "torch.onnx",
    "onnxscript": "torch.onnx",
    "pillow-heif": "Pillow, for HEIC: the modality's _formats registers it by name",
    "pillow-jxl-plugin": "Pillow, for JPEG XL: the modality's _formats registers it by name",
    "soundfile": "the audio modality, which loads it by name",
    "tokenizers": "the text modality, which loads it by name",
    "mkdocs": "a command",
    "mkdocs-material": "MkDocs",
    "mkdocstrings": "MkDocs",
    "mkdocstrings-python": "MkDocs",
}
# The distribution of a module that has more than one, or is a part of another's.
OWNERS = {"mlflow": "mlflow", "google": "protobuf", "pydantic_core": "pydantic"}
# Imported only where it runs already.
PRESENT = {"ipython"}


def test_every_declared_dependency_is_imported_or_has_a_reason() -> None:
    own = {normal(name) for name in distributions(ROOT / "platform")}
    assert sorted(declared("dependencies") - own - INDIRECT.keys()) == []
    everywhere = own | {normal(name) for name in distributions(ROOT / "tests")}
    optional = set().union(*(declared(extra) for extra in PROJECT["optional-dependencies"]))
    assert sorted(optional - everywhere - INDIRECT.keys()) == []


def test_no_reason_is_given_for_what_is_not_declared() -> None:
    optional = (declared(extra) for extra in PROJECT["optional-dependencies"])
    assert sorted(INDIRECT.keys() - set().union(declared("dependencies"), *optional)) == []


def test_every_import_is_declared() -> None:
    allowed = declared("dependencies").union(*(declared(extra) for extra in EXTRAS))
    undeclared = {normal(name) for name in distributions(ROOT / "platform")} - allowed
    assert sorted(undeclared - {"manta-ssl"} - PRESENT) == []


def test_the_doctor_names_the_extras_that_a_user_may_want() -> None:
    assert set(PROJECT["optional-dependencies"]) - {"dev", "docs"} == EXTRAS.keys()
    absent = missing_extras()
    assert "onnx" not in absent  # part of dev
    assert ("s3" in absent) == ("s3:// paths" in describe_extras())


def test_an_extra_that_is_missing_is_named_with_its_remedy(monkeypatch) -> None:
    monkeypatch.setattr("manta.extras.find_spec", lambda name: None if name == "onnx" else name)
    assert describe_extras() == (
        "s3, gcs, postgres, heif, jxl, audio, text, dashboard; not installed: "
        "onnx (export to ONNX): pip install 'manta-ssl[onnx]'"
    )


def test_the_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert PROJECT["version"] == manta.__version__ == citation["version"] == version("manta-ssl")


def test_the_lock_pins_all_that_is_declared_and_nothing_twice() -> None:
    lines = (ROOT / "requirements.lock").read_text().split()
    pinned = [normal(line.partition("==")[0]) for line in lines]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    assert len(pinned) == len(set(pinned))
    groups = ("dependencies", "dev", "docs", "postgres", "onnx", "dashboard")
    installed = set().union(*(declared(group) for group in groups))
    assert sorted(installed - set(pinned) - {"manta-ssl"}) == []


def declared(group: str) -> set[str]:
    """Return the distributions of `dependencies` or of an extra, by their normal names."""
    lines = PROJECT[group] if group in PROJECT else PROJECT["optional-dependencies"][group]
    names = {normal(re.split(r"[\[<>=~!;\s]", line)[0]) for line in lines}
    return names - {"manta-ssl"}


def distributions(folder: Path) -> set[str]:
    """Return the distributions of the foreign modules that the files of `folder` import."""
    owners = packages_distributions()
    modules = {module for path in folder.rglob("*.py") for module in imported(path)}
    foreign = {module for module in modules if module not in sys.stdlib_module_names}
    return {
        OWNERS.get(module) or owners[module][0]
        for module in foreign - {"manta"}
        if module in owners
    } | {
        module
        for module in foreign - {"manta"}
        if module not in owners and "platform" in str(folder)
    }


def imported(path: Path) -> Iterator[str]:
    """Yield the first part of every module that a file imports, at any depth, also by name."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                yield from (alias.name.partition(".")[0] for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0]
            case ast.Call(func=ast.Name(id="import_module" | "find_spec"), args=[ast.Constant(v)]):
                yield str(v).partition(".")[0]


def normal(name: str) -> str:
    """Return the name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()
