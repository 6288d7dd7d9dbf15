"""Ingest as a Ray Data job: complete, exact about what is bad, and safe to kill."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from manta.data import Limits, Manifest, decode, ingest, open_dataset, prepare
from manta.errors import DataError

pytestmark = pytest.mark.usefixtures("ray_cluster")
Png = Callable[..., bytes]
SMALL = Limits(shard_rows=100, group_rows=32)


def rows_of(manifest: Manifest) -> pa.Table:
    return pa.concat_tables(
        pq.read_table(f"{manifest.location}/{shard.path}") for shard in manifest.shards
    )


def photos(folder: Path, make_png: Png, count: int, size: tuple[int, int] = (16, 16)) -> Path:
    for number in range(count):
        path = folder / f"class-{number % 3}" / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_png(number, size))
    return folder


def test_one_percent_of_bad_files_is_listed_and_the_rest_is_whole(
    tmp_path: Path, make_png: Png
) -> None:
    source = photos(tmp_path / "photos", make_png, 500)
    files = sorted(source.rglob("*.png"))
    bad = {
        files[3]: b"",
        files[100]: files[100].read_bytes()[:200],
        files[256]: b"this is a letter, not a picture; it goes on",
        files[400]: b"\xff\xd8\xff\xe0 and then nothing of a JPEG",
        files[499]: files[499].read_bytes()[:20],
    }
    for path, data in bad.items():
        path.write_bytes(data)
    seen: list[tuple[int, int]] = []
    report = ingest(
        source, tmp_path / "out", limits=SMALL, progress=lambda rows, bad: seen.append((rows, bad))
    )
    assert (report.rows, report.quarantined, report.resumed_rows) == (495, 5, 0)
    assert seen[-1] == (495, 5)

    listed = pq.read_table(tmp_path / "out" / "quarantine.parquet").to_pylist()
    assert [row["path"] for row in listed] == [
        str(path.relative_to(source)) for path in sorted(bad)
    ]
    reasons = [row["reason"] for row in listed]
    assert reasons[0] == "zero bytes"
    assert reasons[2] == "not an image: text"
    assert {reasons[1], reasons[4]} == {"truncated"}

    manifest = open_dataset(tmp_path / "out")
    table = rows_of(manifest)
    good = [path for path in files if path not in bad]
    assert table["index"].to_pylist() == list(range(495))
    assert [row["bytes"] for row in table["image"].to_pylist()] == [
        path.read_bytes() for path in good
    ]
    assert table["label"].to_pylist() == [int(path.parent.name[-1]) for path in good]
    assert (manifest.labelled, manifest.classes) == (True, ["class-0", "class-1", "class-2"])
    assert manifest.sizes["counts"][manifest.sizes["edges"].index(16)] == 495
    assert max(manifest.mean) < 0.51
    assert min(manifest.mean) > 0.49  # of uniform noise
    assert np.allclose(manifest.std, 12**-0.5, atol=0.01)


def test_shards_and_row_groups_are_bounded(tmp_path: Path, make_png: Png) -> None:
    source = photos(tmp_path / "photos", make_png, 330)
    one = len(make_png(0, (16, 16)))
    limits = Limits(shard_rows=100, group_rows=32, group_bytes=10 * one + one // 2)
    ingest(source, tmp_path / "out", limits=limits)
    manifest = open_dataset(tmp_path / "out")
    assert [shard.rows for shard in manifest.shards] == [
        100,
        100,
        56,
        74,
    ]  # a unit ends after 256 files
    for shard in manifest.shards:
        footer = pq.read_metadata(tmp_path / "out" / shard.path)
        assert [
            footer.row_group(n).num_rows for n in range(footer.num_row_groups)
        ] == shard.row_groups
        assert max(shard.row_groups) <= 10
    narrow = ingest(source, tmp_path / "narrow", limits=Limits(shard_bytes=20 * one))
    assert max(shard.bytes for shard in open_dataset(narrow.location).shards) <= 21 * one


def test_large_images_are_shrunk_and_small_ones_kept(tmp_path: Path, make_png: Png) -> None:
    (tmp_path / "photos").mkdir()
    for name, size in (("a", (40, 30)), ("b", (200, 100)), ("c", (64, 64))):
        (tmp_path / "photos" / f"{name}.png").write_bytes(make_png(1, size))
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (300, 150), "red").save(turned, "JPEG", exif=exif)
    (tmp_path / "photos" / "d.jpg").write_bytes(turned.getvalue())
    ingest(tmp_path / "photos", tmp_path / "out", max_side=64)
    stored = [row["bytes"] for row in rows_of(open_dataset(tmp_path / "out"))["image"].to_pylist()]
    assert [Image.open(io.BytesIO(data)).size for data in stored] == [
        (40, 30),
        (128, 64),
        (64, 64),
        (64, 128),
    ]
    assert stored[0] == make_png(1, (40, 30))
    assert stored[2] == make_png(1, (64, 64))
    ingest(tmp_path / "photos", tmp_path / "all", max_side=None)
    kept = [row["bytes"] for row in rows_of(open_dataset(tmp_path / "all"))["image"].to_pylist()]
    assert kept[1] == make_png(1, (200, 100))
    assert open_dataset(tmp_path / "out").digest != open_dataset(tmp_path / "all").digest


def test_nothing_good_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    for number in range(3):
        (tmp_path / "notes" / f"{number}.txt").write_text("a line of text that is no image")
    with pytest.raises(
        DataError, match=r"none of the 3 files of .*notes is an image.*0.txt: not an image"
    ):
        ingest(tmp_path / "notes", tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"^\S+empty holds no file; point data.source"):
        ingest(tmp_path / "empty", tmp_path / "none")


def test_a_finished_dataset_is_left_alone(tmp_path: Path, make_png: Png) -> None:
    source = photos(tmp_path / "photos", make_png, 20)
    first = ingest(source, tmp_path / "out")
    before = (tmp_path / "out" / "manifest.json").stat().st_mtime_ns
    again = ingest(source, tmp_path / "out")
    assert (again.rows, again.resumed_rows, again.digest) == (20, 20, first.digest)
    assert (tmp_path / "out" / "manifest.json").stat().st_mtime_ns == before
    with pytest.raises(DataError, match=r"made with source .*, not "):
        ingest("digits", tmp_path / "out")
    with pytest.raises(DataError, match=r"made with \w+ .*, not "):
        ingest(source, tmp_path / "out", max_side=8)
    (source / "class-9").mkdir()  # without an image it changes nothing
    assert ingest(source, tmp_path / "out").digest == first.digest
    (source / "class-9" / "1.png").write_bytes(make_png(77))
    with pytest.raises(DataError, match="changed since"):
        ingest(source, tmp_path / "out")
    with pytest.raises(DataError, match="exists and is not a Manta dataset"):
        ingest(source, source)


def test_prepare_ingests_once_per_state(tmp_path: Path, make_png: Png) -> None:
    source = photos(tmp_path / "photos", make_png, 12)
    first = prepare(str(source), str(tmp_path / "cache"))
    assert Path(first).name.startswith("photos-")
    assert first.endswith(".manta")
    before = os.stat(f"{first}/manifest.json").st_mtime_ns
    assert prepare(str(source), str(tmp_path / "cache")) == first
    assert prepare(first, str(tmp_path / "other")) == first
    assert os.stat(f"{first}/manifest.json").st_mtime_ns == before
    (source / "class-9").mkdir()
    (source / "class-9" / "new.png").write_bytes(make_png(99))
    second = prepare(str(source), str(tmp_path / "cache"))
    assert second != first
    assert open_dataset(second).rows == 13


def test_digits_are_the_demo(tmp_path: Path) -> None:
    manifest = open_dataset(prepare("digits", str(tmp_path)))
    assert (manifest.rows, manifest.labelled, len(manifest.classes or [])) == (1797, True, 10)
    from sklearn.datasets import load_digits

    stored = rows_of(manifest)["image"][1234].as_py()["bytes"]
    assert np.array_equal(
        decode(stored, 8)[:, :, 0], np.rint(load_digits().images[1234] * 255 / 16)
    )


ATTEMPT = """
import os, sys, time
import ray
ray.init(address=sys.argv[3], log_to_driver=False, logging_level="error")
from manta.data import Limits, ingest

