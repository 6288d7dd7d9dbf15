"""What stands in the pages can be run: it parses, options exist, and promises are made."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from snippets import PAGES, ROOT, TUTORIALS, Snippet, commands, snippets

from manta.cli import app

FOLLOWED = [ROOT / "README.md", *TUTORIALS]
ALL = [snippet for page in PAGES for snippet in snippets(page)]
PROGRAMS: Any = typer.main.get_command(app)


def of(*languages: str) -> list[Any]:
    """Return the snippets of these languages as parameters named by their place."""
    return [pytest.param(one, id=one.place) for one in ALL if one.language in languages]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_fence_is_hidden_from_the_tests(page: Path) -> None:
    """One inside a list or a tab would be."""
    fences = len(re.findall(r"^\s*```", page.read_text(), re.MULTILINE)) // 2
    texts = page.read_text().count("```text")
    unread = fences - len(snippets(page))
    assert 0 <= unread <= texts, "texts join the snippet before them; all others are found"


def test_what_is_followed_promises_something() -> None:
    silent = [
        one.place
        for page in FOLLOWED
        for one in snippets(page)
        if one.executed and not one.promises and "assert" not in one.code
    ]
    assert silent == []


def test_little_is_not_run_and_each_time_the_source_says_why() -> None:
    skipped = [one for page in FOLLOWED for one in snippets(page) if one.not_run]
    executed = [one for page in FOLLOWED for one in snippets(page) if one.executed]
    assert all(len(one.not_run) > 5 for one in skipped)
    assert len(executed) > 4 * len(skipped) > 0
    assert {one.language for one in ALL} <= {"bash", "python", "yaml", "toml", "text"}


@pytest.mark.parametrize("snippet", of("bash"))
def test_shell_parses(snippet: Snippet) -> None:
    done = subprocess.run(["bash", "-n"], input=snippet.code, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("snippet", of("python"))
def test_python_parses_within_a_hundred_columns(snippet: Snippet) -> None:
    ast.parse(snippet.code)
    assert [line for line in snippet.code.splitlines() if len(line) > 100] == []


@pytest.mark.parametrize("snippet", of("yaml"))
def test_yaml_is_a_mapping(snippet: Snippet) -> None:
    assert isinstance(yaml.safe_load(snippet.code), dict)


@pytest.mark.parametrize("snippet", of("bash"))
def test_commands_and_their_options_exist(snippet: Snippet) -> None:
    for line in commands(snippet):
        first = re.split(r"\s(?:\|\|?|&&|>|2>|&)(?:\s|$)", line)[0]
        if first.startswith("manta ") and "..." not in first:
            check_manta(shlex.split(first)[1:])
        elif first.startswith("make "):
            targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert set(first.split()[1:]) <= set(targets), line
        for path in re.findall(r"\b(?:jobs|benchmarks)/[\w./-]+\.(?:py|yaml)", line):
            assert (ROOT / path).is_file(), path


def check_manta(words: list[str]) -> None:
    """Parse a command as the command line does, without running it."""
    command = PROGRAMS.commands[words[0]]
    context = command.make_context(words[0], words[1:])
    assert context.params


def test_a_wrong_option_would_be_noticed() -> None:
    with pytest.raises(Exception, match="--nmae"):
        check_manta(["train", "digits", "--nmae", "first"])
