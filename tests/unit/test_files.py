"""Files that appear whole or not at all, on a disk and in a bucket."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fsspec
import pandas as pd
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from manta.data.sources import open_source
from manta.errors import DataError
from manta.files import Place, copy_file

WRITER = """
import os, signal, sys
from manta.files import Place
with Place.of(sys.argv[1]).writing() as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def bucket() -> Place:
    """An empty one."""
    files = fsspec.filesystem("memory")
    if files.exists("/files-bucket"):
        files.rm("/files-bucket", recursive=True)
    return Place.of("memory://files-bucket")


def test_a_draft_is_hidden_and_a_living_writers_stays(tmp_path: Path) -> None:
    place = Place.of(tmp_path)
    table = pd.DataFrame({"a": [1, 2, 3]})
    table.to_parquet(tmp_path / "one.parquet")
    with (place / "two.parquet").writing() as file:
        file.write((tmp_path / "one.parquet").read_bytes())
        file.flush()
        (draft,) = [name for name in os.listdir(tmp_path) if name != "one.parquet"]
        assert draft.startswith(".two.parquet.")
        assert Path(file.name) == tmp_path / draft
        assert len(pd.read_parquet(tmp_path)) == 3, "readers of tables skip it"
        assert [name for name, _ in place.entries()] == ["one.parquet"]
        assert [name for name, _ in Place.of(f"local://{tmp_path}").entries()] == ["one.parquet"]
        place.sweep()
    assert sorted(os.listdir(tmp_path)) == ["one.parquet", "two.parquet"]


