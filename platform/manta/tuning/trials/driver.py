"""The driver of a study: Ray Tune around the trials that are left."""

from __future__ import annotations

import contextlib
import logging
import os
import uuid
from collections.abc import Iterator
from dataclasses import replace

import optuna
import yaml
from ray import tune

from manta.cluster import connect
from manta.config import Experiment
from manta.data import SourceOptions, check_source, open_dataset
from manta.errors import ConfigError, ResourceError, TrackingError
from manta.evaluation.labels import count_labels
from manta.report.study.record import StudyRecord, TrialRecord
from manta.runs.build import plan_of
from manta.runs.folder import RunFolder, default_cache
from manta.runs.lease import Lease
from manta.runs.resumed_data import prepare_resumed
from manta.runs.store import Notify, default_store
from manta.tracking import Tracker
from manta.training.components import own_components
from manta.training.evaluations import ONLINE_BANK, ONLINE_QUERIES, evaluated_rows
from manta.training.opening import naming_resume
from manta.training.preflight import preflight
from manta.training.start import OpenedStart, opened_start
from manta.training.supply import CachedRows
from manta.tuning.space.read import read_space
from manta.tuning.study.creation import merged, new_folder, open_folder, whole_of
from manta.tuning.study.folders import trials_folder
from manta.tuning.study.metrics import REFERENCE, check_labels, metric, metrics_for
from manta.tuning.study.settings import settings_from
from manta.tuning.study.storage import Outcome, open_storage
from manta.tuning.study.study import STUDY, StoredStudy, StudyRequest
from manta.tuning.study.study_progress import StudyProgress
from manta.tuning.study.trial_records import trial_records
from manta.tuning.trials.allocate import ClusterResources, TrialResources, allocate, check_reach
from manta.tuning.trials.closing import TrialCloser
from manta.tuning.trials.failures import FailureCallback
from manta.tuning.trials.schedulers import make_scheduler
from manta.tuning.trials.search import SearchPlan, StudySearch
from manta.tuning.trials.study_task import Budget, StudyTask
from manta.tuning.trials.trial import StudyTrial
from manta.workshop.prepare import prepare_materials

SCRATCH = "tune"
"""Ray Tune's own files, of which nothing is needed afterwards."""
LOST_PROCESSES = 2
"""How often a trial whose process died is started again, from its last checkpoint."""
PBT_CHECKPOINTS = 8
"""What a trial keeps under PBT, which copies a checkpoint that its owner may have left behind."""
TUNE = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # A trial that failed has no metric.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # A resume reads Optuna's database, not Tune's state.
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "3600",
    "RAY_AIR_NEW_OUTPUT": "0",
}
"""Environment of Ray Tune."""
OPEN = ("running", "waiting")
"""States of a trial that has not ended."""


def search(request: StudyRequest) -> tuple[StoredStudy, StudyRecord]:
    """Run a study, or what is left of one, to its last trial. Returns it and its record.

    Raises:
        MantaError: anything that the user can mend.
    """
    named = request.resume and request.name is not None
    resumed = RunFolder(f"{request.runs.rstrip('/')}/{request.name}") if named else None
    with opened_start(request.recipe, request.runs, resumed) as start:
        return _search(replace(request, recipe=start.experiment), start)


