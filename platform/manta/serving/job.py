"""A job of embedding: what is embedded by what, on which actors."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pool:
    """Actors of a job.

    Attributes:
        least, most: how many; Ray Data grows and shrinks the pool between them.
        gpus: of each actor, which may be a fraction.
        cpus: logical, of each actor.
        threads: that decode, in each actor; torch has as many of its own.
        batch: images that go through the encoder at a time.
    """

    least: int = 1
    most: int = 1
    gpus: float = 0.0
    cpus: float = 1.0
    threads: int = 2
    batch: int = 256


@dataclass(frozen=True, slots=True)
class Job:
    """Identity of a job: equal jobs have equal outputs.

    Attributes:
        model: as the user named it, with its version where it has one.
        weights: SHA-256 of the encoder's folder.
        dataset: location of the ingested dataset; `digest` is its manifest's.
        rows: how many are embedded.
        chunk: rows of a part.
        selection: SHA-256 of the rows' numbers; None: all rows of the dataset.
        layer: submodule whose output is taken, averaged over positions; None: the pooled embedding.
        precision: "float32" or "bf16", of the encoder.
    """

    model: str
    weights: str
    dataset: str
    digest: str
    rows: int
    chunk: int
    layer: str | None = None
    precision: str = "float32"
    selection: str | None = None

    @property
    def parts(self) -> int:
        """Return the number of files that the finished job has."""
        return -(-self.rows // self.chunk)

    def rows_of(self, number: int) -> range:
        """Return which of the embedded rows part `number` holds."""
        return range(number * self.chunk, min((number + 1) * self.chunk, self.rows))
