"""The page templates of this package."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(name: str, context: dict[str, Any]) -> str:
    """A whole page. Everything in `context` is escaped unless the template says `| safe`."""
    loader = PackageLoader("manta.report", "template")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(context)
