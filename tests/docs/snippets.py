"""Find the code of a page and what the page promises of it.

A fence of `bash` or `python` is executed, in the order of the page, in one empty folder. What its
text promises stands in the `text` fence that follows it, or, where a reader would not want to see
it, in a comment: `<!-- prints: ... -->`. Each line of a promise must be a line of the output, in
that order; `...` stands for anything.

A fence with `title="path/of/file"` is a file that the reader writes. A fence below the comment
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
TUTORIALS = sorted((DOCS / "tutorials").glob("*.md"))
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md"), *TUTORIALS])

_COMMENT = re.compile(r"<!--\s*(not run|prints):\s*(.*?)\s*-->", re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Snippet:
    """A fence of a page.

    Attributes:
        page: the page's file.
        line: its first line in that, counted from 1.
        language: the first word after the fence: bash, python, yaml, toml, text.
        code: what stands in it.
        title: the file that it is, if it is one.
        not_run: why it is not executed; empty if it is.
        promises: lines that its output must have, in this order.
    """

    page: Path
    line: int
    language: str
    code: str
    title: str = ""
    not_run: str = ""
    promises: list[str] = field(default_factory=list)

    @property
    def executed(self) -> bool:
        return self.language in ("bash", "python") and not self.title and not self.not_run

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def snippets(page: Path) -> list[Snippet]:
    """Return the fences of a page in order, each with what the page promises of it."""
    found: list[Snippet] = []
    reason = ""
    for token in MarkdownIt().parse(page.read_text()):
        if token.type == "html_block":
            for kind, words in _COMMENT.findall(token.content):
                if kind == "not run":
                    reason = words
                else:
                    found[-1] = promising(found[-1], words)
        elif token.type == "fence":
            snippet = _snippet(page, token, reason)
            if snippet.language == "text" and found and found[-1].executed and not snippet.not_run:
                found[-1] = promising(found[-1], snippet.code)
            else:
                found.append(snippet)
            reason = ""
    return found


def promising(snippet: Snippet, text: str) -> Snippet:
    """Return the snippet with the lines of `text` among its promises."""
    lines = [line.strip() for line in text.splitlines()]
    return replace(snippet, promises=snippet.promises + [line for line in lines if line])


def broken_promises(promises: list[str], output: str) -> list[str]:
    """Return the promises that are not kept: each must match a line after that of the one before.

    Runs of white space count as one space; `...` matches anything.
    """
    lines = iter([" ".join(line.split()) for line in output.splitlines()])
    return [promise for promise in promises if not any(_matches(promise, line) for line in lines)]


def commands(snippet: Snippet) -> Iterator[str]:
    """Yield the commands of a bash snippet: continued lines joined, comments left out."""
    for line in snippet.code.replace("\\\n", " ").splitlines():
        command = re.sub(r"(^|\s)#.*$", "", line).strip()
        if command:
            yield command


def _snippet(page: Path, token: Token, reason: str) -> Snippet:
    language, _, rest = token.info.strip().partition(" ")
    title = _TITLE.search(rest)
    first = token.map[0] + 1 if token.map else 0
    return Snippet(page, first, language, token.content, title.group(1) if title else "", reason)


def _matches(promise: str, line: str) -> bool:
    parts = (re.escape(part) for part in " ".join(promise.split()).split("..."))
    return re.fullmatch(".*".join(parts), line) is not None
