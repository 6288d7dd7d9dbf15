"""The page templates of this package."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from manta.report.parts.palette import DARK, LIGHT, css_variables


def render(name: str, context: dict[str, Any]) -> str:
    """Return a whole page; what `context` holds is escaped unless the template says `| safe`."""
    environment = Environment(
        loader=PackageLoader("manta.report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["light_colours"] = css_variables(LIGHT)
    environment.globals["dark_colours"] = css_variables(DARK)
    return environment.get_template(name).render(context)
