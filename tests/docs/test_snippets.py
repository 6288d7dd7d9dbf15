"""What finds the code of a page, and what holds a page to its promises."""

from __future__ import annotations

from pathlib import Path

import pytest
from snippets import ROOT, Snippet, broken_promises, commands, snippets

PAGE = """
# A page

```bash
manta list recipes   # a comment
manta train digits \\
    --name first
```

```text
digits ...
report ...first/report.html
```

<!-- not run: needs AWS -->
```bash
ray up cluster.yaml
```

```python title="pkg/module.py"
x = 1
```

```python
print(1)
```

<!-- prints: 1 -->
"""


@pytest.fixture
def found(tmp_path: Path) -> list[Snippet]:
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return snippets(path)


def test_each_fence_is_found_with_what_is_promised_of_it(found: list[Snippet]) -> None:
    first, aws, module, last = found
    assert (first.language, first.line, first.executed) == ("bash", 4, True)
    assert first.promises == ["digits ...", "report ...first/report.html"]
    assert (aws.not_run, aws.executed) == ("needs AWS", False)
    assert (module.title, module.executed) == ("pkg/module.py", False)
    assert (last.promises, last.executed) == (["1"], True)


def test_commands_are_joined_and_bare_of_comments(found: list[Snippet]) -> None:
    assert [" ".join(line.split()) for line in commands(found[0])] == [
        "manta list recipes",
        "manta train digits --name first",
    ]


@pytest.mark.parametrize(
    ("promises", "output", "broken"),
    [
        (["a b"], "x\na   b\n", []),
        (["a ... c"], "a anything c\n", []),
        (["b", "a"], "a\nb\n", ["a"]),
        (["a"], "aa\n", ["a"]),
        (["..."], "", ["..."]),
        (["kNN 0...", "end"], "kNN 0.91\nend\n", []),
        (["(3, 512) [x]"], "(3, 512) [x]\n", []),
    ],
)
def test_promises_are_lines_in_order(promises: list[str], output: str, broken: list[str]) -> None:
    assert broken_promises(promises, output) == broken


def test_a_place_is_named_by_page_and_line() -> None:
    assert Snippet(ROOT / "README.md", 7, "bash", "").place == "README.md:7"
