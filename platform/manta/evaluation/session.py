"""Sessions that evaluate models on the same rows, for evaluation, comparison and promotion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from manta.cluster import connect
from manta.config import EvaluationConfig
from manta.data import Holdout, IngestProgress, Manifest, open_dataset
from manta.errors import ConfigError, DataError
from manta.evaluation import untrained
from manta.evaluation.augmented import required_views
from manta.evaluation.classes import CommonClasses, common_classes
from manta.evaluation.features import FeatureStore, encoder_access, readable_rows
from manta.evaluation.floor import floor_scores, kept_floor
from manta.evaluation.labels import count_labels, label_notes, lacking
from manta.evaluation.own_rows import Training, split_of
from manta.evaluation.rows import SplitRows
from manta.evaluators import (
    EVALUATORS,
    EncoderEvaluator,
    Evaluator,
    EvaluatorConfig,
    Features,
    LabelCounts,
    Scores,
    build,
    evaluate_all,
    missing_input,
)
from manta.modalities import Modality, noun_of
from manta.models.actors import cluster_pool
from manta.models.samples import IMAGES, Taken, check_data, dataset_of
from manta.runs.folder import RunFolder, default_cache
from manta.runs.store import Notify
from manta.serving import load_exported, save_weights
from manta.serving.embed import EmbedProgress


@dataclass(frozen=True, slots=True)
class Observer:
    """Callbacks that report progress.

    Attributes:
        notify: takes lines for people.
        ingest: takes rows ingested and rows set aside.
        embed: takes rows embedded, and of how many.
    """

    notify: Notify = lambda _message: None
    ingest: IngestProgress | None = None
    embed: EmbedProgress = lambda _done, _rows: None


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """Scores of one model.

    Attributes:
        by_evaluator: scores of each evaluator, by its name.
        skipped: names of evaluators that did not run, and what they lacked.
    """

    features: Features
    by_evaluator: dict[str, Scores]
    skipped: dict[str, str]

    @property
    def scores(self) -> Scores:
        """All scores, by metric."""
        return {
            name: value for scores in self.by_evaluator.values() for name, value in scores.items()
        }


@dataclass(frozen=True, slots=True)
class EvaluationSession:
    """The rows that every model of a session is evaluated on, and where features are kept.

    Attributes:
        bank: rows that probes learn from.
        queries: rows that they are scored on.
        store: keeps features.
        observer: hears of progress.
        classes: names of the classes by number, and those of the queries that the bank lacks.
        counts: rows of each class; None where the data are too large to count first.
    """

    bank: SplitRows
    queries: SplitRows
    store: FeatureStore
    observer: Observer
    classes: CommonClasses = field(default_factory=CommonClasses)
    counts: LabelCounts | None = None

    @classmethod
    def start(
        cls,
        data: str,
        bank: str | None,
        runs: str,
        observer: Observer,
        limits: EvaluationConfig | None = None,
        trainings: Sequence[Training] = (),
        *,
        taken: Taken = IMAGES,
    ) -> EvaluationSession:
        """Return a session on `data`; starts Ray, or joins it.

        Args:
            bank: data that probes learn from, all of it; with None, `data` is split by
                `limits.holdout`, or as a run was that was trained on it.
            trainings: of the models; what was trained on of the rows to score is said.
            taken: what the models take.
        """
        for source in {data, bank} - {None}:
            check_data(str(source), taken)
        observer.notify("starting Ray")
        connect(cpus=2)
        bank_rows, queries = bank_and_queries(
            data,
            bank,
            default_cache(runs),
            limits or EvaluationConfig(),
            observer.ingest,
            trainings,
            taken=taken,
        )
        for warning in filter(None, (one.warning(queries) for one in trainings)):
            observer.notify(warning)
        for note in queries.holdout.notes() if bank is None else ():
            observer.notify(note)
        for one in {id(rows.manifest): rows.manifest for rows in (bank_rows, queries)}.values():
            _say_parts(one, observer)
        classes = CommonClasses(names=queries.manifest.classes)
        if bank is not None:
            classes = common_classes(bank_rows.manifest, queries.manifest)
        store = FeatureStore(RunFolder(runs).url_of("features"), cluster_pool(), observer.embed)
        counts = count_labels(bank_rows, queries)
        return cls(bank_rows, queries, store, observer, classes, counts)

    def check(self, evaluators: Iterable[Evaluator[Any]]) -> None:
        """Say what evaluators cannot do with these rows, before anything is computed.

        Raises:
            ConfigError: none of them can do anything.
        """
        if self.counts is None:
            return
        chosen = list(evaluators)
        impossible = lacking(chosen, self.counts)
        if chosen and len(impossible) == len(chosen):
            raise ConfigError(
                f"{' and '.join(impossible)} cannot be had of {self.queries.manifest.source}: "
                f"needs {next(iter(impossible.values()))}; give labelled data, or evaluators that "
                "need no labels, such as rank"
            )
        for note in label_notes(chosen, self.counts, self.classes.missing):
            self.observer.notify(note)
        if self.classes.note:
            self.observer.notify(self.classes.note)

    def features(self, folder: Path) -> Features:
        """Return a saved encoder's features, without augmented views."""
        exported = load_exported(folder)
        return self.store.features(folder, exported, self.bank, self.queries, views=None)

    def recalibrate_batchnorm(self, folder: Path) -> None:
        """Set the BatchNorm statistics of a saved untrained encoder, in its folder, from the bank.

        See `untrained.recalibrate_batchnorm`.
        """
        exported = load_exported(folder)
        access = encoder_access(exported, self.bank, self.queries)
        few = replace(self.bank, limit=min(untrained.ROWS, self.bank.limit))
        rows = readable_rows(few, exported.preprocess.decoder())
        if untrained.recalibrate_batchnorm(access.encoder, rows, access.prepared):
            save_weights(exported.encoder, folder)

    def evaluate(self, folder: Path, evaluators: Iterable[Evaluator[Any]]) -> EvaluationResult:
        """Run every evaluator on a saved encoder and return the scores.

        Raises:
            MantaError: anything that the user can mend.
        """
        chosen = list(evaluators)
        exported = load_exported(folder)
        features = self.store.features(
            folder, exported, self.bank, self.queries, views=required_views(chosen)
        )
        access = encoder_access(exported, self.bank, self.queries)
        by_evaluator: dict[str, Scores] = {}
        skipped: dict[str, str] = {}
        for evaluator in chosen:
            name = evaluator.config.name
            if (missing := missing_input(evaluator, features, access)) is not None:
                skipped[name] = f"needs {missing}"
                continue
            if isinstance(evaluator, EncoderEvaluator):
                self.observer.notify(f"{name}: trying the encoder itself")
            try:
                by_evaluator[name] = evaluate_all([evaluator], features, access)
            except ConfigError as error:
                # Of an encoder that it cannot try; what the others give is worth having.
                if len(chosen) == 1:
                    raise
                self.observer.notify(f"left out: {name} ({error})")
                skipped[name] = str(error)
        return EvaluationResult(features, by_evaluator, skipped)

    def floor(
        self,
        modality: Modality[Any],
        features: Features,
        evaluators: Iterable[Evaluator[Any]],
    ) -> EvaluationResult | None:
        """Return the scores of features that nothing has learned, on the rows of `features`.

        What cannot be had costs no number of an encoder: it is said. None where there are none.

        Args:
            modality: with the settings by which samples are decoded.
        """
        try:
            own = kept_floor(self.store.root, modality, self.bank, self.queries, features)
        except DataError as error:
            self.observer.notify(f"the floor is left out: {error}")
            return None
        if own is None:
            return None
        by_evaluator, failures = floor_scores(own, evaluators, modality.name)
        for name, why in failures.items():
            self.observer.notify(f"{name} of the floor {why}")
        return EvaluationResult(own, by_evaluator, failures)


