"""Settings of sentences: where they come from and how they reach an encoder."""

from __future__ import annotations

import codecs
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from manta.modalities.config import DataConfig


class TextConfig(DataConfig):
    """Settings of the sentences: where they come from and how they reach a worker."""

    of_source: ClassVar[tuple[str, ...]] = ("encoding", "row")
    of_samples: ClassVar[tuple[str, ...]] = ("row",)

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
    encoding: str | None = Field(
        None,
        description="of files without a mark of their own, such as latin-1; None: UTF-8, and what "
        "is not is set aside",
    )
    row: Literal["line", "file"] | None = Field(
        None,
        description="what a row of .txt files is; None: a file where they lie in folders of their "
        "classes, else a line",
    )

    @field_validator("encoding")
    @classmethod
    def _known(cls, encoding: str | None) -> str | None:
        try:
            return encoding if encoding is None else codecs.lookup(encoding).name
        except LookupError:
            known = "utf-8, latin-1, cp1252 and shift_jis are some"
            raise ValueError(f"{encoding!r} is no encoding; {known}") from None
