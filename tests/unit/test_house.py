"""The measures of the house: that the tree keeps its limits, and that each measure can fail."""

from pathlib import Path

import pytest

import house

PACKAGE = {
    "manta/__init__.py": "",
    "manta/a/__init__.py": "",
    "manta/a/one.py": "from manta.b import two\n",
    "manta/a/_hidden.py": "secret = 1\n",
    "manta/b/__init__.py": "",
    "manta/b/two.py": "def late():\n    from manta.a.one import x\n\n    return x\n",
    "manta/b/three.py": "from manta.a._hidden import secret\nfrom manta.a.one import _own\n",
}


@pytest.fixture
def package(tmp_path: Path) -> dict[str, house.Module]:
    for name, text in PACKAGE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return house.modules(tmp_path)


@pytest.mark.parametrize("figure", house.figures(), ids=lambda figure: figure.title)
def test_the_house_keeps_its_limits(figure: house.Figure) -> None:
    assert figure.good, f"{figure.value}, and {figure.limit} is the limit: {figure.places[:20]}"


def test_a_circle_by_an_import_inside_a_function_is_found(package: dict[str, house.Module]) -> None:
    assert house.circles(house.import_graph(package)) == [["manta.a.one", "manta.b.two"]]
    assert house.circles(house.rooms_graph(package)) == [["manta.a", "manta.b"]]


def test_a_relative_import_counts(tmp_path: Path, package: dict[str, house.Module]) -> None:
    (tmp_path / "manta/a/one.py").write_text("")
    (tmp_path / "manta/a/four.py").write_text("from . import five\n")
    (tmp_path / "manta/a/five.py").write_text("from .four import x\n")
    graph = house.import_graph(house.modules(tmp_path))
    assert house.circles(graph) == [["manta.a.five", "manta.a.four"]]


def test_private_imports_across_rooms_are_found(package: dict[str, house.Module]) -> None:
    assert house.private_imports(package) == [
        "manta.b.three imports secret from manta.a._hidden",
        "manta.b.three imports _own from manta.a.one",
    ]


def test_a_docstring_without_a_verb_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house, "ROOT", tmp_path)
    file = tmp_path / "manta" / "x.py"
    file.parent.mkdir()
    file.write_text('def f():\n    """What it is."""\n\n\ndef g():\n    """Return it."""\n')
    assert house.wordless(house.modules(tmp_path)) == ["manta/x.py:1 f: What ..."]


def test_long_lines_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house, "ROOT", tmp_path)
    file = tmp_path / "x.py"
    file.write_text("short\n" + "x" * 101 + "\n" + "y" * 100 + "\n")
    assert house.long_lines([file]) == ["x.py:2"]
