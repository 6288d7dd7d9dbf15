"""Follow a page as a reader does: its commands and code, one after the other, in one folder."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import subprocess
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from snippets import Snippet, broken_promises, commands, snippets

from manta.cli import app
from manta.errors import MantaError

SHELL = set("|&;<>$(){}`*")


class Reader:
    """Someone who follows a page in a folder."""

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        """Args:
        folder: where it all happens; made if it is not there.
        environment: variables of the shell that are not those of the test.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.environment = environment or {}

    def follow(self, page: Path) -> None:
        """Do all that the page says, and hold it to what it promises.

        Raises:
            AssertionError: a snippet fails or does not print what the page promises; it says where.
        """
        for snippet in snippets(page):
            self.do(snippet)

    def do(self, snippet: Snippet) -> None:
        """Write the file that a snippet is, or execute it and look at its output."""
        if snippet.title:
            path = self.folder / snippet.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(snippet.code)
        elif snippet.executed:
            output = self.execute(snippet)
            broken = broken_promises(snippet.promises, output)
            assert not broken, f"{snippet.place}: not printed: {broken}; but:\n{output}"

    def execute(self, snippet: Snippet) -> str:
        """Return all that a snippet prints, standard error included."""
        if snippet.language == "python":
            return self._python(snippet)
        lines = list(commands(snippet))
        if all(line.startswith("manta ") and not SHELL & set(unquoted(line)) for line in lines):
            return "".join(self._manta(snippet, shlex.split(line)[1:]) for line in lines)
        return self._shell(snippet)

    def _python(self, snippet: Snippet) -> str:
        source = "\n" * snippet.line + snippet.code
        code = compile(source, str(snippet.page), "exec", dont_inherit=True)
        with self._here() as output:
            try:
                exec(code, self.names)
            except Exception:
                output.write(traceback.format_exc())
                raise AssertionError(f"{snippet.place}:\n{output.getvalue()}") from None
        return output.getvalue()

    def _manta(self, snippet: Snippet, words: list[str]) -> str:
        """Run a command in this process: importing torch anew is most of a small command's time."""
        with self._here() as output:
            try:
                status = app(words, standalone_mode=False)
            except MantaError as error:
                status = f"{error.status}: {error}"
        assert not status, f"{snippet.place}: manta {words[0]}: {status}\n{output.getvalue()}"
        return output.getvalue()

    def _shell(self, snippet: Snippet) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", snippet.code],
            cwd=self.folder,
            env=os.environ | {"PATH": self._path()} | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, f"{snippet.place}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def _path(self) -> str:
        """Return a PATH on which `manta` and `python` are those of this test."""
        programs = self.folder.parent / "bin"
        programs.mkdir(exist_ok=True)
        for name, words in {"manta": "-m manta.cli", "python": "", "pip": "-m pip"}.items():
            script = programs / name
            script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
            script.chmod(0o755)
        return f"{programs}:{os.environ['PATH']}"

    @contextmanager
    def _here(self) -> Iterator[io.StringIO]:
        """Work in the folder, with what is printed kept, and warnings shown as usual."""
        output = io.StringIO()
        with ExitStack() as stack:
            stack.enter_context(contextlib.chdir(self.folder))
            stack.enter_context(contextlib.redirect_stdout(output))
            stack.enter_context(contextlib.redirect_stderr(output))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("default")
            yield output


def unquoted(line: str) -> str:
    """Return a command without what stands in single quotes, which the shell leaves alone."""
    return "".join(line.split("'")[::2])
