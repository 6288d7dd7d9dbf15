"""Names, hints and double registration."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from manta.errors import ConfigError
from manta.registry import Registry


def test_a_component_is_found_by_its_name_and_listed_in_order():
    registry: Registry[object] = Registry("things", "manta.views")
    registry.register("b")(int)
    registry.register("a")(float)
    assert registry["a"] is float
    assert list(registry) == ["a", "b"]
    assert "b" in registry
    assert "c" not in registry


def test_a_near_miss_gets_a_hint():
    registry: Registry[object] = Registry("things", "manta.views")
    registry.register("barlow_twins")(int)
    with pytest.raises(
        ConfigError, match="no thing is named 'barlow_twin'; did you mean 'barlow_twins'"
    ):
        registry["barlow_twin"]


def test_a_taken_name_is_refused():
    registry: Registry[object] = Registry("things", "manta.views")
    registry.register("a")(int)
    with pytest.raises(ConfigError, match="registered twice"):
        registry.register("a")(float)


NESTED = {
    "__init__.py": "",
    "flat.py": "",
    "sound/__init__.py": "",
    "sound/units.py": "",
    "sound/deeper/below.py": "",
    "sound/_private.py": "raise AssertionError('a private module was imported')",
    "_hidden/inner.py": "raise AssertionError('a private folder was imported')",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package with a folder, whose modules keep their own names."""
    root = tmp_path / "nested_things"
    for path, text in NESTED.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield root.name
    for name in [name for name in sys.modules if name.split(".")[0] == root.name]:
        del sys.modules[name]


def test_a_component_in_a_folder_is_found_by_its_own_name(package: str, tmp_path: Path) -> None:
    register = "import nested_things.kept as kept\n@kept.REGISTRY.register({!r})\nclass Part: ...\n"
    kept = "from manta.registry import Registry\n"
    kept += "REGISTRY = Registry('things', 'nested_things', nested=True)\n"
    root = tmp_path / package
    (root / "kept.py").write_text(kept)
    (root / "flat.py").write_text(register.format("flat"))
    (root / "sound/units.py").write_text(register.format("units"))
    (root / "sound/deeper/below.py").write_text(register.format("below"))
    registry = import_module("nested_things.kept").REGISTRY
    assert registry["units"] is not None
    assert "nested_things.sound.units" in sys.modules
    assert "nested_things.flat" not in sys.modules, "only the module of that name was imported"
    assert list(registry) == ["flat", "units"], "one level down, and no further"
    assert registry.own() == {}, "those of a folder are built in"


def test_folders_are_left_alone_unless_asked_for(package: str) -> None:
    registry: Registry[object] = Registry("things", package)
    assert "units" not in registry
    assert "nested_things.sound" in sys.modules
    assert "nested_things.sound.units" not in sys.modules
