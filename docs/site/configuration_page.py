"""The reference of settings: what `manta describe` says, of everything, in one page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from manta.config import describable, describe, describe_section
from manta.encoders import ENCODERS
from manta.tuning.study.settings import StudySettings

HEAD = """# Configuration

Every setting of a recipe, written from the models that check it; `manta describe KIND NAME` prints
the same, and `--dry-run` a recipe with all its values. On the command line a setting is its key,
`=` and a value in YAML: `train.epochs=3 views.crop_scale=[0.3,1.0]`.
"""
NOTES = {
    "objective": "`objective.name` says which of these the objective is.",
    "evaluator": "Entries of `evaluation.evaluators`, reached by position or by name.",
    "schedule": "A rate, temperature, momentum and the like may be a schedule.",
    "encoder": "Any model of timm, by its name, or one of these.",
    "view": "`views.preset` says which; an objective has one of its own.",
}
HEADINGS = "| setting | type | default | |\n|---|---|---|---|"


def write() -> str:
    """Return the page in Markdown."""
    parts = [HEAD, "## Sections"]
    parts += [section(describe("section", one["name"])) for one in describable("section")]
    parts += [section(describe_section("study", StudySettings, "manta tune SPACE"))]
    for kind, note in NOTES.items():
        names = list(ENCODERS) if kind == "encoder" else names_of(kind)
        parts += [f"## {kind.title()}s", note]
        parts += [section(describe(kind, name)) for name in names]
    return "\n\n".join(parts) + "\n"


def names_of(kind: str) -> list[str]:
    return [one["name"] for one in describable(kind)]


def section(facts: Mapping[str, Any]) -> str:
    """Return the part on a section or component: what it is, its paper, a table of its settings."""
    paragraphs = [" ".join(part.split()) for part in facts["text"].split("\n\n")[1:]]
    prose = [one for one in paragraphs if not one.startswith(("Attributes:", "Args:"))]
    parts = [f"### {facts['name']}", escape(facts["about"]), *map(escape, prose)]
    if paper := facts.get("paper"):
        parts.append(f"*{escape(paper['title'])}* ({paper['year']}), {escape(paper['reference'])}.")
    if isinstance(facts.get("views"), str):
        parts.append(f"Views: {facts['views']}.")
    rows = [row for row in facts["fields"] if not row["key"].endswith(".name")]
    parts.append(table(rows) if rows else "It has no settings.")
    return "\n\n".join(part for part in parts if part)


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the settings as a table in Markdown; one that holds others stands before them."""
    return "\n".join([HEADINGS, *map(line, rows)])


def line(row: Mapping[str, Any]) -> str:
    """Return a setting's row."""
    kind = ", ".join(map(code, row["choices"])) if row["choices"] else row["type"]
    limits = f" {row['range']}" if row["range"] else ""
    holds_others = row["type"] == "settings"
    default = "" if holds_others else code(row["default"])
    shown = "required" if row["required"] else default
    cells = (f"`{row['key']}`", escape(kind + limits), shown, escape(row["description"]))
    return f"| {' | '.join(cells)} |"


def code(value: Any) -> str:
    """Return a value in code, as a recipe has it."""
    text = yaml.safe_dump(plain(value), default_flow_style=True, width=1000, sort_keys=False)
    return f"`{text.removesuffix(chr(10)).removesuffix(chr(10) + '...')}`".replace("|", "\\|")


def plain(value: Any) -> Any:
    """Return a value in which tuples are lists, which YAML has."""
    return list(value) if isinstance(value, tuple) else value


def escape(text: str) -> str:
    """Return text that a table of Markdown shows as it stands."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