def stall(rows, bad):
    done = [name for name in os.listdir(sys.argv[2] + "/progress") if name.endswith(".json")]
    while len(done) >= int(sys.argv[4]):
        time.sleep(60)  # until it is killed

ingest(sys.argv[1], sys.argv[2], limits=Limits(shard_rows=100, group_rows=32), progress=stall)
"""


def test_a_killed_ingest_goes_on_where_it_was(
    tmp_path: Path, make_png: Png, ray_cluster: str
) -> None:
    source = photos(tmp_path / "photos", make_png, 1500)
    for number in (5, 300, 301, 1100):
        sorted(source.rglob("*.png"))[number].write_bytes(b"")
    ingest(source, tmp_path / "whole", limits=SMALL)
    out = tmp_path / "killed"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for shards in (2, 7):
        attempt = subprocess.Popen(
            [sys.executable, "-c", ATTEMPT, str(source), str(out), ray_cluster, str(shards)],
            env=environment,
        )
        try:
            while attempt.poll() is None and len(list(out.glob("progress/*.json"))) < shards:
                time.sleep(0.01)
            assert attempt.poll() is None
        finally:
            attempt.send_signal(signal.SIGKILL)
            attempt.wait()
        assert not (out / "manifest.json").exists()
    report = ingest(source, out, limits=SMALL)
    assert 600 <= report.resumed_rows < 1496
    assert (report.rows, report.quarantined) == (1496, 4)
    killed, whole = open_dataset(out), open_dataset(tmp_path / "whole")
    assert killed.to_json() == whole.to_json()
    assert rows_of(killed).equals(rows_of(whole))
    assert rows_of(killed)["index"].to_pylist() == list(range(1496))
    names = [shard.path for shard in whole.shards] + [
        "ingest.json",
        "manifest.json",
        "quarantine.parquet",
    ]
    assert sorted(os.listdir(out)) == sorted(names)
    bad = [pq.read_table(folder / "quarantine.parquet") for folder in (out, tmp_path / "whole")]
    assert bad[0].equals(bad[1])
