"""The driver of a study: Ray Tune around the trials that are left."""

from __future__ import annotations

import contextlib
import logging
import os
import uuid
from collections.abc import Iterator

import optuna

from manta.cluster import connect
from manta.config import Experiment
from manta.data import open_dataset, prepare
from manta.errors import ConfigError, ResourceError, TrackingError
from manta.materials.make import provide
from manta.report.study.record import StudyRecord, TrialRecord
from manta.runs.build import plan_of
from manta.runs.folder import RunFolder, default_cache
from manta.runs.lease import Lease
from manta.runs.store import Notify, default_store
from manta.tracking import Tracker
from manta.training.components import own_components
from manta.training.images import Shared
from manta.training.loop import ONLINE_BANK, ONLINE_QUERIES
from manta.training.run import preflight
from manta.tuning.space.read import read_space
from manta.tuning.study.metrics import REFERENCE, metric, metrics_for
from manta.tuning.study.settings import settings_from
from manta.tuning.study.standing import Standing
from manta.tuning.study.storage import Outcome, open_storage
from manta.tuning.study.study import Study, StudyRequest, merged, new_folder, open_folder, whole_of
from manta.tuning.study.trial_records import records
from manta.tuning.trials.allocate import Share, check_reach, share
from manta.tuning.trials.closing import Aftercare
from manta.tuning.trials.search import Obituary, StudySearch
from manta.tuning.trials.trial import StudyTask, StudyTrial

TRIALS = "trials"
SCRATCH = "tune"
"""Ray Tune's own files, of which nothing is needed afterwards."""
LOST_PROCESSES = 2
"""How often a trial whose process died is started again, from its last checkpoint."""
TUNE = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that failed has no metric
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Optuna's database is what a resume reads
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "3600",
    "RAY_AIR_NEW_OUTPUT": "0",
}


def search(request: StudyRequest) -> tuple[Study, StudyRecord]:
    """Run a study, or what is left of one, to its last trial.

    Raises:
        MantaError: anything that the user can mend.
    """
    space, section = read_space(request.space, request.recipe)
    changes = request.changes or {}
    settings = settings_from(merged(section.values, changes), None if changes else section.error)
    whole = whole_of(settings, request.recipe)
    folder = new_folder(request, settings.storage)
    request.notify("starting Ray")
    for key, value in TUNE.items():
        os.environ.setdefault(key, value)
    logging.getLogger("ray.tune").setLevel(
        logging.CRITICAL
    )  # what it says of a failed trial is in the trial's reason
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    connect()
    preflight(request.recipe)
    portion = share(settings, request.recipe)
    tracker = Tracker(
        experiment=request.recipe.tracking.experiment, runs_dir=default_store(request.runs)
    )
    check_reach(tracker.uri)
    cache = request.recipe.data.cache_dir or default_cache(request.runs)
    dataset = prepare(request.recipe.data.source, cache, progress=request.ingest_progress)
    manifest = open_dataset(dataset)
    plan_of(request.recipe, manifest)
    if settings.scheduler.name == "pbt" and space.default(request.recipe) is None:
        raise ConfigError(
            "study.scheduler=pbt starts from the recipe, and it lies outside of the space: widen that"
        )
    metrics = metrics_for(settings.metric, manifest.labelled)
    for name in settings.compare:
        metric(name)
    saved = open_folder(folder, request, settings, whole, manifest, dataset, tracker)
    provide(request.recipe, manifest, folder, tracker, runs=request.runs, notify=request.notify)
    study = Study(folder, space, settings, request.recipe, metrics, saved)
    with _running(tracker, saved["study_run_id"]):
        trials = _search(study, request, portion, dataset, tracker)
    return study, study.record(trials)


