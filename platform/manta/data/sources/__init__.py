"""Source adapters, which turn a user's location into a stream of work units.

A new adapter is one new file in this folder.
"""

from manta.data.sources._base import (
    PARENT,
    REGEX,
    SOURCES,
    Sample,
    Source,
    SourceOptions,
    WorkUnit,
    is_builtin,
    open_source,
)

__all__ = [
    "PARENT",
    "REGEX",
    "SOURCES",
    "Sample",
    "Source",
    "SourceOptions",
    "WorkUnit",
    "is_builtin",
    "open_source",
]
