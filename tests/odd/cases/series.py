"""Series as people have them: ragged tables, gaps, words among numbers, what is no series."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from odd.case import write


@dataclass(frozen=True)
class SeriesCase:
    """Odd series, and what an ingest should make of them.

    Attributes:
        lengths: of the rows in order.
        labels: names of the classes of the rows; None for data without labels.
        quarantined: path of each sample set aside, with a part of the reason.
        error: part of the one line by which the data are refused; nothing else is checked then.
        options, settings: of the ingest.
    """

    name: str
    make: Callable[[Path], Path]
    lengths: Sequence[int] = ()
    labels: Sequence[str] | None = None
    quarantined: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


class Harmful:
    """An object whose unpickling would leave a file behind."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("unpickled",)


def file(name: str, data: str | bytes) -> Callable[[Path], Path]:
    """Return a maker of one file."""
    return lambda folder: write(folder / name, data)


def numpy(values: Any, cut: int = 0) -> Callable[[Path], Path]:
    """Return a maker of `x.npy`, without the last `cut` bytes."""
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values), allow_pickle=True)
    content = buffer.getvalue()
    return file("x.npy", content[: len(content) - cut])


def ts(*lines: str, start: str = "@classLabel true a b\n@data\n") -> Callable[[Path], Path]:
    """Return a maker of `x.ts`."""
    return file("x.ts", "@problemName x\n" + start + "\n".join(lines) + "\n")


EXPECTED = "where a number is expected"

TABLES = [
    SeriesCase(
        "series/rows of unequal lengths, one longer than the header",
        file("x.csv", "label,v1,v2,v3\na,1.5,2.5,3.5\nb,1.5\na,1,2,3,4\nb,1,2,\n"),
        lengths=[3, 1, 2],
        labels=["a", "b", "b"],
        quarantined={"x.csv#4": "has 5 cells, and the header 4"},
    ),
    SeriesCase(
        "series/rows of unequal lengths without a header",
        file("x.csv", "a,1.5,2.5,3.5\nb,1.5\na,1.5,2.5,3.5,4.5\n"),
        lengths=[3, 1, 4],
        labels=["a", "b", "a"],
    ),
    SeriesCase(
        "series/rows of nothing but gaps and infinity",
        file("x.csv", "label,v1,v2\na,nan,nan\nb,1.5,2\na,,\nb,inf,-inf\n"),
        lengths=[2],
        labels=["b"],
        quarantined={
            "x.csv#2": "has no value",
            "x.csv#4": "has no value",
            "x.csv#5": "has no finite value",
        },
    ),
    SeriesCase(
        "series/constant rows",
        file("x.csv", "label,v1,v2,v3\na,5,5,5\nb,0,0,0\na,1e-300,1e-300,1e-300\n"),
        lengths=[3, 3, 3],
        labels=["a", "b", "a"],
    ),
    SeriesCase(
        "series/rows of one value",
        file("x.csv", "label,v1\na,1.5\nb,2.5\n"),
        lengths=[1, 1],
        labels=["a", "b"],
    ),
    SeriesCase(
        "series/words among numbers",
        file("x.csv", 'label,v1,v2\na,1.5,2\nb,1,cat\na,#REF!,2\nb,"1,5",2\nb,1 000,2\na,0x10,2\n'),
        lengths=[2],
        labels=["a"],
        quarantined={f"x.csv#{row}": EXPECTED for row in range(3, 8)},
    ),
    SeriesCase(
        "series/values that float32 cannot hold are gaps",
        file("x.csv", "label,v1,v2,v3\na,1e308,-1e308,1\nb,1e39,1,2\na,1e308,1e308,1e308\n"),
        lengths=[3, 3],
        labels=["a", "b"],
        quarantined={"x.csv#4": "has no finite value"},
    ),
    SeriesCase(
        "series/a NUL and a byte that is not UTF-8",
        file("x.csv", b"label,v1,v2\na,1,\x00\n\xe9,1,2\n"),
        lengths=[2],
        labels=["\\xe9"],
        quarantined={"x.csv#2": EXPECTED},
    ),
    SeriesCase(
        "series/a byte order mark before the header",
        file("x.csv", "\ufefflabel,v1,v2\na,1,2\nb,2,3\n"),
        lengths=[2, 2],
        labels=["a", "b"],
    ),
    SeriesCase("series/an empty file", file("x.csv", ""), error="is empty"),
    SeriesCase("series/blank lines alone", file("x.csv", "\n\n \n"), error="is empty"),
    SeriesCase("series/a header alone", file("x.csv", "label,v1,v2\n"), error=EXPECTED),
    SeriesCase(
        "series/a quote that is not closed", file("x.csv", 'l,v\na,"1\nb,3\n'), error="x.csv"
    ),
    SeriesCase(
        "series/one recording that nobody cuts",
        file("x.csv", "time,v\n1,1.5\n2,2.5\n"),
        error="is one recording; set data.window",
    ),
    SeriesCase(
        "series/a recording in disorder, with gaps and a short end",
        file("x.csv", "time,v\n" + "".join(f"{9 - n},{n}.5\n" for n in range(10)) + "10,\n"),
        lengths=[4, 4],
        settings={"window": 4},
    ),
]

