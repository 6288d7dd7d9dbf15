"""Notes and bars of long work: in a terminal, in a notebook, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from manta.failures import one_line_errors

if TYPE_CHECKING:
    from manta.evaluation.session import Observer
    from manta.runs.folder import RunFolder
    from manta.tuning.study.study_progress import StudyProgress


@dataclass(frozen=True, slots=True)
class Reporter:
    """Callbacks through which work says how far it is.

    Attributes:
        notify: takes a line for people.
        ingest: takes rows ingested and rows set aside; None draws nothing.
        embed: takes rows embedded and rows in all.
        training: as `RunRequest.watch_folder`; None draws nothing.
        study: as `StudyRequest.watch`.
    """

    notify: Callable[[str], None]
    ingest: Callable[[int, int], None] | None
    embed: Callable[[int, int], None]
    training: Callable[[RunFolder, int], Callable[[], None]] | None
    study: Callable[[StudyProgress], None]

    @property
    def observer(self) -> Observer:
        """The same, for evaluations."""
        from manta.evaluation.session import Observer

        return Observer(self.notify, self.ingest, self.embed)


SILENT = Reporter(lambda _line: None, None, lambda _done, _rows: None, None, lambda _progress: None)


@contextmanager
def reporting(progress: bool) -> Iterator[Reporter]:
    """Yield the callbacks for one act; bars that were drawn are gone when the block ends.

    Args:
        progress: whether anything is shown: on standard error, or in a notebook's cell.

    Raises:
        MantaError: in place of an error of the disk, or of Ray, in the block: one line.
    """
    with one_line_errors(), _shown(progress) as reporter:
        yield reporter


@contextmanager
def _shown(progress: bool) -> Iterator[Reporter]:
    if not progress:
        yield SILENT
        return
    from manta.printing import console, say

    if console.is_jupyter:
        from manta.api import notebook

        with notebook.bars() as bars:
            yield Reporter(say, bars.ingest, bars.embed, bars.training, bars.study)
        return
    from manta.bars import embed_bar, ingest_bar, study_bar, training_bar

    with ExitStack() as stack:
        ingest = stack.enter_context(ingest_bar(console))
        embed = stack.enter_context(embed_bar(console))
        study = stack.enter_context(study_bar(console))
        yield Reporter(say, ingest, embed, training_bar(console), study)