def bank_and_queries(
    data: str,
    bank: str | None,
    cache: str,
    limits: EvaluationConfig,
    progress: IngestProgress | None = None,
    trainings: Sequence[Training] = (),
    *,
    taken: Taken = IMAGES,
) -> tuple[SplitRows, SplitRows]:
    """Return the rows that probes learn from, and those that they are scored on.

    Args:
        bank: data that probes learn from, all of it; with None, `data` is split by
            `limits.holdout`, or as a run was that was trained on it.
        trainings: of the models.
        taken: what the models take.

    Raises:
        ConfigError: the two are the same data, or have no class in common, or other samples.
    """
    manifest = open_dataset(dataset_of(data, taken, cache, progress=progress))
    if bank is None:
        splits = split_of(manifest, limits, trainings)
        bank_rows = SplitRows(manifest, splits, "bank", limits.bank_rows)
        return bank_rows, SplitRows(manifest, splits, "queries", limits.query_rows)
    source = open_dataset(dataset_of(bank, taken, cache, progress=progress))
    if source.digest == manifest.digest:
        noun = noun_of(manifest.modality).plural
        raise ConfigError(
            f"{bank} and {data} are the same {noun}: each would find itself; leave --bank out, "
            "and they are split"
        )
    same = common_classes(source, manifest)
    # Of either data all rows are used, and where nothing is held out they are the bank.
    return (
        SplitRows(source, Holdout(source), "bank", limits.bank_rows, same.bank),
        SplitRows(manifest, Holdout(manifest), "bank", limits.query_rows, same.queries),
    )


def _say_parts(manifest: Manifest, observer: Observer) -> None:
    """Say which part of data in parts is read: training and test images are not the same rows."""
    parts, read = manifest.understood.get("parts") or {}, manifest.understood.get("split")
    others = ", ".join(part for part in parts if part != read)
    if others and read is not None:
        observer.notify(
            f"{manifest.source}: read {read}, left out {others}; give that part as the data, and "
            "the other as the bank, to score on it"
        )


def evaluators_named(
    names: Iterable[str], own: Sequence[EvaluatorConfig] = ()
) -> list[Evaluator[Any]]:
    """Build evaluators with their settings among `own`, else with their defaults.

    "all" names every evaluator that has either.

    Raises:
        ConfigError: there is no such evaluator, or it has settings that only a recipe can give.
    """
    settings = {config.name: config for config in own}
    chosen = list(names)
    if "all" in chosen:
        chosen = [
            name for name, kind in EVALUATORS.items() if name in settings or not _required(kind)
        ]
    evaluators = []
    for name in chosen:
        kind = EVALUATORS[name]
        if name not in settings and (required := _required(kind)):
            raise ConfigError(
                f"evaluator {name!r} needs {', '.join(required)}; name it in a recipe's evaluators"
            )
        config = settings.get(name) or kind.Config.model_validate({"name": name})
        evaluators.append(build(config))
    return evaluators


def _required(kind: type[Evaluator[Any]]) -> list[str]:
    """Return the names of the settings that have no default."""
    return [field for field, info in kind.Config.model_fields.items() if info.is_required()]
