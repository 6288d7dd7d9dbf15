"""The names of `manta`: which there are, how quickly they come, and that each is documented."""

from __future__ import annotations

import inspect
import pkgutil
import subprocess
import sys

import pytest

import manta

NAMES = [
    "Comparison",
    "Description",
    "Embeddings",
    "Evaluation",
    "Experiment",
    "Export",
    "IngestedDataset",
    "Listing",
    "MantaError",
    "Promotion",
    "Run",
    "Study",
    "__version__",
    "compare",
    "describe",
    "embed",
    "estimate",
    "evaluate",
    "evaluator",
    "explore",
    "export",
    "ingest",
    "list_encoders",
    "list_evaluators",
    "list_objectives",
    "list_recipes",
    "list_schedules",
    "list_sources",
    "list_spaces",
    "load_encoder",
    "load_recipe",
    "objective",
    "promote",
    "register",
    "run_doctor",
    "survey",
    "train",
    "tune",
]
FUNCTIONS = [name for name in NAMES if inspect.isfunction(getattr(manta, name))]
RESULTS = [name for name in NAMES if name[0].isupper() and name not in ("Experiment", "MantaError")]
HEAVY = ("torch", "ray", "mlflow", "optuna", "pandas", "timm", "pydantic")


def test_the_public_names_are_these():
    assert manta.__all__ == sorted(NAMES)
    assert set(NAMES) <= set(dir(manta))


def test_no_public_name_hides_a_module():
    modules = {module.name for module in pkgutil.iter_modules(manta.__path__)}
    assert {"training", "report", "api"} <= modules
    assert modules & set(NAMES) == set()


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'manta' has no attribute 'trian'"):
        manta.trian  # noqa: B018


def test_import_manta_brings_nothing_heavy():
    code = f"import sys, manta; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_says_what_it_takes_returns_and_raises(name):
    function = getattr(manta, name)
    text = inspect.getdoc(function) or ""
    parameters = inspect.signature(function).parameters
    sections = [section for section in ("Args:", "Returns:", "Raises:") if section in text]
    assert sections, text
    if parameters:
        assert "Args:" in text
        described = text.partition("Args:")[2]
        assert [one for one in parameters if one not in described] == []
    assert len(text.splitlines()[0]) <= 100
    assert text.splitlines()[0].endswith(".")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_but_the_first_arguments_are_keywords(name):
    parameters = inspect.signature(getattr(manta, name)).parameters.values()
    positional = [one for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
    assert len(positional) <= 3
    assert all(one.default is one.empty for one in positional[:1]) or name == "run_doctor"


@pytest.mark.parametrize("name", RESULTS)
def test_every_result_shows_itself_and_names_its_attributes(name):
    kind = getattr(manta, name)
    text = inspect.getdoc(kind) or ""
    fields = list(kind.__dataclass_fields__)
    assert "Attributes:" in text
    assert [field for field in fields if field not in text] == []
    assert kind.__dataclass_params__.frozen
    assert callable(kind._repr_html_)
    assert kind.__repr__ is not object.__repr__
