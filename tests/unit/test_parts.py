"""Jobs of embedding and their part files, without a cluster."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from manta.errors import ConfigError, DataError
from manta.files import Place
from manta.serving import _parts
from manta.serving._parts import EmbeddedRows, numbers_in, part_name, read_footer, write_part
from manta.serving.embed import _claim, _finish
from manta.serving.embeddings import (
    part_groups,
    part_table,
    parts_of,
    read_embeddings,
    read_manifest,
)
from manta.serving.job import Job

WIDTH = 3


def rows(first: int, count: int, aside: int = 0) -> EmbeddedRows:
    """Rows from `first` on whose vectors hold their number, and some that did not decode."""
    index = np.arange(first, first + count)
    vectors = np.repeat(index[:, None], WIDTH, axis=1).astype(np.float32)
    bad = [(first + count + i, f"{i}.png", "truncated") for i in range(aside)]
    return EmbeddedRows(index, [f"{i}.jpg" for i in index], vectors, bad)


@pytest.fixture(params=["disk", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: str) -> Place:
    location = str(tmp_path) if request.param == "disk" else f"memory://parts{tmp_path}"
    return Place.of(location) / "out.parquet"


def job(count: int, chunk: int = 10) -> Job:
    return Job("mine", "w", "data", "d", count, chunk)


def test_chunks_cover_every_row_once() -> None:
    one = job(25)
    assert one.parts == 3
    assert [list(one.rows_of(n))[::9] for n in range(3)] == [[0, 9], [10, 19], [20]]
    assert [row for n in range(one.parts) for row in one.rows_of(n)] == list(range(25))


def test_parts_are_read_as_they_were_written(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_parts, "GROUP_BYTES", 4 * WIDTH * 4)
    place.make()
    write_part(place / part_name(1), WIDTH, [rows(10, 3), rows(13, 3, aside=1), rows(17, 2)])
    write_part(place / part_name(0), WIDTH, [rows(0, 10)])
    assert numbers_in(place) == parts_of(place.url) == [0, 1]
    footer = read_footer(place, 1)
    assert footer is not None
    assert (footer.rows, footer.width) == (8, WIDTH)
    assert footer.aside == [(16, "0.png", "truncated")]
    assert read_footer(place, 2) is None
    table = part_table(place.url, 1)
    assert table["index"].to_pylist() == [10, 11, 12, 13, 14, 15, 17, 18]
    assert table["embedding"].to_pylist()[-1] == [18.0] * WIDTH
    groups = list(part_groups(place.url, 1))
    assert [group["index"].to_pylist() for group in groups] == [
        [10, 11, 12, 13, 14, 15],
        [17, 18],
    ]
    assert groups[0].column_names == ["index", "embedding"]
    assert [len(part) for part in read_embeddings(place.url)] == [10, 8]


def test_a_finished_folder_is_a_table_with_a_manifest(tmp_path: str) -> None:
    place, work = Place.of(tmp_path) / "out.parquet", job(20)
    _claim(place, work)
    with pytest.raises(DataError, match="holds no finished embeddings"):
        read_manifest(place.url)
    write_part(place / part_name(0), WIDTH, [rows(0, 8, aside=2)])
    with pytest.raises(DataError, match="10 rows whose parts are missing"):
        _finish(place, work, embedded_now=10)
    write_part(place / part_name(1), WIDTH, [rows(10, 10)])
    report = _finish(place, work, embedded_now=20)
    assert (report.rows, report.unreadable, report.width) == (18, 2, WIDTH)
    manifest = read_manifest(place.url)
    assert (manifest["embedded"], manifest["unreadable"], manifest["digest"]) == (18, 2, "d")
    assert len(pd.read_parquet(place.url)) == 18, "the hidden files are no part of the table"
    unreadable = pd.read_parquet(f"{place.url}/_unreadable.parquet")
    assert unreadable["index"].tolist() == [8, 9]


def test_a_folder_belongs_to_one_job(place: Place) -> None:
    _claim(place, job(20))
    _claim(place, Job("renamed", "w", "moved", "d", 20, 10))  # the same weights and data
    with pytest.raises(ConfigError, match=r"another job \(weights differ\)"):
        _claim(place, Job("mine", "other", "data", "d", 20, 10))
    assert json.loads((place / "_job.json").read())["model"] == "mine"


def test_a_folder_with_other_things_is_left_alone(place: Place) -> None:
    (place / "notes.txt").write(b"mine")
    with pytest.raises(ConfigError, match="holds no embeddings of Manta's"):
        _claim(place, job(20))
    assert [name for name, _ in place.entries()] == ["notes.txt"]


def test_groups_are_a_column_where_there_are_some(place: Place) -> None:
    place.make()
    one, other = rows(0, 2), rows(2, 2)
    named = EmbeddedRows(one.index, one.paths, one.vectors, one.aside, ["ann", None])
    write_part(place / part_name(0), WIDTH, [named, other], grouped=True)
    write_part(place / part_name(1), WIDTH, [rows(4, 1)])
    assert part_table(place.url, 0)["group"].to_pylist() == ["ann", None, None, None]
    assert part_table(place.url, 1).column_names == ["index", "path", "embedding"]
