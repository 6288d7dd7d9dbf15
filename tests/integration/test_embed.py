"""`manta embed`: every row once, whatever is killed; what does not decode is listed."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest
import torch
from command import descendants

from manta.data import Holdout, decode, ingest, open_dataset
from manta.data.read import read_rows
from manta.encoders import EncoderConfig, build
from manta.errors import ConfigError, DataError
from manta.evaluation.features import readable_rows
from manta.evaluation.rows import SplitRows
from manta.files import Place
from manta.modalities.image import ImageDecoder
from manta.modalities.image.preprocess import ImagePreprocess
from manta.ragged import count_rows
from manta.serving import ExportedEncoder, _parts, save_encoder
from manta.serving import embed as module
from manta.serving._parts import EmbeddedRows, row_groups, write_part
from manta.serving.embed import embed
from manta.serving.embeddings import read_embeddings, read_manifest
from manta.serving.job import Pool
from manta.spec import Spec

CHUNK = 64
SLOW = f"""
import sys, time
import manta.serving.embed as module
module.LEAST_CHUNK = {CHUNK}
from manta.cli import main
sys.argv = ["manta", *sys.argv[1:]]
main()
"""


@pytest.fixture(scope="module")
def digits(ray_cluster: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    target = tmp_path_factory.mktemp("data") / "digits.manta"
    ingest("digits", str(target))
    return str(target)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = EncoderConfig(name="test_resnet")
    exported = ExportedEncoder(
        build(config, Spec.image(32)), ImagePreprocess(32, (0.5,) * 3, (0.25,) * 3)
    )
    return save_encoder(exported, tmp_path_factory.mktemp("encoder"), config=config).folder


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_CHUNK", CHUNK)


def table(out: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    parts = list(read_embeddings(out))
    index = np.concatenate([np.asarray(part["index"]) for part in parts])
    flat = [np.asarray(part["embedding"].combine_chunks().flatten()) for part in parts]
    vectors = np.concatenate(
        [one.reshape(len(part), -1) for one, part in zip(flat, parts, strict=True)]
    )
    return index, vectors, [path for part in parts for path in part["path"].to_pylist()]


def test_rows_are_the_encoders_own_features(digits: str, encoder: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "e.parquet")
    told = []
    report = embed(
        "mine",
        encoder,
        digits,
        out,
        pool=Pool(batch=50),
        progress=lambda *numbers: told.append(numbers),
    )
    index, vectors, paths = table(out)
    assert index.tolist() == list(range(1797))
    assert report.rows == report.embedded_now == 1797
    assert (report.width, report.unreadable) == (vectors.shape[1], 0)
    assert told[0] == (0, 1797)
    assert told[-1] == (1797, 1797)
    from manta.serving import load_exported

    rows = np.array([0, 77, 1796])
    read = read_rows(open_dataset(digits), rows, paths=True)
    images = torch.from_numpy(np.stack([decode(data, 32) for data in read.data]))
    with torch.no_grad():
        expected = load_exported(encoder)(images).numpy()
    np.testing.assert_allclose(vectors[rows], expected, rtol=1e-4, atol=1e-5)
    assert [paths[row] for row in rows] == read.paths
    assert pq.read_table(out).num_rows == 1797  # a plain reader takes the folder for one table
    assert read_manifest(out)["model"] == "mine"


def test_a_second_start_does_nothing_and_another_job_is_refused(
    digits: str, encoder: Path, tmp_path: Path
) -> None:
    out = str(tmp_path / "e.parquet")
    embed("mine", encoder, digits, out, layer="layer3")
    before = {path: path.stat().st_mtime_ns for path in Path(out).glob("part-*")}
    again = embed("mine", encoder, digits, out, layer="layer3")
    assert again.embedded_now == 0
    assert {path: path.stat().st_mtime_ns for path in Path(out).glob("part-*")} == before
    with pytest.raises(ConfigError, match=r"layer differ.*another --out"):
        embed("mine", encoder, digits, out)
    with pytest.raises(ConfigError, match="no layer 'layr3'; such as layer3"):
        embed("mine", encoder, digits, str(tmp_path / "other"), layer="layr3")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    for theirs in (tmp_path / "mine", tmp_path / "mine" / "thesis.tex"):
        with pytest.raises(ConfigError, match="holds no embeddings of Manta's"):
            embed("mine", encoder, digits, str(theirs))


def test_a_part_that_is_lost_is_missed_and_made_again(
    digits: str, encoder: Path, tmp_path: Path
) -> None:
    out, rows = tmp_path / "e.parquet", np.arange(4 * CHUNK)
    out.mkdir()  # as a kill leaves it that comes before the job is written
    (out / "._job.json.1a2b3c4d.part").write_bytes(b"{")

    def lose(done: int, wanted: int) -> None:
        if done == wanted:
            (out / "part-00000003.parquet").unlink()

    with pytest.raises(
        DataError, match=f"{CHUNK} rows whose parts are missing; run the command again"
    ):
        embed("mine", encoder, digits, str(out), rows=rows, progress=lose)
    assert not (out / "_manifest.json").exists()
    report = embed("mine", encoder, digits, str(out), rows=rows)
    assert (report.rows, report.embedded_now) == (4 * CHUNK, CHUNK)
    assert not list(out.glob(".*"))


def test_a_part_is_written_by_row_groups_and_appears_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_parts, "GROUP_BYTES", 100 * 8 * 4)
    vectors = np.random.default_rng(0).standard_normal((350, 8)).astype(np.float32)
    drawn: list[int] = []

    def batches(stop: int) -> Iterator[EmbeddedRows]:
        for start in range(0, stop, 50):
            rows = np.arange(start, start + 50)
            drawn.append(start)
            yield EmbeddedRows(
                rows, [str(row) for row in rows], vectors[rows], [(1000 + start, "p", "r")]
            )
            assert not list(tmp_path.glob("part-*"))
        if stop < 350:
            raise OSError("the disk is gone")

    place = Place.of(tmp_path)
    with pytest.raises(OSError, match="the disk is gone"):
        write_part(place / _parts.part_name(7), 8, batches(200))
    assert not list(tmp_path.iterdir())
    write_part(place / _parts.part_name(7), 8, batches(350))
    groups = list(row_groups(place, 7, ["index", "embedding"]))
    assert [len(group) for group in groups] == [100, 100, 100, 50]
    assert np.array_equal(np.stack(list(pd.read_parquet(tmp_path)["embedding"])), vectors)
    footer = _parts.read_footer(place, 7)
    assert footer is not None
    assert (footer.rows, footer.width, footer.aside[1]) == (350, 8, (1050, "p", "r"))
    assert _parts.read_footer(place, 8) is None


def test_what_does_not_decode_any_more_is_listed(
    encoder: Path, ray_cluster: str, tmp_path: Path
) -> None:
    ingest("digits", str(tmp_path / "d.manta"))
    first = open_dataset(str(tmp_path / "d.manta")).shards[0]
    shard = tmp_path / "d.manta" / first.path
    rows = pq.read_table(shard)
    images = rows["image"].to_pylist()
    for row in (5, 100):
        images[row]["bytes"] = images[row]["bytes"][:40]
    damaged = rows.set_column(
        rows.schema.get_field_index("image"), rows.schema.field("image"), [images]
    )
    with pq.ParquetWriter(shard, damaged.schema) as writer:
        start = 0
        for count in first.row_groups:
            writer.write_table(damaged.slice(start, count), row_group_size=count)
            start += count
    out = str(tmp_path / "e.parquet")
    report = embed("mine", encoder, str(tmp_path / "d.manta"), out)
    assert (report.rows, report.unreadable) == (1795, 2)
    listed = pq.read_table(f"{out}/_unreadable.parquet").to_pylist()
    assert [(one["index"], one["path"]) for one in listed] == [
        (5, images[5]["path"]),
        (100, images[100]["path"]),
    ]
    assert all("truncated" in one["reason"] or "broken" in one["reason"] for one in listed)
    assert not {5, 100} & set(table(out)[0].tolist())
    manifest = open_dataset(str(tmp_path / "d.manta"))
    everything = SplitRows(manifest, Holdout(manifest), "bank", manifest.rows)
    sizes = [count_rows(part) for part in readable_rows(everything, ImageDecoder(16), part=60)]
    assert sizes[:2] == [60, 60]
    assert sum(sizes) in range(1797 - 2 * 60, 1797 - 2 * 55)


def test_a_killed_job_goes_on_without_a_row_twice_or_lost(
    digits: str, encoder: Path, tmp_path: Path
) -> None:
    words = ["embed", str(encoder), "--data", digits, "--out", "e.parquet", "--batch", "16"]
    command = [sys.executable, "-c", SLOW, *words]
    out = tmp_path / "e.parquet"
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while len(list(out.glob("part-*.parquet"))) < 3:
            assert process.poll() is None
            time.sleep(0.02)
        family = descendants(process.pid)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    kept = len(list(out.glob("part-*.parquet")))
    assert 3 <= kept < 29
    whole = (
        out / f"part-{0:08d}.parquet"
    ).read_bytes()  # drafts for certain, as other moments of the kill leave them
    for name, data in (("part-00000000.parquet", whole), ("part-00000028.parquet", whole[:500])):
        (out / f".{name}.0a1b2c3d.part").write_bytes(data)
    assert len(pd.read_parquet(out)) == kept * CHUNK
    done = subprocess.run(
        [*command, "--summary", "s.json"], cwd=tmp_path, check=True, capture_output=True
    )
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["embedded_now"] <= 1797 - kept * CHUNK, done.stdout
    assert table(str(out))[0].tolist() == list(range(1797))
    assert len(pd.read_parquet(out)) == 1797
    assert not [path.name for path in out.iterdir() if path.name.endswith(".part")]