def test_a_killed_writers_draft_is_swept(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", WRITER, str(tmp_path / "x")], check=False)
    assert killed.returncode == -signal.SIGKILL
    (tmp_path / ".mine").write_text("not a draft")
    assert len(os.listdir(tmp_path)) == 2
    Place.of(tmp_path).sweep()
    assert os.listdir(tmp_path) == [".mine"]


def test_a_bucket_has_the_file_when_the_block_ends_and_not_if_it_raises(bucket: Place) -> None:
    place = bucket / "x"
    with place.writing() as file:
        file.write(b"whole")
        assert not place.exists()
    assert place.read() == b"whole"
    with pytest.raises(ZeroDivisionError), (bucket / "y").writing() as file:
        file.write(b"half" * (1 // 0))
    assert [name for name, _ in bucket.entries()] == ["x"]
    (bucket / ".x.1.part").fs.pipe_file("/files-bucket/.x.1.part", b"half")
    assert [name for name, _ in bucket.entries()] == ["x"], "hidden ones are left out here too"


class _Remembering(MemoryFileSystem):
    """As S3's client does, it lists a folder from memory until it is told that others wrote
    there."""

    protocol = "remembering"
    listed: dict[str, Any] = {}  # noqa: RUF012 (as the parent's own store)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(MemoryFileSystem._strip_protocol(path.replace("remembering://", "memory://")))

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        if path not in self.listed:
            self.listed[path] = super().ls(path, detail=detail, **options)
        return self.listed[path]

    def invalidate_cache(self, path: str | None = None) -> None:
        self.listed.clear()


def test_what_another_process_wrote_is_listed(bucket: Place) -> None:
    fsspec.register_implementation("remembering", _Remembering, clobber=True)
    place = Place("remembering://files-bucket")
    for name in ("a", "b"):
        (bucket / name).fs.pipe_file(f"/files-bucket/{name}", b"")
        assert name in [found for found, _ in place.entries()]
        # A folder was listed before the file was there, and the client remembers that.
        assert (place / name).exists()
        assert (place / name).size() == 0


@pytest.mark.parametrize("name", ["a::b", "c[1].txt", "d*", "e?x=1#y", "f%20 g"])
def test_a_local_name_is_neither_a_pattern_nor_a_url(tmp_path: Path, name: str) -> None:
    """fsspec would take the first for a chain of URLs, and the next two for patterns."""
    place = Place.of(tmp_path) / name
    (tmp_path / "c1.txt").write_text("another")
    place.write(name.encode())
    assert not place.is_glob
    assert (tmp_path / name).read_text() == name
    assert (place.read(), place.size(), place.exists()) == (name.encode(), len(name), True)
    place.remove()
    assert os.listdir(tmp_path) == ["c1.txt"]


@pytest.mark.parametrize("scheme", ["", "file://", "local://"])
def test_spellings_of_a_local_path(tmp_path: Path, scheme: str) -> None:
    place = Place.of(f"{scheme}{tmp_path}/x/")
    assert place.is_local
    assert place == Place(f"{tmp_path}/x")
    assert place.parent / "x" == place
    assert (place.name, (place / "Y.JPG").suffix) == ("x", ".jpg")


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Place.of("runs").url == f"{tmp_path}/runs"
    assert Place.of("~").url == os.path.expanduser("~")


def test_patterns_are_matched_in_order(tmp_path: Path, bucket: Place) -> None:
    for place in (Place.of(tmp_path), bucket):
        for name in ("b.tar", "a.tar", "c.txt"):
            (place / name).write(b"")
        assert (place / "*.tar").is_glob
        assert [match.name for match in (place / "*.tar").glob()] == ["a.tar", "b.tar"]


NAMES = [
    "My%20Photos", "out [v2]", "[x]", "[bold]x", "q?b", "a#b", "50%", "Фото", "a b", "a'b", 'a"b',
    "a&b", "a::b", "{x}", "*x", "dot.", "~x", "%s", "$HOME", "\U0001f990", "-x", ":memory:", "a;b",
    "a\\b", "n" * 200, "http:", "[!a]", "a\nb", " a ",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "a.tar").write_bytes(b"a")
    (folder / ".hidden.tar").write_bytes(b"a")
    monkeypatch.chdir(tmp_path)
    spellings = [name, f"./{name}", str(folder), f"file://{folder}", f"file://{quote(str(folder))}"]
    for spelling in spellings:
        place = Place.of(spelling)
        assert place == Place(str(folder))
        assert (place.exists(), place.is_dir(), place.is_glob) == (True, True, False)
        assert [file.url for file in (place / "*.tar").glob()] == [f"{folder}/a.tar"]
        assert [file.url for file in (place / "[ab].tar").glob()] == [f"{folder}/a.tar"]
    (Place.of(name) / "b" / "c").write(b"c")
    assert (folder / "b" / "c").read_bytes() == b"c"
    monkeypatch.chdir(folder)
    assert Place.of("a.tar").url == f"{folder}/a.tar"
    assert [place.name for place in Place.of("*.tar").glob()] == ["a.tar"]
    assert Place.of(f"file://localhost{folder}") == Place(str(folder))


def test_a_name_that_is_not_there_is_no_pattern_by_its_brackets(tmp_path: Path) -> None:
    (tmp_path / "photos 2").mkdir()
    place = Place.of(tmp_path / "photos [v2]")
    assert place.is_glob, "it matches"
    (tmp_path / "photos 2").rmdir()
    assert not place.is_glob
    assert Place.of(tmp_path / "*.tar").is_glob
    with pytest.raises(DataError, match=r"nothing at .*photos \[v2\]"):
        open_source(place.url)


def test_a_home_is_meant_where_nothing_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert Place.of("~/photos").url == f"{tmp_path}/home/photos"
    (tmp_path / "~" / "photos").mkdir(parents=True)
    assert Place.of("~/photos").url == f"{tmp_path}/~/photos"


def test_an_empty_location_is_refused() -> None:
    with pytest.raises(DataError, match="a location is empty; name a file"):
        Place.of("")


def test_a_failed_write_leaves_the_file_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place.of(tmp_path) / "deep" / "x"
    place.write(b"before")

    def full(_descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        place.write(b"after")
    assert place.read() == b"before"
    assert os.listdir(tmp_path / "deep") == ["x"]


def test_files_are_copied_between_a_disk_and_a_bucket(tmp_path: Path, bucket: Place) -> None:
    here, there = Place.of(tmp_path) / "one" / "x", bucket / "two" / "x"
    here.write(b"content")
    copy_file(here, there)
    assert (there.read(), there.size()) == (b"content", 7)
    copy_file(there, Place.of(tmp_path) / "back" / "x")
    assert (tmp_path / "back" / "x").read_bytes() == b"content"
    there.parent.remove()
    assert not there.exists()
    assert [name for name, _ in bucket.entries()] == []


def test_an_unknown_scheme_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gopher://x cannot be opened: .*gopher"):
        Place.of("gopher://x").exists()


def test_the_identity_of_a_place_changes_with_it(tmp_path: Path, bucket: Place) -> None:
    place = Place.of(tmp_path) / "x"
    assert place.identity() == (place.url, 0, 0)
    place.write(b"123")
    assert place.identity() == (place.url, (tmp_path / "x").stat().st_mtime_ns, 3)
    (bucket / "x").write(b"12")
    assert (bucket / "x").identity() == ("memory://files-bucket/x", 0, 2)
    assert (bucket / "y").identity() == ("memory://files-bucket/y", 0, 0)
