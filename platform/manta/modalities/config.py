"""Settings of data that every modality has; a modality adds its own."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field


class DataConfig(BaseModel):
    """Settings of the samples: where they come from and how they reach a worker."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, coerce_numbers_to_str=True
    )

    of_source: ClassVar[tuple[str, ...]] = ()
    """Settings of a modality's own that its sources take."""
    of_samples: ClassVar[tuple[str, ...]] = ()
    """Those of them that say what a sample is, whatever the file: a model's hold for all data."""

    modality: str = Field("image", description="what a sample is; see `manta list modalities`")

    source: str = Field(
        description="image folder, Parquet, WebDataset tars, file list, ingested dataset, "
        "or 'digits'"
    )
    split: Literal["train", "val", "test", "unlabelled", "all"] | None = Field(
        None,
        description="part to read of a source in parts (train/, test/); None: the training part",
    )
    column: str | None = Field(
        None, description="column that holds the images, where a table has several"
    )
    labels: str | None = Field(
        None,
        description="column of the labels, 'folders' (the first sub-folders) or 'none'; None: what "
        "the layout suggests",
    )
    group: str | None = Field(
        None,
        description="what rows belong together by (speaker, recording, patient), which holdout "
        "keeps whole: a column, 'parent' (the folder of each file) or regex:PATTERN on its path",
    )
    limit: int | None = Field(None, ge=1, description="first N rows of the manifest")
    cache: Literal["none", "memory"] = Field(
        "none",
        description="memory: decode once and keep images in the object store, for each worker",
    )
    cache_dir: str | None = Field(
        None, description="where a raw source is ingested to; None: beside the runs"
    )
    shuffle_rows: int = Field(
        4096, ge=1, description="rows mixed with one another, from many shards"
    )
    buckets: bool = Field(
        False,
        description="give each step rows of like lengths, where rows have lengths of their own: "
        "less padding, and a method compares samples that are alike in this",
    )
    decode_tasks: int | None = Field(
        None, ge=1, description="decode tasks per worker at a time; None: by the CPUs"
    )
