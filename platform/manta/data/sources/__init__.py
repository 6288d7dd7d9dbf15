"""Sources: adapters from what a user has to a stream of work units. A new one is one new file
here."""

from manta.data.sources._base import SOURCES, Sample, Source, WorkUnit, open_source

__all__ = ["SOURCES", "Sample", "Source", "WorkUnit", "open_source"]
