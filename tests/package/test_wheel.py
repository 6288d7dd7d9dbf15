"""The wheel holds all that Manta needs away from its repository."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from manta import catalogue
from manta.catalogue import entries, recipe_folder, space_folder

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a wheel built from this checkout, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("manta_ssl-*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("jobs/recipes/*.yaml", "manta/shipped/recipes"),
        ("search_spaces/*.yaml", "manta/shipped/search_spaces"),
        ("platform/manta/report/template/*", "manta/report/template"),
        ("platform/manta/py.typed", "manta"),
    ],
)
def test_files_that_are_not_python_are_in_it(unpacked: Path, source: str, place: str) -> None:
    here = sorted(ROOT.glob(source))
    assert here
    for path in here:
        assert (unpacked / place / path.name).read_bytes() == path.read_bytes()


def test_its_metadata_name_licence_extras_and_python(unpacked: Path) -> None:
    (folder,) = unpacked.glob("manta_ssl-*.dist-info")
    lines = (folder / "METADATA").read_text().splitlines()
    assert "License-Expression: Apache-2.0" in lines
    assert "Requires-Python: <3.13,>=3.11" in lines
    assert "Provides-Extra: postgres" in lines
    assert "Apache License" in (folder / "licenses" / "LICENSE").read_text()


def test_recipes_are_found_in_the_package_where_there_is_no_checkout(
    unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = unpacked / "manta"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(catalogue, "__file__", str(package / "catalogue.py"))
    monkeypatch.setattr(catalogue, "files", lambda name: package)
    assert recipe_folder() == package / "shipped" / "recipes"
    assert space_folder() == package / "shipped" / "search_spaces"
    assert "digits" in {row["name"] for row in entries("recipes")}

    # A folder of the user's own adds to what ships, as in a checkout.
    (tmp_path / "jobs/recipes").mkdir(parents=True)
    own = {"description": "one of my own"}
    (tmp_path / "jobs/recipes/mine.yaml").write_text(yaml.safe_dump(own))
    about = {row["name"]: row["about"] for row in entries("recipes")}
    assert about["mine"] == "one of my own"
    assert len(about) > 40