def _search(request: StudyRequest, start: OpenedStart) -> tuple[StoredStudy, StudyRecord]:
    """Run a study whose start is open. Returns it and its record."""
    recipe = request.recipe
    # What a file can say wrong comes first, then what the cluster and the data do not allow. The
    # study's folder is written after all of that, so that what is refused leaves nothing behind.
    space, section = read_space(request.space, recipe)
    changes = request.changes or {}
    settings = settings_from(merged(section.values, changes), None if changes else section.error)
    whole = whole_of(settings, recipe)
    folder = new_folder(request, settings.storage)
    is_complete = recipe.modality().is_complete
    if is_complete:
        preflight(recipe)
    check_source(recipe.data.source, SourceOptions.of(recipe.data))
    request.notify("starting Ray")
    _set_up_tune()
    connect()
    cluster = ClusterResources.connected()
    resources = allocate(settings, recipe, cluster)
    tracker = Tracker(experiment=recipe.tracking.experiment, runs_dir=default_store(request.runs))
    check_reach(tracker.uri, len(cluster.nodes))
    dataset = _dataset(request, folder)
    manifest = open_dataset(dataset)
    if not is_complete:
        preflight(recipe, manifest.stats)
    start = start.tried(manifest.stats)
    for line in start.said(resumed=request.resume):
        request.notify(line)
    plan = plan_of(recipe, manifest)  # refuses too few rows
    if settings.scheduler.name == "pbt" and space.default(recipe) is None:
        raise ConfigError(
            "study.scheduler=pbt starts from the recipe, and it lies outside of the space: "
            "widen that"
        )
    metrics = metrics_for(settings.metric, manifest.labelled)
    rows = evaluated_rows(recipe, manifest, plan, final=False)
    check_labels(metrics, recipe, count_labels(*rows))
    for name in settings.compare:
        metric(name)  # refuses an unknown name
    with naming_resume(folder, STUDY):
        saved = open_folder(folder, request, settings, whole, manifest, dataset, tracker)
        start.write(folder)
        prepare_materials(
            recipe,
            manifest,
            folder,
            tracker,
            runs=request.runs,
            notify=request.notify,
            at_hand=start.at_hand,
        )
        study = StoredStudy(folder, space, settings, recipe, metrics, saved)
        with _running(tracker, saved["study_run_id"]):
            trials = _Search(study, request, resources, dataset, tracker).run()
        return study, study.record(trials)


def _dataset(request: StudyRequest, folder: RunFolder) -> str:
    """Return the location of the ingested data; of a resumed study those that it began with."""
    data = request.recipe.data
    is_begun = request.resume and folder.exists(STUDY)
    return prepare_resumed(
        data.source,
        data.cache_dir or default_cache(request.runs),
        yaml.safe_load(folder.read(STUDY)) if is_begun else {},
        f"study {folder.name!r}",
        request.notify,
        request.ingest_progress,
        options=SourceOptions.of(data),
        modality=request.recipe.modality(),
    )


def _set_up_tune() -> None:
    for key, value in TUNE.items():
        os.environ.setdefault(key, value)
    # What it says of a failed trial is in the trial's reason.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    optuna.logging.set_verbosity(optuna.logging.WARNING)


