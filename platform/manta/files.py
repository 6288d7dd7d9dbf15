"""Files by fsspec, with what it lacks: streamed sorted listings and writes that appear whole or not
at all."""

from __future__ import annotations

import fcntl
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from manta.errors import DataError

DRAFT = ".part"
"""How the hidden name of a file that is being written ends."""


@dataclass(frozen=True)
class Place:
    """A location: a local path or an fsspec URL. Plain data, so it crosses process borders.

    Attributes:
        url: as the user wrote it, local paths made absolute.
    """

    url: str

    @classmethod
    def of(cls, location: str | os.PathLike[str]) -> Place:
        text = os.fspath(location)
        if text.startswith("file://"):
            text = text.removeprefix("file://")
        return cls(text if "://" in text else os.path.abspath(os.path.expanduser(text)))

    @cached_property
    def fs(self) -> Any:
        try:
            return fsspec.core.url_to_fs(self.url)[0]
        except (ImportError, ValueError) as error:
            raise DataError(
                f"{self.url} cannot be opened: {' '.join(str(error).split())}"
            ) from None

    @property
    def path(self) -> str:
        """What `fs` understands."""
        return self.url if self.is_local else str(self.fs._strip_protocol(self.url))

    @property
    def is_local(self) -> bool:
        return "://" not in self.url

    @property
    def name(self) -> str:
        return self.url.rstrip("/").rsplit("/", 1)[-1]

    @property
    def suffix(self) -> str:
        return os.path.splitext(self.name)[1].lower()

    @property
    def parent(self) -> Place:
        return Place(self.url.rstrip("/").rsplit("/", 1)[0] or "/")

    @property
    def is_glob(self) -> bool:
        return any(mark in self.name for mark in "*?[") and not self.exists()

    def __truediv__(self, part: str) -> Place:
        return Place(f"{self.url.rstrip('/')}/{part}")

    def exists(self) -> bool:
        return os.path.exists(self.url) if self.is_local else bool(self.fs.exists(self.path))

    def is_dir(self) -> bool:
        return os.path.isdir(self.url) if self.is_local else bool(self.fs.isdir(self.path))

    def open(self, mode: str = "rb", **options: Any) -> IO[Any]:
        return (
            open(self.url, mode, **options)
            if self.is_local
            else self.fs.open(self.path, mode, **options)
        )

    def read(self) -> bytes:
        with self.open() as file:
            return file.read()  # type: ignore[no-any-return]

    def glob(self) -> list[Place]:
        """Sorted matches of the pattern in the last part."""
        fs = LocalFileSystem() if self.is_local else self.fs
        return [self.parent / os.path.basename(found) for found in sorted(fs.glob(self.path))]

    def entries(self) -> Iterator[tuple[str, bool]]:
        """`(name, is it a folder)` of what is directly inside, unsorted and streamed; hidden names
        left out."""
        if self.is_local:
            with os.scandir(self.url) as found:
                for entry in found:
                    if not entry.name.startswith("."):
                        yield entry.name, entry.is_dir()
            return
        self.fs.invalidate_cache(self.path)  # other processes write here too
        for info in self.fs.ls(self.path, detail=True):
            name = info["name"].rstrip("/").rsplit("/", 1)[-1]
            if not name.startswith(".") and info["name"].rstrip("/") != self.path.rstrip("/"):
                yield name, info["type"] == "directory"

    def identity(self) -> tuple[str, int, int]:
        """`(url, time of last change, size)`: cheap, of the top level alone; zeros where a store
        has none."""
        if self.is_local:
            try:
                status = os.stat(self.url)
            except OSError:
                return self.url, 0, 0
            return self.url, status.st_mtime_ns, 0 if os.path.isdir(self.url) else status.st_size
        try:
            return self.url, 0, int(self.fs.info(self.path).get("size") or 0)
        except OSError:
            return self.url, 0, 0

    def make(self) -> None:
        """The folder, with its parents."""
        if self.is_local:
            os.makedirs(self.url, exist_ok=True)
        else:
            self.fs.makedirs(self.path, exist_ok=True)

    @contextmanager
    def writing(self) -> Iterator[IO[bytes]]:
        """A binary file that appears under its name when the block ends, whole; never if it raises.

        Until then it is a draft on a disk, whose path is the file's `name`: beside the target under
        a hidden name, which readers of tables skip; or, for an object store, in this machine's
        temporary folder, uploaded at the end.
        """
        if not self.is_local:
            with tempfile.NamedTemporaryFile(prefix="manta-draft-") as file:
                yield file
                file.flush()
                self.fs.put_file(file.name, self.path)
            return
        folder, name = os.path.split(self.url)
        draft = os.path.join(folder, f".{name}.{uuid.uuid4().hex[:8]}{DRAFT}")
        try:
            with open(draft, "wb") as file:
                with suppress(OSError):  # a disk without locks
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield file
                file.flush()
                os.fsync(file.fileno())
                os.replace(
                    draft, self.url
                )  # while it is locked: `sweep` finds it either living or gone
        except BaseException:
            if os.path.exists(draft):
                os.unlink(draft)
            raise

    def sweep(self) -> None:
        """Delete the drafts that killed writers left in this folder. A living writer's is locked,
        and stays."""
        if not self.is_local:
            return
        with os.scandir(self.url) as found:
            drafts = [
                entry.path
                for entry in found
                if entry.name.startswith(".") and entry.name.endswith(DRAFT)
            ]
        for draft in drafts:
            with suppress(OSError), open(draft, "rb+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(draft)
