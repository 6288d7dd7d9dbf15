"""Local paths and fsspec URLs behind one class, with streamed listings and atomic writes."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import IO, Any
from urllib.parse import unquote

import fsspec
from fsspec.implementations.local import LocalFileSystem

from manta.disk import with_room_for, writing_to
from manta.errors import DataError

DRAFT = ".part"
"""Suffix of the hidden file that holds an unfinished write."""
_LOCAL_SCHEMES = ("file://localhost", "file://", "local://")
_PATHS = ("/", "./", "../", "~")
"""How a path begins that is no URL, even if it holds `://`."""
_COPY_BYTES = 16 << 20


@dataclass(frozen=True)
class Place:
    """Location of a file or folder: a local path or an fsspec URL.

    It is plain data and can be pickled. A local path goes to the operating system as it is, never
    through fsspec's parser, which would read `a::b` as a chain of URLs and `[1]` as a pattern.

    Attributes:
        url: as the user wrote it; local paths are made absolute.
    """

    url: str

    @classmethod
    def of(cls, location: str | os.PathLike[str]) -> Place:
        """Return the place for a path, a `file://` URL or an object store's URL.

        A path that begins as one is never a URL. What is there as it was written is that; only
        otherwise `~` is the home folder, and `%20` in a `file://` URL a space.

        Raises:
            DataError: the location is empty.
        """
        text = os.fspath(location)
        scheme = next(filter(text.startswith, _LOCAL_SCHEMES), "")
        text = text.removeprefix(scheme)
        if not text:
            raise DataError("a location is empty; name a file, a folder or a URL")
        if not scheme and "://" in text and not text.startswith(_PATHS):
            return cls(text)
        if not os.path.lexists(text):
            text = os.path.expanduser(unquote(text) if scheme else text)
        return cls(os.path.abspath(text))

    @cached_property
    def fs(self) -> Any:
        """Return the fsspec file system of this place.

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
        """Return the location in the form that `fs` expects: without the scheme."""
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
        """Return whether the last part is a pattern, and not the name of an existing file.

        Brackets alone are a pattern only where it matches: `photos [v2]` is a mistyped name.
        """
        if not any(mark in self.name for mark in "*?[") or self.exists():
            return False
        return any(mark in self.name for mark in "*?") or bool(self.glob())

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
        """Return the size of a file in bytes.

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
        """Return the files and folders that match the pattern in the last part, sorted.

        On a local disk no other part is a pattern.
        """
        if self.is_local:
            folder = self.parent
            names = [name for name, _ in folder.entries()] if folder.is_dir() else []
            return [folder / name for name in sorted(names) if fnmatchcase(name, self.name)]
        return [self.parent / os.path.basename(path) for path in sorted(self.fs.glob(self.path))]

    def entries(self) -> Iterator[tuple[str, bool]]:
        """Yield `(name, whether it is a folder)` of each entry of a folder, unsorted and streamed.

        Hidden names are left out. Entries that other processes have added since the last call are
        included.

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
        """Return `(url, time of last change in ns, size)` of the place itself, which is cheap.

        Numbers that the file system does not provide are zero, as for a name that no file can have.
        """
        if self.is_local:
            try:
                status = os.stat(self.url)
            except (OSError, ValueError):
                return self.url, 0, 0
            return self.url, status.st_mtime_ns, 0 if os.path.isdir(self.url) else status.st_size
        try:
            return self.url, 0, int(self.fs.info(self.path).get("size") or 0)
        except OSError:
            return self.url, 0, 0

    def make(self) -> None:
        """Create the folder with its parents.

        Raises:
            ResourceError: it cannot be written there, or the disk is full.
        """
        if self.is_local:
            with writing_to(self.url):
                os.makedirs(self.url, exist_ok=True)
        else:
            self.fs.makedirs(self.path, exist_ok=True)

    def remove(self) -> None:
        """Delete a file, or a folder with its content."""
        self.fs.rm(self.path, recursive=True)

    def write(self, data: bytes) -> None:
        """Write a file atomically; create its folder if needed.

        Raises:
            ResourceError: it cannot be written there, or the disk is full.
        """
        if self.is_local:
            self.parent.make()
            with self.writing() as file:
                file.write(data)
        else:  # a single request, which an object store carries out atomically
            self.fs.pipe_file(self.path, data)

    @contextmanager
    def writing(self) -> Iterator[IO[bytes]]:
        """Yield a binary file that replaces this place when the block ends without an error.

        Until then the data are in a draft on a local disk; the yielded file's `name` is its path.
        The draft of a local file lies beside it under a hidden name, which readers of tables skip.
        That of a file on an object store lies in this machine's temporary folder and is uploaded at
        the end.

        Raises:
            ResourceError: it cannot be written there, or the disk is full.
        """
        if not self.is_local:
            with tempfile.NamedTemporaryFile(prefix="manta-draft-") as file:
                with with_room_for(file.name):
                    yield file
                    file.flush()
                self.fs.put_file(file.name, self.path)
            return
        folder, name = os.path.split(self.url)
        draft = os.path.join(folder, f".{name}.{uuid.uuid4().hex[:8]}{DRAFT}")
        try:
            with writing_to(self.url):
                opened = open(draft, "wb")  # noqa: SIM115  # closed by the block below
            # The free room is looked up before the draft is deleted.
            with with_room_for(self.url), opened as file:
                with suppress(OSError):  # some network disks have no locks
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield file
                # The bytes must be on the disk before the name is: after a power cut the file would
                # otherwise exist with the right name and no content.
                file.flush()
                os.fsync(file.fileno())
                # Renamed while it is still locked, so that `sweep` never sees it as abandoned.
                with writing_to(self.url):
                    os.replace(draft, self.url)
        except BaseException:
            if os.path.exists(draft):
                os.unlink(draft)
            raise

    def sweep(self) -> None:
        """Delete the drafts that killed writers left in this folder.

        The draft of a living writer is locked and stays.
        """
        if not self.is_local:
            return
        with os.scandir(self.url) as scan:
            drafts = [
                entry.path
                for entry in scan
                if entry.name.startswith(".") and entry.name.endswith(DRAFT)
            ]
        for draft in drafts:
            # A lock that another process holds raises BlockingIOError, which skips the deletion.
            with suppress(OSError), open(draft, "rb+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(draft)

    def _forget(self, folder: str) -> None:
        """Drop the client's cached listing of a folder, since other processes write there too."""
        self.fs.invalidate_cache(folder)


def copy_file(source: Place, target: Place) -> None:
    """Copy a file atomically from any place to any other."""
    target.parent.make()
    with source.open() as read, target.writing() as written:
        shutil.copyfileobj(read, written, _COPY_BYTES)
