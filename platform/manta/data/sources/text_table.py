"""Source of texts in CSV and TSV: a text a row, with columns of labels, groups and parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

from manta.data.sources._base import SOURCES
from manta.data.sources._listing import claimed
from manta.data.sources._lists import SAMPLE, text_of_list
from manta.data.sources._text import OPEN_ENDED, bounded_lines
from manta.data.sources._text_files import TextRow, TextRows
from manta.data.sources._text_form import TextForm, body_of, form_of
from manta.errors import DataError
from manta.files import Place


@SOURCES.register("text_table")
class TextTable(TextRows):
    """CSV or TSV with a column of texts, with a header or without; a `.txt` with tabs is one too.

    `data.column` names the column, or several with commas between them, each text of which is a
    row; columns without a name are numbered from 1. Cells in quotes may have several lines.
    """

    kind = "text_table"
    endings = (".csv", ".tsv", ".tab", *OPEN_ENDED)

    @classmethod
    def claim(cls, place: Place) -> int:
        if place.is_glob or place.is_dir():
            return 1 if claimed(place, cls.endings[:3]) else 0  # images may be in such files too
        is_tabbed = place.suffix in OPEN_ENDED and _has_tabs(place)
        return 1 if is_tabbed or place.name.lower().endswith(cls.endings[:3]) else 0

    def rows(self, place: Place) -> Iterator[TextRow]:
        form = self._form(place)
        for number, cells in body_of(place, form):
            wrong = cells if isinstance(cells, str) else form.wrong(cells)
            if wrong is not None or isinstance(cells, str):
                yield TextRow(number, reason=wrong)
                continue
            yield TextRow(
                number,
                tuple(cells[at] for at in form.texts),
                form.label_of(cells),
                form.group_of(cells),
                None if form.split is None else form.split_of(cells),
            )

    def split_column(self, place: Place) -> str | None:
        form = self._form(place)
        return None if form.split is None else form.names[form.split]

    def notes(self) -> list[str]:
        """Return what was understood of the columns of the first file, and of the parts."""
        return [*self._form(self.listed[0].place).notes, *super().notes()]

    def _form(self, place: Place) -> TextForm:
        return form_of(place, self.options)


def _has_tabs(place: Place) -> bool:
    """Return whether all of the first lines of a file have equally many tabs, and some."""
    with suppress(DataError, OSError), text_of_list(place) as text:
        lines = (line for _, line in bounded_lines(text) if line is None or line.strip())
        counts = {0 if line is None else line.count("\t") for line in islice(lines, SAMPLE)}
        return len(counts) == 1 and counts != {0}
    return False
