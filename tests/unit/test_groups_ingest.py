"""Groups of rows from the source to the dataset: what names them, and what is said of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manta.data import Manifest, SourceOptions, ingest, open_dataset, prepared, survey
from manta.data.groups import open_groups
from manta.errors import ConfigError, DataError, MantaError
from odd.case import encoded, picture

SPEAKERS = ["jackson", "nicolas", "jackson", "theo", "jackson", "nicolas"]
RULE = r"regex:\d+_([a-z]+)_"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six pictures named as recordings are: `0_jackson_0.png`."""
    for number, speaker in enumerate(SPEAKERS):
        place = tmp_path / "photos" / speaker
        place.mkdir(parents=True, exist_ok=True)
        picture((40 * number, 60, 20)).save(place / f"{number}_{speaker}_0.png")
    return tmp_path / "photos"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    images = [encoded((40 * number, 60, 20)) for number in range(6)]
    speakers = [None, *SPEAKERS[1:]]
    columns = {"image": images, "speaker": speakers, "take": [1, 2, 1, 2, 1, 2]}
    pq.write_table(pa.table(columns), tmp_path / "photos.parquet")
    return tmp_path / "photos.parquet"


def written(source: Path, group: str | None, out: Path) -> Manifest:
    options = SourceOptions(group=group)
    return open_dataset(ingest(source, out, options=options, executor="local").location)


def column_of(manifest: Manifest) -> list[str | None]:
    """The column of the shards."""
    files = [Path(manifest.location) / shard.path for shard in manifest.shards]
    return [name for file in files for name in pq.read_table(file)["group"].to_pylist()]


@pytest.mark.parametrize("rule", ["parent", RULE])
def test_a_path_tells_the_group(folder: Path, rule: str, tmp_path: Path) -> None:
    manifest = written(folder, rule, tmp_path / "out")
    groups = open_groups(manifest)
    assert manifest.groups == 3
    assert groups is not None
    told = [groups.names[number] for number in groups.of(np.arange(6))]
    assert told == column_of(manifest) == sorted(SPEAKERS)
    assert groups.sizes(4).tolist() == [3, 1, 0]
    line = "3 groups (jackson 3, nicolas 2, theo 1)"
    assert line in manifest.said()
    assert line in survey(folder, options=SourceOptions(group=rule), executor="local").lines()


def test_a_column_tells_the_group(table: Path, tmp_path: Path) -> None:
    manifest = written(table, "speaker", tmp_path / "out")
    assert column_of(manifest) == [None, *SPEAKERS[1:]]
    groups = open_groups(manifest)
    assert groups is not None
    assert groups.of(np.array([0, 4, 1])).tolist() == [-1, 1, 0]
    said = "3 groups (jackson 2, nicolas 2, theo 1), 1 row of none: it stands alone"
    assert said in manifest.said()
    assert written(table, "take", tmp_path / "takes").groups == 2


@pytest.mark.parametrize("name", ["list.csv", "list.jsonl"])
def test_a_column_of_a_list_tells_the_group(folder: Path, name: str, tmp_path: Path) -> None:
    paths = sorted(str(path) for path in folder.rglob("*.png"))
    rows = [{"path": path, "who": Path(path).parent.name} for path in paths]
    with (tmp_path / name).open("w") as file:
        if name.endswith("csv"):
            writer = csv.DictWriter(file, ["path", "who"])
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    manifest = written(tmp_path / name, "who", tmp_path / "out")
    assert column_of(manifest) == sorted(SPEAKERS)
    assert not manifest.labelled  # the column is of groups, and of nothing else
    with pytest.raises(DataError, match=r"has no (column|key) 'whom'; did you mean 'who'"):
        written(tmp_path / name, "whom", tmp_path / "other")


def test_without_groups_nothing_changes(folder: Path, tmp_path: Path) -> None:
    manifest = written(folder, None, tmp_path / "out")
    file = pq.read_table(Path(manifest.location) / manifest.shards[0].path)
    assert "group" not in file.column_names
    assert open_groups(manifest) is None
    content = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert "groups" not in content
    assert "group" not in content["options"]["options"]
    assert not [key for key in content["understood"] if "group" in key]
    assert repr(SourceOptions("val")) == "SourceOptions(split='val', column=None, labels=None)"
    earlier = {"split": "val", "column": None, "labels": None}
    assert SourceOptions("val").to_json() == earlier


def test_groups_belong_to_what_an_ingest_is(folder: Path, tmp_path: Path) -> None:
    places = {prepared(folder, tmp_path, options=SourceOptions(group=g)) for g in (None, "parent")}
    assert len(places) == 2
    assert prepared(folder, tmp_path) in places
    digests = {written(folder, g, tmp_path / str(g)).digest for g in (None, "parent")}
    assert len(digests) == 2
    with pytest.raises(DataError, match="was made with group None, not parent"):
        written(folder, "parent", tmp_path / "None")


@pytest.mark.parametrize(
    ("rule", "error", "said"),
    [
        ("speaker", DataError, "has no columns, and so none of groups: speaker; give 'parent'"),
        ("regex:(", ConfigError, "is no pattern"),
        ("regex:x", ConfigError, "has 0 groups in brackets"),
        ("regex:zebra_([a-z]+)", DataError, "names a group of no path of .*, such as jackson/0_"),
    ],
)
def test_a_rule_that_names_nothing_is_one_line(
    folder: Path, rule: str, error: type[MantaError], said: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said) as raised:
        survey(folder, options=SourceOptions(group=rule), executor="local")
    assert "\n" not in str(raised.value)
    with pytest.raises(error):
        written(folder, rule, tmp_path / "out")


def test_a_column_that_is_not_there_is_one_line(table: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'speakr'; did you mean 'speaker'"):
        written(table, "speakr", tmp_path / "out")
