"""An ingest of sentences: what is learnt of the whole dataset, once, at its end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from manta.data import open_dataset
from manta.data._learning import spread_rows
from manta.data._shards import Limits
from manta.data.ingest import ingest
from manta.data.read import decode_rows, read_rows
from manta.data.samples import modality_of
from manta.errors import DataError
from manta.modalities.text import Text, TextConfig, TextInspector
from manta.modalities.text.learning import VocabularyLearner

WORDS = ("river", "mountain", "market", "violin", "harbour", "window")
LIMITS = Limits(shard_rows=20, group_rows=4)


def source(folder: Path, rows: int = 60) -> str:
    for number in range(rows):
        word, other = WORDS[number % 6], WORDS[number * number % 6]
        (folder / f"{number:02d}.txt").write_text(f"The {word} of row {number} is a {other}.")
    (folder / "broken.txt").write_bytes(b"caf\xe9")
    return str(folder)


def text(**settings: Any) -> Text:
    return Text(TextConfig(source="x", vocabulary_size=320, **settings), {})


def ingested(folder: Path, out: Path, modality: Text) -> Any:
    ingest(str(folder), out, modality=modality, limits=LIMITS, executor="local")
    return open_dataset(out)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "source"
    place.mkdir()
    source(place)
    return place


def test_a_dataset_has_the_vocabulary_of_its_rows(folder: Path, tmp_path: Path) -> None:
    manifest = ingested(folder, tmp_path / "out.manta", text())
    assert (manifest.rows, manifest.quarantined, len(manifest.shards)) == (60, 1, 3)
    one = modality_of(manifest)
    assert isinstance(one, Text)
    assert one.is_complete
    rows = read_rows(manifest, one_to(60)).data
    assert one.vocabulary == Text(one.data, VocabularyLearner(320, 60, True)(rows)).vocabulary
    columns = decode_rows(manifest, one_to(60), rows, one.decoder())
    assert one.picture({name: column[7:8] for name, column in columns.items()}).caption == (
        "the mountain of row 7 is a mountain."
    )


@dataclass(frozen=True)
class Interrupted:
    rows: int = 60

    def __call__(self, rows: Iterable[bytes]) -> dict[str, Any]:
        assert sum(1 for _ in rows) == 60
        raise DataError("the machine has gone")


class Broken(Text):
    def learner(self) -> Any:
        return Interrupted()

    def inspector(self) -> TextInspector:
        return TextInspector(super().learner())


def test_an_ingest_that_ends_while_it_learns_goes_on(folder: Path, tmp_path: Path) -> None:
    config = text().data
    with pytest.raises(DataError, match="the machine has gone"):
        ingested(folder, tmp_path / "late.manta", Broken(config, {}))
    assert not (tmp_path / "late.manta" / "manifest.json").exists()
    late = ingest(
        str(folder), tmp_path / "late.manta", modality=text(), limits=LIMITS, executor="local"
    )
    assert late.resumed_rows == 60
    whole = ingested(folder, tmp_path / "whole.manta", text())
    again = open_dataset(tmp_path / "late.manta")
    assert again.digest == whole.digest
    assert again.stats == whole.stats


def test_another_vocabulary_is_another_dataset(folder: Path, tmp_path: Path) -> None:
    ingested(folder, tmp_path / "out.manta", text())
    with pytest.raises(DataError, match=r"out.manta was made with modality .*lowercase=True"):
        ingested(folder, tmp_path / "out.manta", text(lowercase=False))


def test_a_sample_of_rows_is_spread_over_the_dataset(folder: Path, tmp_path: Path) -> None:
    manifest = ingested(folder, tmp_path / "out.manta", text(vocabulary_rows=16))
    some = [int(row.split()[4]) for row in spread_rows(manifest, 16)]
    assert len(some) <= 20
    assert min(some) < 15
    assert max(some) > 45
    assert some == sorted(some)
    assert len(list(spread_rows(manifest, 1))) == 4
    assert len(list(spread_rows(manifest, 10**9))) == 60


def one_to(count: int) -> Any:
    import numpy as np

    return np.arange(count)
