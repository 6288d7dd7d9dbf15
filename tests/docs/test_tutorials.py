"""README and tutorials are followed to the letter, each in an empty folder, and keep their word.

In this process and on one cluster where that makes no difference, since most of a small command's
time is the import of torch. `make test-docs` runs them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from follow import Reader
from snippets import ROOT, TUTORIALS

DECOYS = ("photos", "digits", "manta-runs", "temperature", "first", "second", "t1", "knn")
"""Folders of a user's own that are called as recipes, data, spaces and runs of the README are."""
pytestmark = pytest.mark.timeout(900)  # a page is many commands


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wide terminal, and the default store for runs."""
    monkeypatch.setenv("COLUMNS", "160")
    for name in ("MLFLOW_TRACKING_URI", "MANTA_RUNS", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("page", [ROOT / "README.md", *TUTORIALS], ids=lambda page: page.stem)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path, ray_cluster: str) -> None:
    installed = tmp_path / "site-packages"  # of what a page installs with pip
    environment = {
        "PIP_TARGET": str(installed),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONPATH": f"{installed}:{ROOT / 'platform'}",
    }
    reader = Reader(tmp_path / "work", environment)
    if page.stem == "README":
        for name in DECOYS:
            (reader.folder / name).mkdir()
    reader.follow(page)
