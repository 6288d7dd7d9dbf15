"""Runs of benchmarks/objectives.py as data: jobs, and the file that remembers which are done."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manta.config import Experiment, from_mapping

STARTS = ("untrained", "recalibrated")
"""Names of untrained encoders: as built, and with BatchNorm's statistics of the bank's images.

The statistics are worth points by themselves. Without BatchNorm there is no recalibrated encoder.
"""
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """Description of a run for the process that performs it.

    Attributes:
        name: of the objective, or one of `STARTS`.
        experiment: as plain data.
        dataset: location of the ingested dataset; `digest` is its digest.
        folder: scratch folder of the run, removed afterwards.
        threads: of torch.
        keep: where the trained encoder is saved; None: nowhere.
        teacher: saved encoder that must exist first.
    """

    name: str
    experiment: dict[str, Any]
    dataset: str
    digest: str
    folder: str
    threads: int = 1
    keep: str | None = None
    teacher: str | None = None

    @property
    def trains(self) -> bool:
        return self.name not in STARTS

    @property
    def key(self) -> str:
        """Return the key of the run: runs of equal keys give equal numbers.

        It covers the data and what decides the training, or the encoder's start.
        """
        experiment = from_mapping(self.experiment)
        if self.trains:
            return f"{self.digest[:12]}-{experiment.fingerprint()}"
        start = [
            experiment.encoder.model_dump(mode="json"),
            experiment.train.seed,
            experiment.data.limit,
        ]
        start_digest = hashlib.sha256(json.dumps(start).encode()).hexdigest()
        return f"{self.digest[:12]}-{self.name}-{start_digest[:12]}"

    def facts(self) -> Record:
        """Return the job's part of a record in `runs.jsonl`."""
        experiment = from_mapping(self.experiment)
        train = experiment.train
        return {
            "objective": self.name,
            "seed": train.seed,
            "epochs": train.epochs if self.trains else 0,
            "limit": experiment.data.limit,
            "batch": train.batch_size,
            "temperature": getattr(experiment.objective, "temperature", None),
            "encoder": encoder_words(experiment),
            "key": self.key,
            "threads": self.threads,
        }


def encoder_words(experiment: Experiment) -> str:
    """Return the encoder's name and the arguments that distinguish it from others of that name."""
    config = experiment.encoder
    return " ".join([config.name, *(f"{key}={value}" for key, value in config.args.items())])


class Store:
    """`runs.jsonl`, with one line for each run that ended.

    The last line of a key counts; failed runs are tried again.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "runs.jsonl"

    def records(self) -> dict[str, Record]:
        """Return the records by key, without a last line that a kill tore."""
        records: dict[str, Record] = {}
        for line in self.path.read_text().splitlines() if self.path.exists() else []:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            records[record["key"]] = record
        return records

    def add(self, record: Record) -> None:
        torn = self.path.exists() and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a") as file:
            file.write(("\n" if torn else "") + json.dumps(record) + "\n")
