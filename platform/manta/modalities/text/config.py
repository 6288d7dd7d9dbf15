"""Settings of sentences: where they come from and how they reach an encoder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from manta.modalities.config import DataConfig


class TextConfig(DataConfig):
    """Settings of the sentences: where they come from and how they reach a worker."""

    modality: Literal["text"] = Field("text", description="what a sample is: a sentence")
    tokens: int = Field(
        64,
        ge=4,
        le=8192,
        description="longest row in tokens; of a longer one a stretch is drawn in training, and "
        "its beginning is taken in evaluations",
    )
    vocabulary: str | None = Field(
        None,
        description="a tokenizer.json, or the folder of a dataset, a run or an exported encoder, "
        "whose vocabulary is taken at the ingest; None: one is learnt from the data",
    )
    vocabulary_size: int = Field(
        8192, ge=300, le=1 << 20, description="tokens of a vocabulary that is learnt, at most"
    )
    vocabulary_rows: int = Field(
        200_000,
        ge=1,
        description="rows, spread over the data, from which a vocabulary is learnt, at most",
    )
    lowercase: bool = Field(True, description="a vocabulary that is learnt knows no capitals")
