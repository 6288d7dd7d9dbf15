"""Description of an embedding job, and of the actors that carry it out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pool:
    """Pool of a job's actors.

    Attributes:
        least, most: bounds of the number of actors, between which Ray Data scales the pool.
        gpus: GPUs of each actor, possibly a fraction of one.
        cpus: logical CPUs of each actor.
        threads: decode threads of each actor; torch has the same number of its own.
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
        model: as the user named it, with its version if it has one.
        weights: SHA-256 of the encoder's folder.
        dataset, digest: location of the ingested dataset, and its manifest's digest.
        rows: number of rows to embed.
        chunk: rows of a part.
        selection: SHA-256 of the rows' numbers; None: all rows of the dataset.
        layer: submodule whose output is averaged over positions; None: the pooled embedding.
        precision: precision of the encoder, "float32" or "bf16".
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
        """Return the number of part files of the finished job."""
        return -(-self.rows // self.chunk)

    def rows_of(self, number: int) -> range:
        """Return the positions, among the embedded rows, of those in part `number`."""
        return range(number * self.chunk, min((number + 1) * self.chunk, self.rows))
