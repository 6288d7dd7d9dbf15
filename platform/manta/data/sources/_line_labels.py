"""Labels that stand in the lines of a text file, before or behind what they are labels of."""

from __future__ import annotations

import re
from dataclasses import dataclass

from manta.data.sources._base import REGEX, Label, SourceOptions
from manta.data.sources._lists import in_words
from manta.data.sources._text_form import FIRST, LAST
from manta.data.sources._values import word_label
from manta.data.sources._words import FOLDERS, NO_LABELS
from manta.errors import DataError
from manta.files import Place


@dataclass(frozen=True, slots=True)
class Cut:
    """How a line is cut into a label and a text.

    Attributes:
        is_last: whether the label is the last word.
        pattern: of the beginning of a line, whose one group is the label; None: a word is it.
    """

    is_last: bool = False
    pattern: re.Pattern[str] | None = None

    def __call__(self, line: str) -> tuple[Label, str, str | None]:
        """Return label and text of a line without blanks around it; and why it has no label."""
        if self.pattern is not None:
            match = self.pattern.match(line)
            if match is None:
                return None, line, "does not begin as data.labels says"
            return word_label(in_words(match[1] or "")), line[match.end() :].strip(), None
        words = line.rsplit(None, 1) if self.is_last else line.split(None, 1)
        if len(words) < 2:
            return word_label(in_words(line)), "", None
        label, text = reversed(words) if self.is_last else words
        return word_label(in_words(label)), text, None


def cut_of(options: SourceOptions, place: Place) -> Cut | None:
    """Return how `data.labels` cuts lines; None: it says nothing of them.

    Raises:
        DataError: it names a column, or a pattern without exactly one group.
    """
    asked = options.labels
    if asked in (None, NO_LABELS, FOLDERS):
        return None
    if asked in (FIRST, LAST):
        return Cut(is_last=asked == LAST)
    if not str(asked).startswith(REGEX):
        raise DataError(
            f"data.labels: the lines of {place.url} have no column {asked!r}; say first or last (a "
            "word of each line), regex:PATTERN, folders or none"
        )
    try:
        pattern = re.compile(str(asked).removeprefix(REGEX))
    except re.error as error:
        raise DataError(f"data.labels: {asked} is no pattern: {error}") from None
    if pattern.groups != 1:
        raise DataError(
            f"data.labels: {asked} has {pattern.groups} groups in brackets; one names the label"
        )
    return Cut(pattern=pattern)
