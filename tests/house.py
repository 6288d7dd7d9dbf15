"""Measure the house: import circles, private imports across rooms, sizes of files and functions.

`python tests/house.py` prints the figures beside their limits and ends with status 1 if one is
passed; `make lint` runs it, and `tests/unit/test_house.py` asks it the same questions.
"""

from __future__ import annotations

import ast
import io
import statistics
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "platform"
COLUMNS, FILE_LINES, MEDIAN_LINES, FUNCTION_LINES, TEST_SHARE = 100, 350, 120, 40, 0.7
NO_VERBS = frozenset(
    {"A", "All", "An", "As", "At", "By", "Each", "Every", "For", "From", "How", "If", "In", "Its"}
    | {"None", "Of", "On", "One", "Out", "That", "The", "This", "To", "What", "When", "Where"}
    | {"Whether", "Which", "Who", "Whose", "With"}
)
"""Words that begin no function's docstring; Ruff's D401 finds wrong forms of verbs."""


@dataclass(frozen=True)
class Module:
    """A Python file, by its import name.

    Attributes:
        is_package: whether it is the `__init__` of a package.
    """

    name: str
    path: Path
    is_package: bool

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text())

    @property
    def room(self) -> str:
        """Return the top-level package or file that the module is in, such as `manta.data`."""
        return ".".join(self.name.split(".")[:2])


