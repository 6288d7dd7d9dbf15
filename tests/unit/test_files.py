"""Files that appear whole or not at all, on a disk and in a bucket."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from manta.files import Place

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
