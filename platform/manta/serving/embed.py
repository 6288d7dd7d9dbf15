"""Embedding of a dataset by a Ray Data job, whose actors write one part file per chunk of rows.

OUT.parquet/                 a folder that pandas, PyArrow, DuckDB and Ray Data read as one table
  part-00000012.parquet      index, path, embedding of the rows of chunk 12; written atomically
  .part-00000012.parquet.*   a part that is being written, which those readers skip
  _job.json                  data and model of the job, written first: a second start continues
                             the same job only
  _unreadable.parquet        rows that no longer decode, with the reason
  _manifest.json             rows, model, dataset; written last

Pixels never leave the actors: each reads, decodes and embeds its chunk, and the driver only gets
the number of rows. A killed job leaves complete parts and hidden drafts; a second start embeds the
chunks without a part and deletes the drafts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from manta.data import open_dataset
from manta.data.arrays import RowIndexes
from manta.data.engine import hush
from manta.errors import ConfigError, DataError
from manta.files import Place
from manta.serving._parts import Aside, numbers_in, read_footer
from manta.serving.embedder import Embedder, load_features
from manta.serving.embeddings import MANIFEST
from manta.serving.job import Job, Pool

JOB, UNREADABLE = "_job.json", "_unreadable.parquet"
MOST_CHUNKS = 16_384
"""Most parts of a job, however large, so that listing them stays quick."""
LEAST_CHUNK = 2_048
"""Fewest rows of a chunk; from 33 million rows on it has more. A kill costs each actor its current
chunk."""
EmbedProgress = Callable[[int, int], None]
"""Callback that takes the number of rows embedded so far and of all rows."""


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """Result of a job.

    Attributes:
        rows: number of rows written by all starts of the job.
        embedded_now: rows that this start embedded.
        unreadable: rows that could not be decoded.
        width: dimension of an embedding.
    """

    out: str
    rows: int
    embedded_now: int
    unreadable: int
    width: int
    job: dict[str, Any] = field(default_factory=dict)


def embed(
    model: str,
    encoder_folder: str | Path,
    dataset: str,
    out: str,
    *,
    pool: Pool | None = None,
    layer: str | None = None,
    precision: str = "float32",
    rows: RowIndexes | None = None,
    progress: EmbedProgress = lambda _done, _rows: None,
) -> EmbedReport:
    """Embed a dataset into `out`, continuing where an equal job stopped.

    Ray must be connected. The encoder's files are sent to the actors, so only the dataset and `out`
    must be on disks that all machines share.

    Args:
        model: the encoder's name, for the manifest.
        rows: numbers of the rows to embed, ascending; None: all.

    Raises:
        ConfigError: `out` holds the embeddings of another job, or there is no such layer.
        DataError: the dataset cannot be read, or parts have disappeared.
    """
    import ray

    manifest = open_dataset(dataset)
    files = _files(encoder_folder)
    count = manifest.rows if rows is None else len(rows)
    selection = None if rows is None else hashlib.sha256(rows.tobytes()).hexdigest()
    chunk = max(LEAST_CHUNK, -(-count // MOST_CHUNKS))
    weights = weights_of(encoder_folder)
    job = Job(model, weights, dataset, manifest.digest, count, chunk, layer, precision, selection)
    place = Place.of(out)
    _claim(place, job)
    have = set(numbers_in(place))
    todo = [number for number in range(job.parts) if number not in have]
    done = count - sum(len(job.rows_of(number)) for number in todo)
    progress(done, count)
    pool = pool or Pool()
    before = done
    if todo:
        load_features(files, layer)  # a wrong layer raises here, not in an actor
        for written in _run((ray.put(files), ray.put(rows)), todo, place.url, job, pool):
            done += written
            progress(done, count)
    return _finish(place, job, embedded_now=done - before)


def weights_of(encoder_folder: str | Path) -> str:
    """Return the SHA-256 of a saved encoder: its weights, architecture and preprocessing."""
    return hashlib.sha256(
        b"".join(name.encode() + data for name, data in _files(encoder_folder).items())
    ).hexdigest()


def _claim(place: Place, job: Job) -> None:
    """Write the job into its folder, or check that the folder belongs to it.

    Raises:
        ConfigError: the folder holds another job, or anything else.
    """
    claim = place / JOB
    if claim.exists():
        theirs = json.loads(claim.read())
        # The model's name and the dataset's location may differ: digests identify both.
        identity = {
            key: value for key, value in asdict(job).items() if key not in ("model", "dataset")
        }
        differing = [key for key, value in identity.items() if theirs.get(key) != value]
        if differing:
            raise ConfigError(
                f"{place.url} holds embeddings of another job ({', '.join(differing)} differ); "
                "choose another --out, or delete it"
            )
        return
    if place.exists() and (not place.is_dir() or next(place.entries(), None) is not None):
        raise ConfigError(
            f"{place.url} exists and holds no embeddings of Manta's; choose another --out"
        )
    place.make()
    claim.write(json.dumps(asdict(job), indent=1).encode())


def _files(folder: str | Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in sorted(Path(folder).iterdir()) if path.is_file()
    }


def _run(stored: tuple[Any, Any], todo: list[int], out: str, job: Job, pool: Pool) -> Iterator[int]:
    """Yield the number of rows of each chunk as it is written, in no particular order."""
    import ray
    from ray.data import ActorPoolStrategy

    tasks = ray.data.from_items(
        [{"chunk": number} for number in todo], override_num_blocks=len(todo)
    )
    hush(tasks.context)
    # Two chunks per actor: the next one is there when an actor is done, and few wait behind a slow
    # actor while others idle.
    strategy = ActorPoolStrategy(
        min_size=min(pool.least, len(todo)),
        max_size=min(pool.most, len(todo)),
        max_tasks_in_flight_per_actor=2,
    )
    written = tasks.map_batches(
        Embedder,
        fn_constructor_kwargs={"stored": stored, "out": out, "job": job, "pool": pool},
        compute=strategy,
        num_cpus=None if pool.gpus else pool.cpus,
        num_gpus=pool.gpus or None,
        batch_size=1,
    )
    for row in written.iter_rows():
        yield int(row["rows"])


def _finish(place: Place, job: Job, *, embedded_now: int) -> EmbedReport:
    """Write the list of unreadable rows, then the manifest; return the report.

    Raises:
        DataError: parts are missing.
    """
    rows, width = 0, 0
    aside: Aside = []
    # Threads, because reading thousands of footers on an object store is mostly waiting.
    with ThreadPoolExecutor(16) as readers:
        for footer in readers.map(partial(read_footer, place), range(job.parts)):
            if footer is not None:
                rows, width = rows + footer.rows, footer.width
                aside += footer.aside
    if (missing := job.rows - rows - len(aside)) != 0:
        raise DataError(
            f"{place.url}: {missing:,} rows whose parts are missing; run the command again"
        )
    place.sweep()
    listed = pa.table(
        {
            "index": pa.array([one[0] for one in aside], pa.int64()),
            "path": pa.array([one[1] for one in aside], pa.string()),
            "reason": pa.array([one[2] for one in aside], pa.string()),
        }
    )
    if aside:
        with (place / UNREADABLE).writing() as file:
            pq.write_table(listed, file)
    facts = asdict(job) | {"embedded": rows, "unreadable": len(aside), "width": width}
    # Last of all: readers take a folder with a manifest for complete.
    (place / MANIFEST).write(json.dumps(facts, indent=1).encode())
    return EmbedReport(place.url, rows, embedded_now, len(aside), width, asdict(job))
