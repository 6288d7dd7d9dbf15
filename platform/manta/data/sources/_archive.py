"""Members of tar archives, read forward only, so that a tar of any size takes little memory."""

from __future__ import annotations

import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tarfile import HeaderError
from typing import Any

import pyarrow as pa

from manta.data.sources._layout import is_image_name, is_litter, split_of
from manta.files import Place

ENDINGS: tuple[str, ...] = (
    *(".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz"),
    *(".tar.zst", ".tzst", ".tar.lz4"),
)
_COMPRESSED = {b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4"}
_PLAIN_MAGIC = (257, b"ustar")
_DAMAGE = ("InvalidHeaderError", "TruncatedHeaderError")
BROKEN = (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException)
"""What a broken or cut-off archive raises."""


class Damaged(tarfile.TarError):
    """An archive in which something that is no member lies between the members."""


@dataclass(frozen=True, slots=True)
class Member:
    """File of an archive.

    Attributes:
        key: what it shares with the other members of its sample, as in WebDataset: the name up to
            the first dot of the last part.
        kind: the rest of the name without its leading dot, in small letters, such as `left.jpg`.
        link: the member that it is a link to, if it is one.
    """

    name: str
    key: str
    kind: str
    link: str | None
    _archive: Any
    _info: Any

    @property
    def is_image(self) -> bool:
        return is_image_name(f"x.{self.kind}")

    @property
    def own_key(self) -> str:
        return own_key(self.key, self.kind.rpartition(".")[0])

    @property
    def size(self) -> int:
        return int(self._info.size)

    @property
    def part(self) -> str | None:
        """Return the part of the dataset that one of its folders tells."""
        folders = reversed(self.name.split("/")[:-1])
        return next((part for name in folders if (part := split_of(name)) is not None), None)

    def read(self) -> bytes:
        body = self._archive.extractfile(self._info)
        return b"" if body is None else bytes(body.read())


class _Info(tarfile.TarInfo):
    """Header of a member that reports damage, over which tarfile itself passes in silence."""

    @classmethod
    def fromtarfile(cls, tarfile: Any) -> Any:
        try:
            return super().fromtarfile(tarfile)
        except HeaderError as error:
            if type(error).__name__ in _DAMAGE:
                tarfile.is_damaged = True
            raise


def members(place: Place, *, quickly: bool = False) -> Iterator[Member]:
    """Yield the files of an archive, also of several that were joined, in order.

    Args:
        quickly: pass over the content of members where the archive is a plain local file.

    Raises:
        Damaged: bytes between the members are no member; all members have been yielded.
        OSError, tarfile.TarError, ...: see `BROKEN`; the archive is cut off or not one.
    """
    with _opened(place, quickly and is_seekable(place)) as archive:
        for info in archive:
            name = info.name
            parts = name.split("/")
            hidden = parts[-1].startswith(".") or any(is_litter(part) for part in parts)
            if info.isdir() or hidden or not (info.isfile() or info.islnk() or info.issym()):
                continue
            key, kind = split_name(name)
            link = info.linkname if info.islnk() or info.issym() else None
            yield Member(name, key, kind, link, archive, info)
        if getattr(archive, "is_damaged", False):
            raise Damaged("bytes between its members are no member")


def split_name(name: str) -> tuple[str, str]:
    """Return the key and the kind of a member's name."""
    folder, base = os.path.split(name)
    stem, _, kind = base.partition(".")
    return os.path.join(folder, stem), kind.lower()


def own_key(key: str, prefix: str) -> str:
    """Return what tells a member from others of its key: `img.0001` for `img.0001.png`.

    Args:
        prefix: what stands before the last dot of its kind. Only one with a digit tells images
            apart: `left` does not.
    """
    return f"{key}.{prefix}" if any(letter.isdigit() for letter in prefix) else key


def is_seekable(place: Place) -> bool:
    """Return whether an archive's headers can be read without its content, which is quick."""
    if not place.is_local:
        return False
    with place.open() as file:
        start = file.read(512)
    offset, magic = _PLAIN_MAGIC
    return bool(start[offset : offset + len(magic)] == magic)


def may_hold(place: Place, kinds: tuple[str, ...]) -> bool:
    """Return False if no member of a plain local archive is of one of some kinds, which is quick.

    True wherever that is not sure, as where a member has a header of more than one block.
    """
    if not is_seekable(place):
        return True
    endings = tuple(f".{kind.lower()}".encode() for kind in kinds)
    start, end = _PLAIN_MAGIC[0], _PLAIN_MAGIC[0] + len(_PLAIN_MAGIC[1])
    with place.open() as file:
        while len(header := file.read(512)) == 512:
            size = header[124:136].strip(b"\x00 ")
            is_file = header[156:157] in (b"0", b"5") and header[start:end] == _PLAIN_MAGIC[1]
            if not any(header):
                continue
            if not is_file or not size.isdigit() or set(size) & set(b"89"):
                return True
            if header[:100].partition(b"\x00")[0].lower().endswith(endings):
                return True
            file.seek(-(-int(size, 8) // 512) * 512, os.SEEK_CUR)
    return False


@contextmanager
def _opened(place: Place, seeks: bool) -> Iterator[Any]:
    with place.open() as file:
        start = file.read(4)
        file.seek(0)
        compression = _COMPRESSED.get(start)
        stream: Any = file if compression is None else pa.CompressedInputStream(file, compression)
        # "r|" reads forward only. Zero blocks are passed over: they lie between joined archives.
        mode: Any = "r:" if seeks else "r|*" if compression is None else "r|"
        with tarfile.open(fileobj=stream, mode=mode, tarinfo=_Info, ignore_zeros=True) as archive:
            yield archive
