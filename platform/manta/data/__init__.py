"""The data plane: sources -> ingest -> manifest -> plan -> stream.

location = prepare("photos/", cache_dir="cache")
manifest = open_dataset(location)
plan = Plan(manifest, seed=0, batch_size=256)
for batch in stream(
    manifest, plan, decoder=ImageDecoder(32), stop_step=10 * plan.steps_per_epoch
):
    batch.data["image"], batch.index
"""

from manta.data._ingest_job import IngestProgress, IngestReport
from manta.data._shards import Limits
from manta.data.arrays import RowIndexes
from manta.data.cache import DecodedCache
from manta.data.holdout import Holdout, Split
from manta.data.ingest import check_source, ingest, prepare, prepared, survey
from manta.data.manifest import (
    Manifest,
    Shard,
    is_dataset,
    is_ingested,
    open_dataset,
    refuse_dataset,
)
from manta.data.plan import Plan, Segment
from manta.data.sources import SOURCES, Sample, Source, SourceOptions, is_builtin, open_source
from manta.data.splits import LabelledBatch, read_split
from manta.data.stream import RankBatch, stream
from manta.data.understanding import Understanding
from manta.modalities.image import BadImage, decode, optional_formats, verify

__all__ = [
    "SOURCES",
    "BadImage",
    "DecodedCache",
    "Holdout",
    "IngestProgress",
    "IngestReport",
    "LabelledBatch",
    "Limits",
    "Manifest",
    "Plan",
    "RankBatch",
    "RowIndexes",
    "Sample",
    "Segment",
    "Shard",
    "Source",
    "SourceOptions",
    "Split",
    "Understanding",
    "check_source",
    "decode",
    "ingest",
    "is_builtin",
    "is_dataset",
    "is_ingested",
    "open_dataset",
    "open_source",
    "optional_formats",
    "prepare",
    "prepared",
    "read_split",
    "refuse_dataset",
    "stream",
    "survey",
    "verify",
]
