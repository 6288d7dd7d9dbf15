"""The command line: each command parses its words, calls one function of `manta`, and prints."""

from __future__ import annotations

import io
import os
import sys
import warnings
from typing import Any

import typer

from manta.commands import describe, evaluate, models, pretrain, tools, tune
from manta.commands.app import app
from manta.failures import as_user_error
from manta.homes import prepare_home
from manta.printing import console, print_error, print_unexpected

# Each registers its commands when it is imported.
MODULES = (describe, evaluate, models, pretrain, tools, tune)
UNEXPECTED, INTERRUPTED = 1, 130
# In the order in which a newcomer meets them.
ORDER = (
    *("ingest", "train", "tune", "study", "evaluate", "compare"),
    *("register", "promote", "export", "embed", "explore", "list", "describe", "doctor"),
)
app.registered_commands.sort(
    key=lambda one: ORDER.index(str(one.name or getattr(one.callback, "__name__", "")))
)


def main() -> None:
    """Run the command line; any error is one line, with status 2, its own, or 1 if unforeseen."""
    prepare_streams()
    prepare_home()
    try:
        code = app(standalone_mode=False)  # typer returns the code of an Exit, and 130 for Ctrl-C
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        if sys.stdout is not None:  # it may be closed
            sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python would complain at its own end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (KeyboardInterrupt, typer.Abort):
        console.print("; ".join(["stopped", *_kept(sys.argv[1:])]), soft_wrap=True)
        sys.exit(INTERRUPTED)
    except _usage_errors() as error:
        show_usage(error)
        sys.exit(error.exit_code)
    except Exception as error:
        mine = as_user_error(error)
        if mine is None:
            print_unexpected(error)
            sys.exit(UNEXPECTED)
        print_error(mine)
        sys.exit(mine.status)


def show_usage(error: Any) -> None:
    """Print what is wrong with the words of a command in one line, with where help is."""
    message = error.format_message()
    if not message or "\n" in message:  # `manta` alone prints its help
        error.show()
        return
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "manta"
    print_error(Exception(f"{message} (`{command} --help`)"))


def prepare_streams() -> None:
    """Let every text be printed, and keep warnings of libraries off the console.

    A terminal or a pipe whose encoding lacks a character would otherwise end the command. What the
    user asks for by `python -W` or PYTHONWARNINGS is shown.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def _kept(words: list[str]) -> list[str]:
    """Return what an interrupted command leaves, and how to go on."""
    again = "the same command with --name and --resume goes on from there"
    hints = {
        "train": f"the last checkpoint, if there is one yet, is kept: {again}",
        "tune": f"finished trials are kept: {again}",
        "ingest": "whole shards are kept: the same command goes on",
        "embed": "whole parts are kept: the same command goes on",
    }
    return [hints[word] for word in words[:1] if word in hints]


def _usage_errors() -> Any:
    """Return what typer raises for wrong words; newer versions of it bring a click of their own."""
    import click

    try:
        from typer import _click
    except ImportError:
        return click.ClickException
    return (click.ClickException, _click.exceptions.ClickException)


if __name__ == "__main__":
    main()
