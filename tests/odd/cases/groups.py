"""Groups of rows: columns and paths that name them, and rules that name nothing."""

from __future__ import annotations

from pathlib import Path

from odd.case import Case, colour_of, encoded, write

WHO = ["ann", "bo", "ann"]


def recordings(folder: Path) -> Path:
    for number, name in enumerate(WHO):
        write(folder / "takes" / name / f"{number}_{name}_0.png", encoded(colour_of(number)))
    return folder / "takes"


def listed(folder: Path) -> Path:
    recordings(folder)
    lines = [f"takes/{name}/{n}_{name}_0.png,{name},{n % 2}" for n, name in enumerate(WHO)]
    return write(folder / "takes.csv", "\n".join(["path,who,label", *lines]) + "\n")


SAID = "2 groups (ann 2, bo 1)"
BY_NAME = r"regex:\d+_([a-z]+)_"
CASES = [
    Case("groups/parent", recordings, rows=3, notes=[SAID], options={"group": "parent"}),
    Case("groups/pattern", recordings, rows=3, notes=[SAID], options={"group": BY_NAME}),
    Case(
        "groups/column",
        listed,
        rows=3,
        labels=[0, 1, 0],
        notes=[SAID],
        options={"group": "who"},
    ),
    Case(
        "groups/some rows",
        recordings,
        rows=3,
        notes=["1 group (bo 1), 2 rows of none: each stands alone"],
        options={"group": "regex:_(bo)_"},
    ),
    Case(
        "groups/a pattern that fits nothing",
        recordings,
        error="names a group of no path of",
        options={"group": "regex:(zebra)"},
    ),
    Case(
        "groups/two brackets",
        recordings,
        error="has 2 groups in brackets",
        options={"group": "regex:(a)(n)"},
    ),
    Case(
        "groups/a column of a folder",
        recordings,
        error="has no columns, and so none of groups: who",
        options={"group": "who"},
    ),
    Case(
        "groups/a column that is not there",
        listed,
        error="has no column 'whom'; did you mean 'who'",
        options={"group": "whom"},
    ),
]