class _Search:
    """Ray Tune around the trials of a study that are left, with what follows each of them."""

    def __init__(
        self,
        study: StoredStudy,
        request: StudyRequest,
        resources: TrialResources,
        dataset: str,
        tracker: Tracker,
    ) -> None:
        self.study, self.request, self.resources = study, request, resources
        self.dataset, self.tracker = dataset, tracker
        self.pbt = study.settings.scheduler.name == "pbt"
        self.closer = TrialCloser(tracker, trials_folder(study.folder), keep=self.pbt)
        # Taken before the searcher opens the database: another driver of this study writes no more
        # once it has noticed, which `guard` sees to.
        lease = Lease.take(study.folder)
        settings = study.settings
        self.searcher = StudySearch(
            study.space,
            study.recipe,
            study.metrics,
            SearchPlan(
                study=study.optuna_name,
                storage=open_storage(study.storage_url),
                sampler=settings.sampling,
                seed=settings.seed,
                trials=settings.trials,
                whole=study.saved["whole"],
                place=study.folder.url if settings.storage is None else None,
            ),
            on_end=self._trial_ended,
            guard=lambda: lease.verify(at_most_every=1.0),
        )

    def run(self) -> list[TrialRecord]:
        """Run the trials that are left. Returns all trials of the study."""
        left = self.searcher.left
        earlier = [trial for trial in self._records() if trial.state not in OPEN]
        self.closer.close_earlier(earlier)
        if left == 0:
            self._close()
            return self._records()
        tuner = self._tuner(left, [trial for trial in earlier if trial.state != "failed"])
        folder, settings = self.study.folder, self.study.settings
        whole = f"{self.study.saved['whole']} {settings.scheduler.unit}"
        self.request.notify(
            f"study {folder.name!r}: {left} trials to run, {self.resources.concurrent} at a time, "
            f"each up to {whole}"
        )
        try:
            tuner.fit()
        except BaseException as error:
            # Also where the user interrupts: their runs in MLflow would say RUNNING for ever.
            self.closer.interrupted(trial for trial in self._records() if trial.state == "running")
            if self.searcher.disk_full is not None:
                raise self.searcher.disk_full from error
            raise
        finally:
            self._close()
            with contextlib.suppress(OSError):
                folder.remove(SCRATCH)
        return self._records()

    def _records(self) -> list[TrialRecord]:
        return trial_records(self.searcher.study, self.study.space, self.study.metrics)

    def _trial_ended(self, number: int, outcome: Outcome) -> None:
        record = self.study.record(self._records())
        trial = next(trial for trial in record.trials if trial.number == number)
        self.closer.trial_ended(trial, outcome)
        done = sum(one.state not in OPEN for one in record.trials)
        total = self.study.settings.trials
        self.request.watch(StudyProgress(trial, done, total, record.best))

    def _tuner(self, left: int, past: list[TrialRecord]) -> tune.Tuner:
        """Build Tune's driver.

        Args:
            past: trials with which the scheduler compares those that are left.
        """
        study, whole = self.study, self.study.saved["whole"]
        scheduler = make_scheduler(
            study.settings.scheduler, study.metrics[0], whole, space=study.space, past=past
        )
        trial = tune.with_parameters(StudyTrial, task=self._task())
        return tune.Tuner(
            tune.with_resources(trial, self.resources.request),
            tune_config=tune.TuneConfig(
                search_alg=self.searcher,
                scheduler=scheduler,
                num_samples=left,
                # PBT's population is all of its trials: their requests limit how many run.
                max_concurrent_trials=None if self.pbt else self.resources.concurrent,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=uuid.uuid4().hex[:8],
                storage_path=study.folder.url_of(SCRATCH),
                failure_config=tune.FailureConfig(max_failures=LOST_PROCESSES),
                verbose=0,
                callbacks=[FailureCallback(self.searcher.died)],
                # Trials have checkpoints of their own.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )

    def _task(self) -> StudyTask:
        study, scheduler = self.study, self.study.settings.scheduler
        compare = [REFERENCE, *study.settings.compare] if study.saved["labelled"] else []
        return StudyTask(
            study=study.folder,
            runs=RunFolder(self.request.runs).url,
            components=own_components(study.recipe),
            recipe=study.recipe,
            space=study.space,
            dataset=self.dataset,
            metrics=[metric.name for metric in study.metrics],
            compare=compare,
            budget=Budget(scheduler.unit, scheduler.min, study.saved["whole"]),
            tracking_uri=self.tracker.uri,
            tracking_experiment=self.tracker.experiment,
            parent_run=study.saved["study_run_id"],
            shared=_shared(study.recipe, self.dataset, self.request.notify),
            resources=self.resources,
            keep=PBT_CHECKPOINTS if self.pbt else 1,
        )

    def _close(self) -> None:
        if not self.closer.close():
            self.request.notify(
                "the tracking server misses metrics of trials; they wait in "
                f"{self.closer.trials.url}, and --resume sends them"
            )


def _shared(recipe: Experiment, dataset: str, notify: Notify) -> CachedRows | None:
    """Decode once for all trials. Returns None if that does not fit."""
    try:
        return CachedRows.decode(recipe, dataset, bank=ONLINE_BANK, queries=ONLINE_QUERIES)
    except ResourceError:
        notify("the decoded images do not fit into the object store: each trial decodes for itself")
        return None


@contextlib.contextmanager
def _running(tracker: Tracker, run_id: str) -> Iterator[None]:
    """Mark the study's run in MLflow as running, then as interrupted or failed if it is."""
    with contextlib.suppress(TrackingError):
        tracker.resume(run_id)
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(TrackingError):
            tracker.finish(run_id, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