ARCHIVES = [
    SeriesCase(
        "series/.ts of unequal lengths",
        ts("1,2,3,4:a", "1,2:b", "?,2,NaN:a"),
        lengths=[4, 2, 2],
        labels=["a", "b", "a"],
    ),
    SeriesCase("series/.ts without data", ts(start="@classLabel true a\n"), error="no @data line"),
    SeriesCase("series/.ts without a header", file("x.ts", "1,2,3:a\n"), error="of no known kind"),
    SeriesCase(
        "series/.ts that is a film", file("x.ts", b"G@\x00\x10" * 50), error="no known kind"
    ),
    SeriesCase("series/.ts that is empty", file("x.ts", ""), error="of no known kind"),
    SeriesCase(
        "series/.ts whose header says nonsense",
        ts("1,2,3:a", "4,5:b", start="@timestamps maybe\n@classLabel yes a b\n@DATA\n"),
        lengths=[3, 2],
        labels=["a", "b"],
    ),
    SeriesCase(
        "series/.ts with a class that the header lacks",
        ts("1,2,3:zzz", "1,2,3:b"),
        lengths=[3, 3],
        labels=["zzz", "b"],
    ),
    SeriesCase(
        "series/.ts with words, gaps alone, and other channels",
        ts("1,2:a", "1,x:b", "?,?:a", "1,2:3,4:b", ":a"),
        lengths=[2],
        labels=["a"],
        quarantined={
            "x.ts#1": EXPECTED,
            "x.ts#2": "has no value",
            "x.ts#3": "has 2 channels, where the first row has 1",
            "x.ts#4": "has no value",
        },
    ),
    SeriesCase(
        "series/.ts with channels of unequal lengths",
        ts("1,2:3,4:a", "1,2:3:b"),
        lengths=[2],
        labels=["a"],
        quarantined={"x.ts#1": "has channels of 1 to 2 values"},
    ),
]

ARRAYS = [
    SeriesCase(
        "series/.npy of objects is not unpickled",
        numpy(np.array([Harmful(), [1, 2]], dtype=object)),
        error="holds Python objects, which are not loaded",
    ),
    SeriesCase("series/.npy of words", numpy([["a", "b"]]), error="series are numbers"),
    SeriesCase("series/.npy of complex numbers", numpy([[1j, 2]]), error="holds complex128"),
    SeriesCase(
        "series/.npy of dates",
        numpy(np.array([["2001-01-01"]], dtype="datetime64[D]")),
        error="holds datetime64",
    ),
    SeriesCase("series/.npy of one number", numpy(3.0), error="of shape ()"),
    SeriesCase("series/.npy of four axes", numpy(np.zeros((2, 2, 3, 4))), error="time and channel"),
    SeriesCase("series/.npy of no rows", numpy(np.zeros((0, 4))), error="none of the 0"),
    SeriesCase("series/.npy of no values", numpy(np.zeros((3, 0))), error="has no value"),
    SeriesCase("series/.npy that is cut off", numpy(np.zeros((3, 4)), 20), error="cannot be read"),
    SeriesCase("series/.npy that is empty", file("x.npy", b""), error="cannot be read"),
    SeriesCase("series/.npy of one axis is a recording", numpy(np.arange(5.0)), lengths=[5]),
    SeriesCase("series/.npy of truth values", numpy(np.eye(3, 4) > 0), lengths=[4, 4, 4]),
    SeriesCase(
        "series/.npy with gaps and infinity",
        numpy([[np.nan] * 4, [1, np.nan, 3, 4], [np.inf, 1, 2, 3], [1e308, 1, 2, 3]]),
        lengths=[4, 4, 4],
        quarantined={"x.npy#0": "has no finite value"},
    ),
]

SERIES = [*TABLES, *ARCHIVES, *ARRAYS]
