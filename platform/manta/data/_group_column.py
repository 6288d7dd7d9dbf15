"""Groups of samples while data are ingested: what names them, and runs of rows of one group."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import groupby

import pyarrow as pa

from manta.data.labels import as_text
from manta.data.sources import PARENT, REGEX, Sample, Source, SourceOptions
from manta.errors import ConfigError, DataError

Runs = list[tuple[str | None, int]]
"""Group and number of rows of each stretch of rows of one group, in order."""


def check_group(source: Source) -> None:
    """Refuse a rule of groups that a source cannot follow, before it is read.

    Raises:
        ConfigError: the pattern is none, or has not exactly one group.
        DataError: a column was asked for, of a source without columns.
    """
    column = source.options.group_column
    if column is not None and not source.has_columns:
        raise DataError(
            f"{source.place.url} has no columns, and so none of groups: {column}; give 'parent' "
            "(the folder of each file) or regex:PATTERN on its path as data.group"
        )
    group_rule(source.options)


def group_rule(options: SourceOptions) -> Callable[[Sample], str | None]:
    """Return the function that names the group of a sample; None where it has none.

    Raises:
        ConfigError: the pattern is none, or has not exactly one group.
    """
    rule = options.group or ""
    if rule == PARENT:
        return _parent
    if not rule.startswith(REGEX):
        return lambda sample: as_text(sample.group)
    text = rule.removeprefix(REGEX)
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ConfigError(f"data.group: {text} is no pattern: {error}") from None
    if pattern.groups != 1:
        raise ConfigError(
            f"data.group: the pattern {text} has {pattern.groups} groups in brackets; put the part "
            r"that names the group into one pair, as in regex:\d+_(\w+)_\d+"
        )

    def matched(sample: Sample) -> str | None:
        found = pattern.search(sample.path)
        return as_text(found[1]) if found is not None else None

    return matched


def refuse_no_group(source: Source, groups: Mapping[str, int], example: str | None) -> None:
    """Check that the rule of groups has named one.

    Args:
        groups: rows by group.
        example: path of a row.

    Raises:
        DataError: it has not.
    """
    rule = source.options.group
    if rule is not None and not groups:
        shown = f", such as {example}" if example else ""
        what = "path" if source.options.group_column is None else "row"
        raise DataError(
            f"data.group={rule} names a group of no {what} of {source.place.url}{shown}; correct "
            "it, or leave it out"
        )


def runs_of(table: pa.Table) -> Runs:
    """Return the stretches of rows of one group; none where no row has a group."""
    column = table["group"]
    if column.null_count == len(column):
        return []
    return [(name, sum(1 for _ in rows)) for name, rows in groupby(column.to_pylist())]


def count_groups(runs: Runs) -> Counter[str]:
    """Return the rows of each group."""
    counts = Counter[str]()
    for name, rows in runs:
        if name is not None:
            counts[name] += rows
    return counts


def _parent(sample: Sample) -> str | None:
    folders = sample.path.replace("\\", "/").split("/")[:-1]
    return as_text(folders[-1]) if folders else None
