"""Models on the same rows: what evaluation, comparison and promotion are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from manta.cluster import connect
from manta.config import EvaluationConfig
from manta.data import Plan, open_dataset, prepare
from manta.errors import ConfigError
from manta.evaluation import untrained
from manta.evaluation.features import FeatureStore, bench_of, readable
from manta.evaluation.online import Rows, views_wanted
from manta.evaluators import (
    EVALUATORS,
    EncoderEvaluator,
    Evaluator,
    EvaluatorConfig,
    Features,
    Scores,
    build,
    evaluate,
    lacking,
)
from manta.models.actors import cluster_pool
from manta.runs.folder import RunFolder, default_cache
from manta.runs.store import IngestProgress, Notify
from manta.serving import load_exported, save_weights
from manta.serving.embed import Progress


@dataclass(frozen=True, slots=True)
class Observer:
    """Who hears how long work goes: lines for people, rows ingested and set aside, rows embedded of
    how many."""

    notify: Notify = lambda _message: None
    ingest: IngestProgress | None = None
    embed: Progress = lambda _done, _rows: None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What evaluators say of one model.

    Attributes:
        by_evaluator: scores of each, by its name.
        skipped: names of evaluators that had nothing to say, and what they lack.
    """

    features: Features
    by_evaluator: dict[str, Scores]
    skipped: dict[str, str]

    @property
    def scores(self) -> Scores:
        """All of them."""
        return {
            name: value for scores in self.by_evaluator.values() for name, value in scores.items()
        }


@dataclass(frozen=True, slots=True)
class Judging:
    """Rows that probes learn from, rows that they are scored on, and where features are kept."""

    learnt: Rows
    asked: Rows
    store: FeatureStore

    observer: Observer

    @classmethod
    def of(
        cls,
        data: str,
        bank: str | None,
        runs: str,
        observer: Observer,
        limits: EvaluationConfig | None = None,
    ) -> Judging:
        """Starts Ray, or joins it.

        Args:
            bank: data to learn from, all of it; with None, `data` is split by `limits.holdout`.
        """
        observer.notify("starting Ray")
        connect(cpus=2)
        learnt, asked = rows_of(
            data, bank, default_cache(runs), limits or EvaluationConfig(), observer.ingest
        )
        store = FeatureStore(RunFolder(runs).url_of("features"), cluster_pool(), observer.embed)
        return cls(learnt, asked, store, observer)

    def features(self, folder: Path) -> Features:
        """Of a saved encoder, without augmented views."""
        return self.store.features(
            folder, load_exported(folder), self.learnt, self.asked, views=None
        )

    def settle(self, folder: Path) -> None:
        """Give BatchNorm of a saved untrained encoder, in its folder, the statistics of rows that
        probes learn from."""
        exported = load_exported(folder)
        bench = bench_of(exported, self.learnt, self.asked)
        images = readable(
            replace(self.learnt, limit=min(untrained.ROWS, self.learnt.limit)), size=bench.size
        )
        if untrained.settle(bench.encoder, images, bench.prepared):
            save_weights(exported.encoder, folder)

    def judge(self, folder: Path, evaluators: Iterable[Evaluator[Any]]) -> Verdict:
        """Every evaluator on a saved encoder.

        Raises:
            MantaError: anything that the user can mend.
        """
        chosen = list(evaluators)
        exported = load_exported(folder)
        features = self.store.features(
            folder, exported, self.learnt, self.asked, views=views_wanted(chosen)
        )
        bench = bench_of(exported, self.learnt, self.asked)
        said: dict[str, Scores] = {}
        skipped: dict[str, str] = {}
        for evaluator in chosen:
            name = evaluator.config.name
            if (lack := lacking(evaluator, features, bench)) is not None:
                skipped[name] = f"needs {lack}"
                continue
            if isinstance(evaluator, EncoderEvaluator):
                self.observer.notify(f"{name}: trying the encoder itself")
            said[name] = evaluate([evaluator], features, bench)
        return Verdict(features, said, skipped)


def rows_of(
    data: str,
    bank: str | None,
    cache: str,
    limits: EvaluationConfig,
    progress: IngestProgress | None = None,
) -> tuple[Rows, Rows]:
    """What probes learn from, and the queries.

    Args:
        bank: data to learn from, all of it; with None, `data` is split by `limits.holdout`.

    Raises:
        ConfigError: the two are the same data, or number their classes differently.
    """
    manifest = open_dataset(prepare(data, cache, progress=progress))
    if bank is None:
        plan = Plan(
            manifest, seed=0, batch_size=1, holdout=limits.holdout or EvaluationConfig().holdout
        )
        return Rows(manifest, plan, "bank", limits.bank_rows), Rows(
            manifest, plan, "held_out", limits.query_rows
        )
    source = open_dataset(prepare(bank, cache, progress=progress))
    if source.digest == manifest.digest:
        raise ConfigError(
            f"{bank} and {data} are the same images: each would find itself; leave --bank out, and they are split"
        )
    if source.classes and manifest.classes and source.classes != manifest.classes:
        differ = ", ".join(sorted(set(source.classes) ^ set(manifest.classes))[:5]) or "their order"
        raise ConfigError(
            f"the classes of {bank} and {data} differ ({differ}), so that numbers would stand for other classes; "
            "give both the same folders, or both labels as numbers"
        )
    learnt = Rows(source, Plan(source, seed=0, batch_size=1, holdout=0.0), "bank", limits.bank_rows)
    return learnt, Rows(
        manifest, Plan(manifest, seed=0, batch_size=1, holdout=0.0), "bank", limits.query_rows
    )


def evaluators_named(
    names: Iterable[str], own: Sequence[EvaluatorConfig] = ()
) -> list[Evaluator[Any]]:
    """With the settings that they have among `own`, else with their defaults. "all" names every one
    that has them.

    Raises:
        ConfigError: there is no such evaluator, or it has settings that only a recipe can give.
    """
    settings = {config.name: config for config in own}
    asked = list(names)
    if "all" in asked:
        asked = [
            name for name, kind in EVALUATORS.items() if name in settings or not _required(kind)
        ]
    found = []
    for name in asked:
        kind = EVALUATORS[name]
        if name not in settings and (required := _required(kind)):
            raise ConfigError(
                f"evaluator {name!r} needs {', '.join(required)}; name it in a recipe's evaluators"
            )
        found.append(build(settings.get(name) or kind.Config.model_validate({"name": name})))
    return found


def _required(kind: type[Evaluator[Any]]) -> list[str]:
    return [field for field, info in kind.Config.model_fields.items() if info.is_required()]
