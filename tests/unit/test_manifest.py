"""The manifest on disk and the numbering of row groups."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from manta.data.ingest import ingest, survey
from manta.data.manifest import Manifest, Shard, is_dataset, open_dataset
from manta.errors import DataError
from manta.files import Place
from odd.case import tree


def manifest(location: str, shards: list[list[int]]) -> Manifest:
    made = [
        Shard(f"shard-{n:05d}.parquet", sum(groups), groups, 10) for n, groups in enumerate(shards)
    ]
    return Manifest(
        location=location,
        rows=sum(shard.rows for shard in made),
        labelled=True,
        classes=["cat", "dog"],
        shards=made,
        sizes={"edges": [1, 16], "counts": [0, 5]},
        mean=[0.1, 0.2, 0.3],
        std=[0.4, 0.5, 0.6],
        moment_rows=5,
        source="/photos",
        kind="folder",
        quarantined=1,
        digest="ab" * 32,
        bytes=20,
    )


def test_round_trip_and_move(tmp_path: Path) -> None:
    made = manifest("somewhere else", [[3, 2], [4]])
    (tmp_path / "manifest.json").write_text(made.to_json())
    read = open_dataset(tmp_path)
    assert read.location == str(tmp_path)
    assert read.to_json() == made.to_json()
    assert is_dataset(tmp_path)
    assert not is_dataset(tmp_path / "nothing")


def test_row_groups_are_numbered_over_all_shards() -> None:
    made = manifest("", [[3, 2], [4], [1, 1, 5]])
    assert made.group_starts.tolist() == [0, 3, 5, 9, 10, 11, 16]
    where = [(shard.path, group) for shard in made.shards for group in range(len(shard.row_groups))]
    assert [made.find_group(number) for number in range(6)] == where
    assert np.diff(made.group_starts).sum() == made.rows


def test_what_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not an ingested dataset; run `manta ingest"):
        open_dataset(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        open_dataset(tmp_path)
    content = json.loads(manifest("", [[1]]).to_json())
    (tmp_path / "manifest.json").write_text(json.dumps(content | {"version": 99}))
    with pytest.raises(DataError, match="not of version 1"):
        open_dataset(tmp_path)
    del content["digest"]
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="lacks digest"):
        open_dataset(tmp_path)


def test_a_dataset_of_an_earlier_version_is_not_said_to_have_changed(tmp_path: Path) -> None:
    """It has no options, and the state of a folder was that of the folder itself."""
    photos = tree(tmp_path / "photos", "a/1.png", "b/1.png")
    made = ingest(photos, tmp_path / "out", executor="local")
    file = tmp_path / "out" / "manifest.json"
    content = json.loads(file.read_text())
    for later in ("values", "labelled_rows", "understood"):
        del content[later]
    identity = json.dumps(list(Place(str(photos)).identity())).encode()
    state = hashlib.sha256(identity).hexdigest()[:16]
    del content["options"]["options"]
    content["options"]["state"] = state
    file.write_text(json.dumps(content))
    again = ingest(photos, tmp_path / "out", executor="local")
    assert (again.rows, again.digest, again.understood) == (2, made.digest, None)
    tree(tmp_path / "photos", "c/1.png")
    with pytest.raises(DataError, match="changed since"):
        ingest(photos, tmp_path / "out", executor="local")


def test_what_a_later_version_understood_is_left_out() -> None:
    understood = {"rows": 3, "classes": {"a\nb": 3}, "class_count": 1, "hue": "blue"}
    made = replace(manifest("", [[3]]), understood=understood)
    assert made.said() == ["3 images, 1 class (a b 3), labels on 0 of them"]


def test_a_dataset_is_surveyed_by_its_own_lines_and_not_ingested_again(tmp_path: Path) -> None:
    understood = {"rows": 3, "class_count": 1, "classes": {"a": 3}, "labelled_rows": 3}
    made = replace(manifest("", [[3]]), understood=understood)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "manifest.json").write_text(made.to_json())
    assert survey(tmp_path / "d").lines() == ["3 images, 1 class (a 3)"]
    with pytest.raises(DataError, match=r"/d is an ingested dataset already; use it as data\."):
        ingest(tmp_path / "d", tmp_path / "out")