def modules(source: Path = SOURCE) -> dict[str, Module]:
    """Return every module below a source root by its import name."""
    found = {}
    for path in sorted(source.rglob("*.py")):
        parts = list(path.relative_to(source).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        found[name] = Module(name, path, is_package)
    return found


def imports(module: Module) -> Iterator[tuple[str, str | None]]:
    """Yield `(module, name)` of each import, also of those inside functions.

    `name` is None for `import module`.
    """
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.name.split(".")
                above = parts[: len(parts) - node.level + module.is_package]
                base = ".".join([*above, *filter(None, [node.module])])
            yield from ((base, alias.name) for alias in node.names)


def import_graph(known: dict[str, Module]) -> dict[str, set[str]]:
    """Return which modules each module imports, at any depth of its code."""
    graph: dict[str, set[str]] = {name: set() for name in known}
    for name, module in known.items():
        for base, imported in imports(module):
            inner = f"{base}.{imported}"
            target = inner if inner in known else base
            if target in known and target != name:
                graph[name].add(target)
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected components of two modules or more (Tarjan 1972)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = lowest[node] = len(order)
        stack.append(node)
        for target in sorted(graph[node]):
            if target not in order:
                visit(target)
                lowest[node] = min(lowest[node], lowest[target])
            elif target in stack:
                lowest[node] = min(lowest[node], order[target])
        if lowest[node] == order[node]:
            place = stack.index(node)
            component = stack[place:]
            del stack[place:]
            if len(component) > 1:
                found.append(sorted(component))

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return found


def rooms_graph(known: dict[str, Module]) -> dict[str, set[str]]:
    """Return which rooms each room imports."""
    graph: dict[str, set[str]] = {module.room: set() for module in known.values()}
    for name, targets in import_graph(known).items():
        here = known[name].room
        graph[here] |= {known[target].room for target in targets} - {here}
    # The package's own front imports rooms lazily, and every room may read its version.
    graph.pop("manta", None)
    return {room: targets - {"manta"} for room, targets in graph.items()}


def private_imports(known: dict[str, Module]) -> list[str]:
    """Return imports of a name or a module that begins with `_` from another room."""
    found = []
    for name, module in known.items():
        for base, imported in imports(module):
            inner = f"{base}.{imported}"
            target = inner if inner in known else base
            if target not in known or known[target].room == module.room:
                continue
            parts = [*target.split("."), imported or ""]
            if any(part.startswith("_") and not part.startswith("__") for part in parts):
                found.append(f"{name} imports {imported} from {base}")
    return found


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


def functions(path: Path) -> Iterator[int]:
    """Yield the length of each function of a file in lines, its docstring included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.end_lineno - node.lineno + 1


def comment_lines(path: Path) -> int:
    """Return how many lines of a file carry a comment."""
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    return sum(token.type == tokenize.COMMENT for token in tokens)


def wordless(known: dict[str, Module]) -> list[str]:
    """Return functions whose docstring answers a question instead of saying what is done."""
    places = []
    for module in known.values():
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            decorators = {ast.unparse(one).split(".")[-1] for one in node.decorator_list}
            summary = (ast.get_docstring(node) or "Return").strip().split(maxsplit=1)[0]
            if summary.strip("`,.:") in NO_VERBS and not decorators & {
                "property",
                "cached_property",
            }:
                places.append(
                    f"{module.path.relative_to(ROOT)}:{node.lineno} {node.name}: {summary} ..."
                )
    return places


def code_lines(paths: list[Path]) -> int:
    """Return how many lines are not blank."""
    return sum(bool(line.strip()) for path in paths for line in lines_of(path))


def long_lines(paths: list[Path]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}"
        for path in paths
        for number, line in enumerate(lines_of(path), 1)
        if len(line) > COLUMNS
    ]


@dataclass(frozen=True)
class Figure:
    """A figure of the house; `good` says whether it keeps its limit."""

    title: str
    value: str
    limit: str
    good: bool
    places: tuple[str, ...] = ()


def figures() -> list[Figure]:
    """Return every figure that has a limit, and those that are only worth knowing."""
    known = modules()
    package = [module.path for module in known.values()]
    tests = sorted((ROOT / "tests").rglob("*.py"))
    others = [*ROOT.glob("benchmarks/*.py"), *ROOT.glob("jobs/*.py")]
    everything = [*package, *tests, *others]
    sizes = {path: len(lines_of(path)) for path in everything}
    functions_of_package = [length for path in package for length in functions(path)]
    median = statistics.median(sizes[path] for path in package)
    large = [f"{p.relative_to(ROOT)}: {n}" for p, n in sizes.items() if n > FILE_LINES]
    ninety_five = statistics.quantiles(functions_of_package, n=20)[-1]
    over = long_lines(everything)
    rings = [" <-> ".join(ring) for ring in circles(import_graph(known))]
    room_rings = [" <-> ".join(ring) for ring in circles(rooms_graph(known))]
    private = private_imports(known)
    share = code_lines(tests) / code_lines(package)
    comments = sum(map(comment_lines, package)) / code_lines(package)
    no_verb = wordless(known)
    return [
        Figure("files of the package", str(len(package)), "", True),
        Figure("import circles", str(len(rings)), "0", not rings, tuple(rings)),
        Figure("circles of rooms", str(len(room_rings)), "0", not room_rings, tuple(room_rings)),
        Figure("private imports", str(len(private)), "0", not private, tuple(private)),
        Figure("median file", f"{median:.0f}", f"<= {MEDIAN_LINES}", median <= MEDIAN_LINES),
        Figure(
            "largest file", str(max(sizes.values())), f"<= {FILE_LINES}", not large, tuple(large)
        ),
        Figure("p95 function", f"{ninety_five:.0f}", f"<= {FUNCTION_LINES}", ninety_five <= 40),
        Figure(f"lines over {COLUMNS}", str(len(over)), "0", not over, tuple(over)),
        Figure("tests / code", f"{share:.2f}", f">= {TEST_SHARE}", share >= TEST_SHARE),
        Figure("docstrings, no verb", str(len(no_verb)), "0", not no_verb, tuple(no_verb)),
        Figure("lines with comments", f"{comments:.1%}", "", True),
    ]


def main() -> int:
    found = figures()
    for figure in found:
        mark = "" if figure.good else "   <-- over the limit"
        print(f"{figure.title:<22} {figure.value:>8}   {figure.limit:<8}{mark}")
        for place in figure.places[:12]:
            print(f"    {place}")
    return 0 if all(figure.good for figure in found) else 1


if __name__ == "__main__":
    sys.exit(main())
