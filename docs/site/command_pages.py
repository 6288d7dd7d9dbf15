"""The reference of the command line, written from the commands themselves."""

from __future__ import annotations

import inspect
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer

from manta.cli import app

HEAD = """# Commands

As `manta COMMAND --help` prints them. A wrong word is answered in one line, with status 2.
"""


def write() -> str:
    """Return the page in Markdown."""
    group: Any = typer.main.get_command(app)
    return "\n\n".join([HEAD, *(section(name, group.commands[name]) for name in group.commands)])


def section(name: str, command: Any) -> str:
    """Return the part on one command: usage, text, table of arguments and options."""
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option"]
    words = " ".join(usage(one) for one in arguments)
    hints = get_type_hints(command.callback)
    rows = [row(one, hints[one.name]) for one in (*arguments, *options) if one.name in hints]
    return "\n\n".join(
        [
            f"## manta {name}",
            f"```text\nmanta {name} {words} [OPTIONS]\n```",
            inspect.cleandoc(command.help or ""),
            "\n".join(["| | | default |", "|---|---|---|", *rows]),
        ]
    )


def usage(argument: Any) -> str:
    """Return an argument as a usage line has it."""
    name = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def row(parameter: Any, hint: Any) -> str:
    """Return the table's row of an argument or option, whose function has the type `hint`."""
    names = parameter.opts if parameter.param_type_name == "option" else [parameter.name.upper()]
    shown = ", ".join(f"`{name}`" for name in names)
    about = " ".join((parameter.help or "").split()).replace("|", "&#124;")
    if get_origin(hint) is Literal:
        about += " One of " + ", ".join(f"`{choice}`" for choice in get_args(hint)) + "."
    hidden = parameter.required or parameter.default in (None, False)
    return f"| {shown} | {about} | {'' if hidden else f'`{parameter.default}`'} |"