def _search(
    study: Study, request: StudyRequest, portion: Share, dataset: str, tracker: Tracker
) -> list[TrialRecord]:
    """Ray Tune around the trials that are left."""
    from ray import tune

    from manta.tuning.trials.schedulers import make_scheduler

    settings, whole = study.settings, study.saved["whole"]
    pbt = settings.scheduler.name == "pbt"
    aftercare = Aftercare(tracker, _trials(study.folder), keep=pbt)
    lease = Lease.take(study.folder)

    def known() -> list[TrialRecord]:
        return records(searcher.study, study.space, study.metrics)

    def ended(number: int, outcome: Outcome) -> None:
        found = study.record(known())
        trial = next(trial for trial in found.trials if trial.number == number)
        aftercare.trial_ended(trial, outcome)
        done = sum(one.state not in ("running", "waiting") for one in found.trials)
        request.watch(Standing(trial, done, settings.trials, found.best))

    searcher = StudySearch(
        study.space,
        study.recipe,
        study.metrics,
        study=study.optuna_name,
        storage=open_storage(study.storage_url),
        sampler=settings.sampling,
        seed=settings.seed,
        asked=settings.trials,
        whole=whole,
        on_end=ended,
        guard=lambda: lease.verify(at_most_every=1.0),
    )
    left = searcher.left
    ended_before = [trial for trial in known() if trial.state not in ("running", "waiting")]
    aftercare.settle(ended_before)
    if left == 0:
        _close(aftercare, request.notify)
        return known()
    past = [trial for trial in ended_before if trial.state != "failed"]
    first = study.metrics[0]
    scheduler = make_scheduler(settings.scheduler, first, whole, space=study.space, past=past)
    task = _task(study, portion, _shared(study.recipe, dataset, request.notify), dataset, tracker)
    resources = tune.with_resources(tune.with_parameters(StudyTrial, task=task), portion.request)
    tuner = tune.Tuner(
        resources,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=left,
            max_concurrent_trials=None
            if pbt
            else portion.concurrent,  # PBT's population is all of its trials
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=uuid.uuid4().hex[:8],
            storage_path=study.folder.url_of(SCRATCH),
            failure_config=tune.FailureConfig(max_failures=LOST_PROCESSES),
            verbose=0,
            callbacks=[Obituary(searcher)],
            checkpoint_config=tune.CheckpointConfig(
                checkpoint_at_end=False
            ),  # trials have their own
        ),
    )
    request.notify(
        f"study {study.folder.name!r}: {left} trials to run, {portion.concurrent} at a time, each up to {whole} "
        f"{settings.scheduler.unit}"
    )
    try:
        tuner.fit()
    except BaseException:
        aftercare.interrupted(trial for trial in known() if trial.state == "running")
        raise
    finally:
        _close(aftercare, request.notify)
        with contextlib.suppress(OSError):
            study.folder.remove(SCRATCH)
    return known()


def _close(aftercare: Aftercare, notify: Notify) -> None:
    if not aftercare.close():
        where = aftercare.trials.url
        notify(
            f"the tracking server misses metrics of trials; they wait in {where}, and --resume sends them"
        )


def _task(
    study: Study, portion: Share, shared: Shared | None, dataset: str, tracker: Tracker
) -> StudyTask:
    config, wanted = study.settings.scheduler, study.settings.resources
    return StudyTask(
        name=study.folder.name,
        components=own_components(study.recipe),
        recipe=study.recipe.model_dump(mode="json"),
        space=study.space,
        dataset=dataset,
        folder=_trials(study.folder).url,
        metrics=[metric.name for metric in study.metrics],
        compare=[REFERENCE, *study.settings.compare] if study.saved["labelled"] else [],
        unit=config.unit,
        every=config.min,
        whole=study.saved["whole"],
        tracking_uri=tracker.uri,
        tracking_experiment=tracker.experiment,
        parent_run=study.saved["study_run_id"],
        shared=shared,
        workers=study.recipe.resources.workers,
        cpus=portion.cpus,
        gpus=portion.gpus,
        threads=portion.threads,
        memory=None if wanted.memory_gib is None else int(wanted.memory_gib * 2**30),
        keep=8
        if config.name == "pbt"
        else 1,  # PBT copies a checkpoint that its owner may have left behind
    )


def _shared(recipe: Experiment, dataset: str, notify: Notify) -> Shared | None:
    """Decoded once for all trials, if it fits."""
    try:
        return Shared.decode(recipe, dataset, bank=ONLINE_BANK, queries=ONLINE_QUERIES)
    except ResourceError:
        notify("the decoded images do not fit into the object store: each trial decodes for itself")
        return None


@contextlib.contextmanager
def _running(tracker: Tracker, run_id: str) -> Iterator[None]:
    """The study's run in MLflow is marked as what becomes of it."""
    with contextlib.suppress(TrackingError):
        tracker.resume(run_id)
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(TrackingError):
            tracker.finish(run_id, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise


def _trials(folder: RunFolder) -> RunFolder:
    return RunFolder(f"{folder.url}/{TRIALS}")
