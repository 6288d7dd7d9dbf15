"""The site builds without a warning, is complete, and loads nothing from a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from snippets import ROOT

import manta
from manta.catalogue import entries
from manta.cli import ORDER

pytestmark = pytest.mark.xdist_group("site")  # it is built once

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src"}
LOADED_BY_LINK = {"stylesheet", "icon", "preload", "preconnect", "modulepreload", "manifest"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    config = ROOT / "docs/site/mkdocs.yml"
    words = ["build", "--strict", "--quiet", "--config-file", config, "--site-dir", folder]
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", *map(str, words)],
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Assets(HTMLParser):
    """Collects what a browser loads to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in LOADED:
            self.loaded.append(values.get(LOADED[tag]) or "")
        elif tag == "link" and LOADED_BY_LINK & set((values.get("rel") or "").split()):
            self.loaded.append(values.get("href") or "")


def assets(page: Path) -> list[str]:
    parser = Assets()
    parser.feed(page.read_text())
    return [address for address in parser.loaded if address]


def test_nothing_is_loaded_from_a_network(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    away = re.compile(r"(?:[a-z]+:)?//")
    foreign = {one for page in pages for one in assets(page) if away.match(one)}
    assert foreign == set()
    sheets = list(site.rglob("*.css"))
    assert sheets
    loads = re.compile(r"url\(\s*['\"]?(?:https?:)?//|@import\s+['\"]https?:")
    assert [sheet.name for sheet in sheets if loads.search(sheet.read_text())] == []


def test_every_asset_is_there(site: Path) -> None:
    for page in site.rglob("*.html"):
        if page.name == "404.html":  # has addresses of a server
            continue
        for address in assets(page):
            path = address.partition("?")[0].partition("#")[0]
            assert path.startswith("data:") or (page.parent / path).is_file(), (page.name, path)


def test_a_foreign_asset_would_be_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<link rel="stylesheet" href="https://a.b/c.css"><img src="x.png">')
    assert assets(page) == ["https://a.b/c.css", "x.png"]


def test_the_reference_of_the_api_has_every_public_name(site: Path) -> None:
    page = (site / "reference/manta.html").read_text()
    names = [name for name in manta.__all__ if not name.startswith("__")]
    assert [name for name in names if not re.search(rf'id="manta\.(\w+\.)*{name}"', page)] == []


def test_the_reference_of_settings_has_every_component(site: Path) -> None:
    page = (site / "reference/configuration.html").read_text()
    for kind in ("objectives", "evaluators", "schedules"):
        for row in entries(kind):
            assert re.search(rf'<h3 id="[\w-]+">{row["name"]}<', page), row["name"]
    for setting in ("train.batch_size", "study.scheduler.max", "evaluation.holdout"):
        assert f"<code>{setting}</code>" in page
    rows = re.search(r"<code>optimizer.lr</code>.*?</tr>", page, re.DOTALL)
    assert rows is not None
    assert "<code>0.001</code>" in rows.group()
    assert "&gt; 0" in rows.group()


def test_the_reference_of_commands_has_every_command(site: Path) -> None:
    page = (site / "reference/commands.html").read_text()
    assert [name for name in ORDER if f">manta {name}<" not in page] == []
    assert "<code>--resume</code>" in page


def test_pictures_are_small(site: Path) -> None:
    pictures = list((site / "images").glob("*.png"))
    assert len(pictures) == 4
    assert {one.name: one.stat().st_size for one in pictures if one.stat().st_size > 300_000} == {}
