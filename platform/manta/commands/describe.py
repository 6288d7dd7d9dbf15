"""Command `manta describe`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Optional

import typer
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from manta.commands.app import AsJson, app
from manta.printing import out

VIEW_SETTINGS = ("crop", "flip", "jitter", "jitter_prob", "grayscale", "blur", "solarize")


@app.command()
def describe(
    kind: Annotated[
        str,
        typer.Argument(help="objective, encoder, evaluator, modality, schedule, section or view."),
    ],
    name: Annotated[
        Optional[str],  # noqa: UP045 - typer
        typer.Argument(help="As it is written in a recipe; without it, all names are listed."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the settings of a component or section: types, defaults, ranges, and its paper.

    Examples:

    - `manta describe objective dino`

    - `manta describe section` lists the sections of a recipe

    - `manta describe section optimizer`
    """
    import manta
    from manta.config import describable

    if name is None:
        names = describable(kind)
        if kind == "section":
            about = manta.describe("section", "study").facts["about"]
            names.append({"name": "study", "about": about})
        _print_json(names) if as_json else _print_names(names)
        return
    facts = manta.describe(kind, name).facts
    _print_json(facts) if as_json else _print_facts(facts)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def _print_names(names: list[dict[str, str]]) -> None:
    table = Table("name", "about", box=None, header_style="bold")
    for one in names:
        table.add_row(one["name"], escape(one["about"]))
    out.print(table)


def _print_facts(facts: Mapping[str, Any]) -> None:
    out.print(f"[bold]{facts['name']}[/]  {escape(facts['about'])}", highlight=False)
    for part in facts["text"].split("\n\n")[1:]:
        out.print(Padding(escape(part), (1, 0, 0, 0)), highlight=False)
    for line in _lines(facts):
        out.print(f"[dim]{escape(line)}[/]", highlight=False)
    if "local" in facts:
        _print_views([*facts["views"], facts["local"]])
    out.print()
    for row in facts["fields"]:
        # A section inside is followed by its settings, each with the whole key.
        is_section = row["type"].startswith("settings")
        shown = not is_section or (row["type"] != "settings" and row["default"] is None)
        value = f" = {_value(row)}" if shown else ""
        bounds = f"  [dim]{escape(row['range'])}[/]" if row["range"] else ""
        words = _choices(row) if row["choices"] else f"{row['type']}"
        out.print(
            f"[bold]{row['key']}[/]{escape(value)}  [cyan]{escape(words)}[/]{bounds}",
            highlight=False,
            soft_wrap=True,
        )
        out.print(Padding(escape(row["description"]), (0, 0, 0, 4)), highlight=False)
    out.print(f"\n[dim]example[/]  {escape(facts['example'])}", highlight=False, soft_wrap=True)


def _lines(facts: Mapping[str, Any]) -> list[str]:
    """Return the facts about an objective or evaluator besides its settings, a line each."""
    lines = []
    if paper := facts.get("paper"):
        source = f" [{paper['source']}]" if paper["source"] else ""
        lines.append(f"paper   {paper['title']} ({paper['year']}), {paper['reference']}{source}")
    if "views" in facts and "local" not in facts:
        lines.append(f"views   {facts['views']}")
    if keeps := facts.get("keeps"):
        lines.append(f"keeps   {', '.join(keeps)}")
    if facts.get("needs_labels"):
        lines.append("labels  needed")
    return lines


def _print_views(views: list[Mapping[str, Any]]) -> None:
    heads = [*(f"view {place + 1}" for place in range(len(views) - 1)), "local views"]
    table = Table("", *heads, box=None, header_style="bold")
    for setting in VIEW_SETTINGS:
        table.add_row(setting, *(escape(_yaml(view[setting])) for view in views))
    out.print(table)


def _value(row: Mapping[str, Any]) -> str:
    return "(required)" if row["required"] else _yaml(row["default"])


def _choices(row: Mapping[str, Any]) -> str:
    return " | ".join(_yaml(choice) for choice in row["choices"])


def _yaml(value: Any) -> str:
    """Return a value as it is written in a recipe or an override."""
    import yaml

    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, width=1000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")
