"""Local paths and fsspec URLs behind one class: streamed listings, writes that appear whole or
not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
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
"""Suffix of the hidden file that holds an unfinished write."""
_LOCAL_SCHEMES = ("file://", "local://")
_COPY_BYTES = 16 << 20


@dataclass(frozen=True)
class Place:
    """A location: a local path or an fsspec URL. Plain data, so it crosses process borders.

    A local path goes to the operating system as it is. It never reaches fsspec's parser, which
    would take `a::b` for a chain of URLs and `[1]` for a pattern.

    Attributes:
        url: as the user wrote it; local paths are absolute.
    """

    url: str

    @classmethod
    def of(cls, location: str | os.PathLike[str]) -> Place:
        """Return the place that a user names by a path, a `file://` URL or a store's URL."""
        text = os.fspath(location)
        for scheme in _LOCAL_SCHEMES:
            text = text.removeprefix(scheme)
        return cls(text if "://" in text else os.path.abspath(os.path.expanduser(text)))

    @cached_property
    def fs(self) -> Any:
        """Return the fsspec file system.

        Raises:
            DataError: the URL's scheme is unknown, or its driver is not installed.
        """
        if self.is_local:
            return LocalFileSystem()
        try:
            return fsspec.core.url_to_fs(self.url)[0]
        except (ImportError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{self.url} cannot be opened: {reason}") from None

    @property
    def path(self) -> str:
        """Return the location as `fs` understands it: without the scheme."""
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
        """Return whether the last part is a pattern, and not the name of something there."""
        return any(mark in self.name for mark in "*?[") and not self.exists()

    def __truediv__(self, part: str) -> Place:
        return Place(f"{self.url.rstrip('/')}/{part}")

    def exists(self) -> bool:
        if self.is_local:
            return os.path.exists(self.url)
        self._forget(self.fs._parent(self.path))
        return bool(self.fs.exists(self.path))

    def is_dir(self) -> bool:
        return os.path.isdir(self.url) if self.is_local else bool(self.fs.isdir(self.path))

    def size(self) -> int:
        """Return the bytes of a file.

        Raises:
            OSError: there is no such file.
        """
        if self.is_local:
            return os.path.getsize(self.url)
        self._forget(self.fs._parent(self.path))
        return int(self.fs.size(self.path))

    def open(self, mode: str = "rb", **options: Any) -> IO[Any]:
        if self.is_local:
            return open(self.url, mode, **options)
        return self.fs.open(self.path, mode, **options)  # type: ignore[no-any-return]

    def read(self) -> bytes:
        """Return the content of a file.

        Raises:
            FileNotFoundError: there is no such file.
        """
        if self.is_local:
            with self.open() as file:
                return bytes(file.read())
        return bytes(self.fs.cat_file(self.path))

    def glob(self) -> list[Place]:
        """Return what matches the pattern in the last part, sorted."""
        return [self.parent / os.path.basename(path) for path in sorted(self.fs.glob(self.path))]

    def entries(self) -> Iterator[tuple[str, bool]]:
        """Yield `(name, is it a folder)` of what is directly inside, unsorted and streamed.

        Hidden names are left out. What other processes have written since the last call is there.

        Raises:
            FileNotFoundError: there is no such folder.
        """
        if self.is_local:
            with os.scandir(self.url) as scan:
                for entry in scan:
                    if not entry.name.startswith("."):
                        yield entry.name, entry.is_dir()
            return
        self._forget(self.path)
        for info in self.fs.ls(self.path, detail=True):
            name = info["name"].rstrip("/").rsplit("/", 1)[-1]
            if not name.startswith(".") and info["name"].rstrip("/") != self.path.rstrip("/"):
                yield name, info["type"] == "directory"

    def identity(self) -> tuple[str, int, int]:
        """Return `(url, time of last change, size)` of the top level alone, which is cheap.

        Numbers that a store does not tell are zero.
        """
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
        """Create the folder with its parents."""
        if self.is_local:
            os.makedirs(self.url, exist_ok=True)
        else:
            self.fs.makedirs(self.path, exist_ok=True)

    def remove(self) -> None:
        """Delete a file, or a folder with all that is in it."""
        self.fs.rm(self.path, recursive=True)

    def write(self, data: bytes) -> None:
        """Write a file whole or not at all; its folder is created."""
        if self.is_local:
            self.parent.make()
            with self.writing() as file:
                file.write(data)
        else:  # one request, which a store carries out whole or not at all
            self.fs.pipe_file(self.path, data)

    @contextmanager
    def writing(self) -> Iterator[IO[bytes]]:
        """Yield a binary file that appears under its name, whole, when the block ends without an
        error.

        Until then it is a draft on a disk, whose path is the file's `name`. Of a local file the
        draft lies beside it under a hidden name, which readers of tables skip; of a file on an
        object store it lies in this machine's temporary folder and is uploaded at the end.
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
                # Renamed while it is locked, so that `sweep` never takes it for a dead draft.
                os.replace(draft, self.url)
        except BaseException:
            if os.path.exists(draft):
                os.unlink(draft)
            raise

    def sweep(self) -> None:
        """Delete drafts that killed writers left in this folder; a living writer's is locked and
        stays."""
        if not self.is_local:
            return
        with os.scandir(self.url) as scan:
            drafts = [
                entry.path
                for entry in scan
                if entry.name.startswith(".") and entry.name.endswith(DRAFT)
            ]
        for draft in drafts:
            with suppress(OSError), open(draft, "rb+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(draft)

    def _forget(self, folder: str) -> None:
        """Drop the store client's listing of a folder: other processes write there too."""
        self.fs.invalidate_cache(folder)


def copy_file(source: Place, target: Place) -> None:
    """Copy a file, whole or not at all, from any place to any other."""
    target.parent.make()
    with source.open() as read, target.writing() as written:
        shutil.copyfileobj(read, written, _COPY_BYTES)
