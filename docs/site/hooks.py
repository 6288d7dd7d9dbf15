"""Hooks of MkDocs: pages that are written from the code, and the site's own style."""

from __future__ import annotations

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "platform")]

import api_pages  # noqa: E402
import command_pages  # noqa: E402
import configuration_page  # noqa: E402

WRITERS = {
    "reference/configuration.md": configuration_page.write,
    "reference/commands.md": command_pages.write,
    "reference/manta.md": api_pages.write_manta,
    "reference/functional.md": api_pages.write_functional,
    "reference/extending.md": api_pages.write_extending,
    "site.css": lambda: (HERE / "site.css").read_text(),
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are written from the code."""
    for path, write in WRITERS.items():
        files.append(File.generated(config, path, content=write()))
    return files
