"""What each adapter makes of a location."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manta.data import check_source, prepared
from manta.data.sources import SOURCES, Sample, Source, SourceOptions, open_source
from manta.errors import DataError

Png = Callable[..., bytes]


def samples(source: Source) -> list[Sample]:
    sent = pickle.loads(pickle.dumps(source))  # units and adapter travel to other processes
    return [
        sample for unit in source.units() for sample in sent.read(pickle.loads(pickle.dumps(unit)))
    ]


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def test_class_folders(tmp_path: Path, make_png: Png) -> None:
    for number, name in enumerate(["b/2.png", "a/1.png", "b/1.png", "c/x.png", "a/.hidden"]):
        write(tmp_path / name, make_png(number))
    source = open_source(tmp_path)
    assert (source.kind, source.classes()) == ("folder", ["a", "b", "c"])
    got = samples(source)
    assert [(s.path, s.label) for s in got] == [
        ("a/1.png", 0),
        ("b/1.png", 1),
        ("b/2.png", 1),
        ("c/x.png", 2),
    ]
    assert got[1].data == make_png(2)


@pytest.mark.parametrize(
    "names",
    [
        ["1.png", "2.png", "3.png"],
        ["2024/may/1.png", "2024/may/2.png", "2025/1.png"],
        ["a/1.png", "b/1.png", "loose.png"],
        ["only/1.png", "only/2.png"],
    ],
)
def test_folders_without_classes(tmp_path: Path, make_png: Png, names: list[str]) -> None:
    for name in names:
        write(tmp_path / name, make_png(0))
    source = open_source(str(tmp_path))
    assert source.classes() is None
    assert [(s.path, s.label) for s in samples(source)] == [(name, None) for name in names]


def test_the_listing_is_streamed(tmp_path: Path) -> None:
    for number in range(300):
        write(tmp_path / "a" / f"{number:03d}.png", b"x")
    write(tmp_path / "b" / "0.png", b"x")
    units = open_source(tmp_path).units()
    first = next(units)
    write(tmp_path / "b" / "1.png", b"x")  # seen, since folder b is not listed yet
    rest = [path for unit in units for path, _ in unit]
    assert len(first) == 256
    assert [path for path, _ in first] + rest == [f"a/{n:03d}.png" for n in range(300)] + [
        "b/0.png",
        "b/1.png",
    ]


def test_a_link_to_a_folder_above_it_is_set_aside(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b" / "1.png", b"x")
    write(tmp_path / "a" / "b" / "2.png", b"x")
    os.symlink(tmp_path, tmp_path / "a" / "b" / "loop")
    got = [(sample.path, sample.reason) for sample in samples(open_source(tmp_path))]
    link = ("a/b/loop", "a folder that cannot be entered")
    assert got == [("a/b/1.png", None), ("a/b/2.png", None), link]


def table(path: Path, columns: dict[str, object], metadata: dict[str, str] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path, row_group_size=3)


def test_parquet_of_structs_with_class_names(tmp_path: Path, make_png: Png) -> None:
    images = [{"bytes": make_png(n), "path": f"{n}.png" if n else None} for n in range(5)]
    info = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    for part in ("train-0", "train-1", "test-0"):
        columns = {"image": images, "label": [0, 1, 1, 0, 1]}
        table(tmp_path / f"{part}.parquet", columns, {"huggingface": json.dumps(info)})
    source = open_source(f"{tmp_path}/train-*.parquet")
    assert (source.kind, source.classes()) == ("parquet", ["cat", "dog"])
    assert len(list(source.units())) == 4  # two row groups in each of two files
    got = samples(source)
    assert [s.label for s in got] == [0, 1, 1, 0, 1] * 2
    assert [s.path for s in got[:3]] == ["train-0.parquet#0", "1.png", "2.png"]
    assert [s.data for s in got[5:]] == [image["bytes"] for image in images]
    assert len(samples(open_source(tmp_path))) == 10  # the training part
    assert len(samples(open_source(tmp_path, SourceOptions(split="all")))) == 15
    assert len(samples(open_source(tmp_path / "test-0.parquet"))) == 5


@pytest.mark.parametrize("name", ["image", "jpg", "anything"])
def test_parquet_of_bare_bytes(tmp_path: Path, make_png: Png, name: str) -> None:
    table(
        tmp_path / "x.parquet",
        {"id": [1, 2, 3, 4], name: [make_png(n) for n in range(3)] + [None], "label": list("abcd")},
    )
    got = samples(open_source(tmp_path / "x.parquet"))
    assert [s.data for s in got] == [*(make_png(n) for n in range(3)), None]
    assert [(s.path, s.label) for s in got[2:]] == [("x.parquet#2", "c"), ("x.parquet#3", "d")]
    assert got[3].reason == "the image column is null"


def test_parquet_that_cannot_be_used(tmp_path: Path) -> None:
    table(tmp_path / "none.parquet", {"id": [1], "text": ["x"]})
    with pytest.raises(
        DataError, match=r"no column of images \(columns: id, text\); give its name"
    ):
        samples(open_source(tmp_path / "none.parquet"))
    table(tmp_path / "two.parquet", {"left": [b"x"], "right": [b"x"]})
    with pytest.raises(DataError, match=r"two image columns: left, right; choose one, as in"):
        samples(open_source(tmp_path / "two.parquet"))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        samples(open_source(tmp_path / "broken.parquet"))


def tar(path: Path, members: list[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def test_webdataset(tmp_path: Path, make_png: Png) -> None:
    members = [
        ("d/0.cls", b"7"),
        ("d/0.jpg", make_png(0)),
        ("d/0.json", b"{}"),
        ("1.png", make_png(1)),
        ("1.cls", b"3\n"),
    ]
    tar(tmp_path / "a-000.tar", members)
    tar(
        tmp_path / "a-001.tar",
        [("x.seg.webp", make_png(2)), ("text.txt", b"no image"), ("y.PNG", make_png(3))],
    )
    for location in (tmp_path, f"{tmp_path}/a-*.tar"):
        got = samples(open_source(location))
        assert [(s.path, s.label) for s in got] == [
            ("a-000.tar/d/0.jpg", 7),
            ("a-000.tar/1.png", 3),
            ("a-001.tar/x.seg.webp", None),
            ("a-001.tar/y.PNG", None),
        ]
        assert [s.data for s in got] == [make_png(n) for n in range(4)]


def test_a_tar_that_ends_early(tmp_path: Path, make_png: Png) -> None:
    tar(tmp_path / "a.tar", [(f"{n}.png", make_png(n)) for n in range(4)])
    whole = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[: 2 * (512 + 3584) + 600])
    got = samples(open_source(tmp_path / "a.tar"))
    assert [s.path for s in got[:2]] == ["a.tar/0.png", "a.tar/1.png"]
    assert (got[-1].path, got[-1].data) == ("a.tar", None)
    assert "ends early" in str(got[-1].reason)


def test_file_lists(tmp_path: Path, make_png: Png) -> None:
    for number in range(3):
        write(tmp_path / "images" / f"{number}.png", make_png(number))
    far = tmp_path / "images" / "2.png"
    (tmp_path / "all.txt").write_text(f"images/0.png\n\nimages/1.png\n{far}\nimages/gone.png\n")
    got = samples(open_source(tmp_path / "all.txt"))
    assert [s.data for s in got] == [*(make_png(n) for n in range(3)), None]
    assert got[3].reason == "cannot be read: No such file or directory"

    (tmp_path / "words.csv").write_text(
        "path,label\nimages/0.png,dog\nimages/1.png,cat\nimages/2.png,dog\n"
    )
    source = open_source(tmp_path / "words.csv")
    assert source.classes() is None
    assert [s.label for s in samples(source)] == ["dog", "cat", "dog"]

    (tmp_path / "numbers.tsv").write_text("images/0.png\t5\nimages/1.png\t0\nimages/2.png\n")
    source = open_source(tmp_path / "numbers.tsv")
    assert source.classes() is None
    assert [s.label for s in samples(source)] == [5, 0, None]


def test_digits() -> None:
    source = open_source("digits")
    got = samples(source)
    assert len(got) == 1797
    assert source.classes() == [str(n) for n in range(10)]
    assert [s.label for s in got[:4]] == [0, 1, 2, 3]
    assert got[0].data is not None
    assert got[0].data.startswith(b"\x89PNG")


def test_other_file_systems(make_png: Png) -> None:
    store = fsspec.filesystem("memory")
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        store.pipe(f"/pets/{name}", make_png(len(name)))
    source = open_source("memory://pets")
    assert (source.kind, source.classes()) == ("folder", ["a", "b"])
    assert [(s.path, s.label, s.data) for s in samples(source)] == [
        (name, label, make_png(7))
        for name, label in (("a/1.png", 0), ("a/2.png", 0), ("b/1.png", 1))
    ]


def test_errors_name_the_fix(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing at /no/such/place; give a folder"):
        open_source("/no/such/place")
    with pytest.raises(DataError, match=r"holds no file; point data.source"):
        samples(open_source(tmp_path))
    (tmp_path / "film.mp4").write_bytes(b"x")
    with pytest.raises(
        DataError,
        match=r"film.mp4 is of no known kind \(arrow, digits, filelist, folder, parquet, ",
    ):
        open_source(tmp_path / "film.mp4")
    with pytest.raises(DataError, match=r"no \.parquet or \.pq file matches"):
        samples(open_source(tmp_path / "train-*.parquet"))
    (tmp_path / "none.txt").write_text("\n")
    with pytest.raises(DataError, match="names no file"):
        samples(open_source(tmp_path / "none.txt"))


def test_the_state_of_a_source_follows_its_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x.png\n")
    before = open_source(tmp_path / "a.txt").identity()
    assert open_source(tmp_path / "a.txt").identity() == before
    (tmp_path / "a.txt").write_text("x.png\ny.png\n")
    assert open_source(tmp_path / "a.txt").identity() != before


def test_every_adapter_has_its_registered_kind() -> None:
    assert {name: adapter.kind for name, adapter in SOURCES.items()} == {
        name: name for name in SOURCES
    }


def test_a_changed_folder_is_another_dataset(tmp_path: Path, make_png: Png) -> None:
    photos = tmp_path / "photos"
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        write(photos / name, make_png(0))
    first = prepared(photos, tmp_path / "cache")
    assert prepared(photos, tmp_path / "cache") == first
    write(photos / "a" / "3.png", make_png(1))  # below a class folder
    second = prepared(photos, tmp_path / "cache")
    later = os.stat(photos / "b" / "1.png").st_mtime_ns + 10**9
    os.utime(photos / "b" / "1.png", ns=(later, later))  # in place
    third = prepared(photos, tmp_path / "cache")
    os.remove(photos / "a" / "3.png")
    assert len({first, second, third, prepared(photos, tmp_path / "cache")}) == 4
    chosen = prepared(photos, tmp_path / "cache", options=SourceOptions(labels="none"))
    assert chosen != prepared(photos, tmp_path / "cache")


def test_all_of_a_source_without_parts_is_the_dataset_that_training_has(
    tmp_path: Path, make_png: Png
) -> None:
    everything = SourceOptions(split="all")
    for name in ("a/1.png", "b/1.png"):
        write(tmp_path / "photos" / name, make_png(0))
        write(tmp_path / "parts" / "train" / name, make_png(0))
        write(tmp_path / "parts" / "test" / name, make_png(0))
    photos, parts, cache = tmp_path / "photos", tmp_path / "parts", tmp_path / "cache"
    assert prepared(photos, cache, options=everything) == prepared(photos, cache)
    assert prepared(parts, cache, options=everything) != prepared(parts, cache)
    assert len(samples(open_source(parts))) == 2
    assert len(samples(open_source(parts, everything))) == 4


def test_an_empty_folder_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    (tmp_path / "photos/cats").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no file"):
        check_source(tmp_path / "photos")
