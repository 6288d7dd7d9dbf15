"""`manta embed`: any model over any data."""

from __future__ import annotations

from collections.abc import Callable

from manta.cluster import connect
from manta.data import IngestProgress, prepare
from manta.models.actors import cluster_pool
from manta.models.find import model_folder
from manta.runs.folder import default_cache
from manta.runs.store import default_store
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
    batch: int = 256,
    actors: int | None = None,
    most_actors: int | None = None,
    gpus: float | None = None,
    notify: Callable[[str], None] = lambda _message: None,
    ingest_progress: IngestProgress | None = None,
    progress: EmbedProgress = lambda _done, _rows: None,
) -> EmbedReport:
    """Embed `data` by `model` (as `model_folder` takes it) into the folder `out`.

    Args:
        actors, most_actors: the pool's least and most; by default one a GPU, or one a machine.
        gpus: of an actor, may be a fraction; by default 1 where there are GPUs.

    Raises:
        MantaError: anything that the user can mend.
    """
    notify("starting Ray")
    connect(cpus=2)
    pool = cluster_pool(batch, actors, most_actors, gpus)
    dataset = prepare(data, default_cache(runs), progress=ingest_progress)
    with model_folder(model, Tracker(runs_dir=default_store(runs)), runs) as folder:
        notify(f"embedding by {model} with {pool.least} to {pool.most} actor(s)")
        return embed(
            model,
            folder,
            dataset,
            out,
            pool=pool,
            layer=layer,
            precision=precision,
            progress=progress,
        )
