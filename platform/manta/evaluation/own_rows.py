"""Rows that a model was trained on, and those that its run held out, where its run is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from manta.config import EvaluationConfig, Experiment
from manta.data import Holdout, Manifest, open_dataset
from manta.data.groups import open_groups
from manta.errors import MantaError
from manta.evaluation.rows import SplitRows
from manta.files import Place
from manta.models.find import TIMM, run_folder
from manta.runs.store import load_experiment


@dataclass(frozen=True, slots=True)
class Training:
    """What is known of how a model was trained.

    Attributes:
        model: as the user named it.
        experiment: of its run; None where the run is not known.
        digest: of the run's data; None where it is not known.
    """

    model: str
    experiment: Experiment | None = None
    digest: str | None = None

    @classmethod
    def of(cls, model: str, runs: str) -> Training:
        """Return what is known of a model's training: nothing of one that is no run."""
        try:
            run = run_folder(model, runs)
            if run is None:
                return cls(model)
            facts, experiment = run.read_json("run.json"), load_experiment(run)
            digest = facts.get("digest") or open_dataset(facts["dataset"]).digest
        except MantaError:  # a run that is not there is said where the model itself is looked up
            return cls(model)
        return cls(model, experiment, str(digest))

    def held_out(self, manifest: Manifest, *, whole: bool = False) -> Holdout | None:
        """Return the run's own split of its data; None for other data, or if none is held out.

        Args:
            whole: split the rows beyond `data.limit` too, which the run never saw.
        """
        if self.experiment is None or self.digest != manifest.digest:
            return None
        limits, limit = self.experiment.evaluation, self.experiment.data.limit
        if not limits.holdout and not limits.holdout_group:
            return None
        # Which groups are held out depends on all rows; which row of a block is does not.
        limit = limit if open_groups(manifest) is not None or not whole else None
        return Holdout(manifest, limits.holdout, limit=limit, names=limits.holdout_group)

    def warning(self, queries: SplitRows) -> str | None:
        """Return a line if rows that are scored were trained on, or may have been; else None."""
        manifest = queries.manifest
        if self.experiment is None:
            if self.model.startswith(TIMM):
                return None
            return f"{self.model}: its run is not known; it may have been trained on rows scored"
        if self.digest != manifest.digest:
            source = self.experiment.data.source
            if manifest.source not in (source, Place.of(source).url):
                return None
            return (
                f"{self.model}: {manifest.source} has changed since its run; it may have been "
                "trained on rows scored"
            )
        rows = queries.indexes
        trained = rows[rows < (self.experiment.data.limit or manifest.rows)]
        if (split := self.held_out(manifest)) is not None:
            below, above = split.queries_below(trained), split.queries_below(trained + 1)
            trained = trained[above == below]
        if not len(trained):
            return None
        return (
            f"{self.model}: it was trained on {len(trained):,} of the {len(rows):,} rows scored; "
            "give data that it has not seen"
        )


def split_of(
    manifest: Manifest, limits: EvaluationConfig, trainings: Sequence[Training] = ()
) -> Holdout:
    """Return the split of data: that of the first run that was trained on them, else by `limits`.

    Groups that `limits` names are held out of data that have them all.
    """
    for training in trainings:
        if (own := training.held_out(manifest, whole=True)) is not None:
            return own
    groups, names = open_groups(manifest), limits.holdout_group
    known = names if groups is not None and set(names) <= set(groups.names) else []
    return Holdout(manifest, limits.holdout or EvaluationConfig().holdout, names=known)


def scored_rows(queries: SplitRows, read: int) -> str:
    """Return a sentence on which rows were scored, and why not all.

    Args:
        read: how many of them could be read.
    """
    total, chosen = queries.manifest.rows, len(queries.indexes)
    available = queries.holdout.size(queries.split)
    held = "held-out rows" if queries.split == "queries" else "rows"
    whole = f" ({available / max(total, 1):.1%} of {total:,})" if held != "rows" else ""
    if chosen < available:
        why = f", evenly spread, since evaluation.query_rows is {queries.limit:,}"
        words = f"scored are {chosen:,} of {available:,} {held}{whole}{why}"
    else:
        words = f"scored are all {available:,} {held}{whole}"
    lost = max(chosen - read, 0)
    return words + (f"; {lost:,} of them could not be read" if lost else "")
