"""Files by fsspec, with what it lacks: streamed sorted listings and writes that appear whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from manta.errors import DataError


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
            raise DataError(f"{self.url} cannot be opened: {' '.join(str(error).split())}") from None

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
        return open(self.url, mode, **options) if self.is_local else self.fs.open(self.path, mode, **options)

    def read(self) -> bytes:
        with self.open() as file:
            return file.read()  # type: ignore[no-any-return]

    def glob(self) -> list[Place]:
        """Sorted matches of the pattern in the last part."""
        fs = LocalFileSystem() if self.is_local else self.fs
        return [self.parent / os.path.basename(found) for found in sorted(fs.glob(self.path))]

    def entries(self) -> Iterator[tuple[str, bool]]:
        """`(name, is it a folder)` of what is directly inside, unsorted and streamed; hidden names left out."""
        if self.is_local:
            with os.scandir(self.url) as found:
                for entry in found:
                    if not entry.name.startswith("."):
                        yield entry.name, entry.is_dir()
            return
        for info in self.fs.ls(self.path, detail=True):
            name = info["name"].rstrip("/").rsplit("/", 1)[-1]
            if not name.startswith(".") and info["name"].rstrip("/") != self.path.rstrip("/"):
                yield name, info["type"] == "directory"

    def identity(self) -> tuple[str, int, int]:
        """`(url, time of last change, size)`: cheap, of the top level alone; zeros where a store has none."""
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

        Object stores publish a file when it is closed, so only local files take the way over another name.
        """
        if not self.is_local:
            with self.fs.open(self.path, "wb") as file:
                yield file
            return
        draft = f"{self.url}.{uuid.uuid4().hex[:8]}.part"
        try:
            with open(draft, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, self.url)
        except BaseException:
            if os.path.exists(draft):
                os.unlink(draft)
            raise
