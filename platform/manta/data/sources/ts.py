"""Source of `.ts` files, the text format of sktime and aeon in which the UCR and UEA archives are.

A header of `@` lines, then a series a line: its values with commas between them, a colon between
channels, and the label after the last colon.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from manta.data.sources._base import SOURCES, Label, Sample
from manta.data.sources._listing import Listed, claimed
from manta.data.sources._lists import text_of_list
from manta.data.sources._series import SeriesFiles, Windows, numbers, sample, windows_of
from manta.data.sources._words import NO_LABELS
from manta.errors import DataError
from manta.files import Place
from manta.modalities import BadSample

_STAMPED = re.compile(r"\(([^()]*),([^(),]*)\)")
"""A value with its time."""
_TRUE = frozenset(("true", "1", "yes"))


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of a file says.

    Attributes:
        problem: name of the data, if it has one.
        labelled: the last part of each line is a label.
        stamped: values come with their time.
    """

    problem: str
    labelled: bool
    stamped: bool


@SOURCES.register("ts")
class TS(SeriesFiles):
    """Series of the UCR and UEA archives: a `.ts` file, a pattern, a folder, or the name of a set.

    `archive/GunPoint` reads `GunPoint_TRAIN.ts` and `GunPoint_TEST.ts` as parts. Lengths may
    differ, `?` and `NaN` are missing values.
    """

    kind = "ts"
    endings = (".ts",)

    @classmethod
    def claim(cls, place: Place) -> int:
        if not claimed(place, cls.endings):
            return 0
        first = cls(place).listed[0].place
        try:
            with first.open() as file:
                start = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
        except OSError:
            return 0
        return 2 if start[:1] in (b"@", b"#") else 0  # a film or a program otherwise

    def units(self) -> Iterator[Listed]:
        problems = {_problem(file.place) for file in self.listed} - {""}
        stems = {_stem(file.place.name) for file in self.listed}
        if len(problems) > 1 and len(stems) > 1:
            names = ", ".join(sorted(stems)[:4])
            raise DataError(
                f"{self.place.url} holds several sets ({names}); name one, such as "
                f"{self.place.parent.url if self.place.is_glob else self.place.url}/"
                f"{sorted(stems)[0]}"
            )
        yield from self.chosen_files()

    def read(self, unit: Listed) -> Iterator[Sample]:
        try:
            header = header_of(unit.place)
            first = next(_lines(unit.place), None)
        except (DataError, OSError) as error:
            yield Sample(unit.name, None, None, str(error))
            return
        channels = first[1].count(":") + (not header.labelled) if first else None
        windows = Windows.of(self.options)
        for row, line in _lines(unit.place):
            path, label = f"{unit.name}#{row}", None
            if header.labelled:
                line, _, text = line.rpartition(":")
                label = text.strip() or None
            yield from self._rows(path, line, label, header, channels, windows)

    def _rows(
        self,
        path: str,
        line: str,
        label: Label,
        header: Header,
        channels: int | None,
        windows: Windows,
    ) -> Iterator[Sample]:
        label = None if self.options.labels == NO_LABELS else label
        try:
            columns = [numbers(_cells(part, header)) for part in line.split(":")]
            if len({len(column) for column in columns}) > 1:
                lengths = sorted({len(column) for column in columns})
                raise BadSample(f"has channels of {lengths[0]} to {lengths[-1]} values")
        except BadSample as error:
            yield Sample(path, None, label, str(error))
            return
        if channels is not None and len(columns) != channels:
            yield sample(path, np.stack(columns, axis=1), label, channels=channels)
            return
        values = np.stack(columns, axis=1)
        yield from windows_of(path, values, [label] * len(values), windows)


def header_of(place: Place) -> Header:
    """Return what the header of a file says.

    Raises:
        DataError: it has none.
    """
    found: dict[str, list[str]] = {}
    with text_of_list(place) as lines:
        for line in islice(lines, 10_000):
            words = line.strip().split()
            if words and words[0].lower() == "@data":
                break
            if words and words[0].startswith("@"):
                found[words[0][1:].lower()] = words[1:]
        else:
            raise DataError("has no @data line")
    labels = found.get("classlabel") or found.get("targetlabel") or ["false"]
    stamped = (found.get("timestamps") or ["false"])[0].lower() in _TRUE
    problem = " ".join(found.get("problemname", []))
    return Header(problem, labels[0].lower() in _TRUE, stamped)


def _lines(place: Place) -> Iterator[tuple[int, str]]:
    """Yield `(row, line)` of each series."""
    row, begun = 0, False
    with text_of_list(place) as lines:
        for line in lines:
            text = line.strip()
            if not begun:
                begun = text.lower() == "@data"
            elif text and not text.startswith("#"):
                yield row, text
                row += 1


def _cells(part: str, header: Header) -> list[str]:
    if header.stamped or part.lstrip().startswith("("):
        return [value for _, value in _STAMPED.findall(part)]
    return part.split(",")


def _stem(name: str) -> str:
    """Return a file's name without its ending and the word for its part."""
    return re.sub(r"[-_]?(train|test|val)$", "", name.rpartition(".")[0], flags=re.IGNORECASE)


def _problem(place: Place) -> str:
    try:
        return header_of(place).problem
    except DataError:  # said when the file is read
        return ""
