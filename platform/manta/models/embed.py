"""Embedding of any data with any model (`manta embed`)."""

from __future__ import annotations

from manta.cluster import connect
from manta.data import IngestProgress
from manta.models.actors import PoolRequest, cluster_pool
from manta.models.find import model_folder
from manta.models.samples import Taken, check_data, dataset_of
from manta.runs.folder import default_cache
from manta.runs.store import Notify, default_store
from manta.serving.embed import EmbedProgress, EmbedReport, embed
from manta.tracking import Tracker


def embed_data(
    model: str,
    data: str,
    out: str,
    *,
    runs: str = "manta-runs",
    layer: str | None = None,
    precision: str = "float32",
    pool: PoolRequest | None = None,
    notify: Notify = lambda _message: None,
    ingest_progress: IngestProgress | None = None,
    progress: EmbedProgress = lambda _done, _rows: None,
) -> EmbedReport:
    """Embed `data` with `model` into the folder `out`; return the report.

    Args:
        model: any name that `model_folder` accepts.

    Raises:
        MantaError: a problem that the user can fix.
    """
    with model_folder(model, Tracker(runs_dir=default_store(runs)), runs) as folder:
        # Features are of interest for every part of the data, unlike training.
        taken, everything = Taken.by(folder), "all"
        check_data(data, taken, split=everything)
        notify("starting Ray")
        connect(cpus=2)
        actors = cluster_pool(pool)
        cache = default_cache(runs)
        dataset = dataset_of(data, taken, cache, split=everything, progress=ingest_progress)
        notify(f"embedding by {model} with {actors.least} to {actors.most} actor(s)")
        return embed(
            model,
            folder,
            dataset,
            out,
            pool=actors,
            layer=layer,
            precision=precision,
            progress=progress,
        )
