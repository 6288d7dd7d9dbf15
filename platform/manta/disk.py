"""Errors of writing as one line: a full disk, a read-only folder, a quota, a file in the way."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from manta.errors import DiskFull, ResourceError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST})
_TEXTS = (
    ("No space left on device", errno.ENOSPC),
    ("os error 28", errno.ENOSPC),
    ("database or disk is full", errno.ENOSPC),
    ("Disk quota exceeded", errno.EDQUOT),
    ("File too large", errno.EFBIG),
)
"""What libraries that keep no number say: safetensors, SQLite, PyArrow in some versions."""
_SHORT_WRITES = ("file write failed", "unexpected pos", "requested and", "disk I/O error")
"""What torch, NumPy and SQLite say of a write that stopped halfway, for whatever reason."""
_NO_ROOM = 1 << 20
"""Bytes: with less than this free, a write that stopped halfway stopped for want of room."""


@contextmanager
def writing_to(path: str | os.PathLike[str]) -> Iterator[None]:
    """Run a block that writes below `path`; turn the disk's refusals into one line.

    Raises:
        DiskFull: there is no room.
        ResourceError: the folder is read-only or another user's, or a file is in its way.
    """
    try:
        yield
    except OSError as error:
        refused = refused_write(error, path)
        if refused is None:
            raise
        raise refused from error


@contextmanager
def with_room_for(path: str | os.PathLike[str]) -> Iterator[None]:
    """Run a block that writes to an open file at `path`; turn a full disk into one line.

    Other errors stay as they are: they may be of what the block reads.

    Raises:
        DiskFull: there is no room.
    """
    try:
        yield
    except Exception as error:
        full = out_of_room(error, path)
        if full is None:
            raise
        raise full from error


def refused_write(
    error: BaseException, path: str | os.PathLike[str] | None = None
) -> ResourceError | None:
    """Return the one-line error for a failed write; None if the error is of another kind.

    Args:
        path: what was written; the error's own file name comes first.
    """
    full = out_of_room(error, path)
    if full is not None:
        return full
    if not isinstance(error, OSError) or error.errno not in _REFUSED:
        return None
    place = _place_of(error, path) or os.curdir
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        blocked = _file_above(place)
        if blocked is None:
            return None
        return ResourceError(
            f"{place} cannot be made: {blocked} is a file and not a folder; move it away, or name "
            "another folder (--runs, --out)"
        )
    reason = "read-only file system" if error.errno == errno.EROFS else "permission denied"
    return ResourceError(
        f"{place} cannot be written ({reason}); make its folder writable, or name another one "
        "(--runs or MANTA_RUNS for runs, --out for results)"
    )


def out_of_room(
    error: BaseException, path: str | os.PathLike[str] | None = None
) -> DiskFull | None:
    """Return the one-line error for a write that found no room; None for any other error."""
    number = _number_of(error)
    place = _place_of(error, path)
    if number is None:
        is_short = any(text in str(error) for text in _SHORT_WRITES)
        if not is_short or place is None or free_bytes(place) >= _NO_ROOM:
            return None
        number = errno.ENOSPC
    return DiskFull(full_message(place, number))


def full_message(place: str | None, number: int = errno.ENOSPC) -> str:
    """Return what is full, how much of it is free, and what to do.

    Args:
        place: what was written; None where the error does not say.
    """
    if place is None:
        return (
            "a disk that this command writes to is full (df -h shows which); make room there, then "
            "the same command goes on"
        )
    folder = nearest_folder(place)
    if number == errno.EDQUOT:
        return (
            f"the disk quota of this user is used up at {folder}; free some of it, then the same "
            "command goes on"
        )
    if number == errno.EFBIG:
        return (
            f"{place} would be larger than a file may be here; raise the limit (ulimit -f "
            "unlimited), then the same command goes on"
        )
    try:
        space = os.statvfs(folder)
    except OSError:
        return f"the disk is full at {folder}; make room there, then the same command goes on"
    if space.f_files and not space.f_favail:
        return (
            f"the disk takes no more files: all {space.f_files:,} are in use at {folder}; delete "
            "some, then the same command goes on"
        )
    free, total = (size_text(space.f_frsize * n) for n in (space.f_bavail, space.f_blocks))
    return (
        f"the disk is full: {free} of {total} free at {folder}; make room there, then the same "
        "command goes on"
    )


def free_bytes(place: str) -> int:
    """Return the free bytes where `place` is or would be; 0 if they cannot be found out."""
    try:
        space = os.statvfs(nearest_folder(place))
    except OSError:
        return 0
    return space.f_frsize * space.f_bavail


def nearest_folder(place: str) -> str:
    """Return the place if it is a folder, or the nearest folder above it that exists."""
    folder = os.path.abspath(place)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


def size_text(size: float) -> str:
    """Return a number of bytes with a unit that suits it."""
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:.0f} B" if units[0] == "B" else f"{size:.1f} {units[0]}"


def _number_of(error: BaseException) -> int | None:
    """Return the number of an error of a full disk, from its text if it keeps none."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return error.errno
    return next((number for text, number in _TEXTS if text in str(error)), None)


def _place_of(error: BaseException, path: str | os.PathLike[str] | None) -> str | None:
    """Return the path that the error names, else the one that was written; None for neither."""
    named = getattr(error, "filename", None)
    chosen = named if isinstance(named, (str, bytes)) else path
    return None if chosen is None else os.path.abspath(os.fsdecode(chosen))


def _file_above(place: str) -> str | None:
    """Return the file that is where a folder of `place` should be, if there is one."""
    while place != os.path.dirname(place):
        if os.path.exists(place) and not os.path.isdir(place):
            return place
        place = os.path.dirname(place)
    return None
