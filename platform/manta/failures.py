"""Errors out of Ray's wrappers: one line for people, and the whole traceback in a file."""

from __future__ import annotations

import errno
import os
import re
import site
import sys
import sysconfig
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from manta import errors
from manta.disk import out_of_room, refused_write
from manta.errors import DataError, DiskFull, MantaError, ResourceError, RunError, TrainingStopped
from manta.secrets import without_secrets

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_FRAME = re.compile(r'^\s*File "([^"]+)", line (\d+)', re.MULTILINE)
TRACE = " (whole trace: "
"""Beginning of the end of a line: the file that has the traceback."""
_LONGEST = 500
"""Characters of an error's message that are shown."""
_CAUSED = "\nThe above exception was the direct cause of the following exception:\n"
_OWN_LINE = re.compile(r"^(?P<type>manta\.errors\.\w+): (?P<message>.+)$", re.MULTILINE)
_LAST_LINE = re.compile(r"(?P<type>[A-Za-z_][\w.]*):? ?(?P<message>.*)")
_WRAPPED = ("cause", "_base_exc", "controller_failure")
"""Attributes of Ray's errors that hold another."""
_RETRIES = "\nFailed to apply UDF transform after"
"""Beginning of the lines about retries that Ray Data appends to the message of any error."""


def own_error(error: BaseException) -> MantaError | None:
    """Return the MantaError that a failed task raised, unwrapped from Ray's; else None.

    Its `trace` is the traceback of the task.
    """
    for seen in _chain(error):
        if isinstance(seen, MantaError):
            # Ray raises an instance of a class that derives from RayTaskError and ours; its message
            # is a whole traceback.
            cause = getattr(seen, "cause", None)
            mine = cause if isinstance(cause, MantaError) else seen
            mine.args = (str(mine).partition("\n")[0], *mine.args[1:])
            if mine is not error:
                # One that already has a trace has it from where it was raised.
                mine.trace = mine.trace or whole_trace(error)
            return mine
    told = innermost(error)
    if isinstance(told, MantaError):
        told.trace = whole_trace(error)
        return told
    return None


def as_user_error(error: BaseException, doing: str = "") -> MantaError | None:
    """Return one line for an error that is not a MantaError; None if it is of no known kind.

    Known are full disks, folders that cannot be written, and whatever ends a task of Ray, such as
    an error in a component of the user's own; the line then names its file and line.

    Args:
        error: of this process, or Ray's wrapper around a task's.
        doing: what failed, such as "the ingest of ./photos"; begins the line.
    """
    mine = own_error(error)
    if mine is not None:
        return mine
    inner = innermost(error)
    trace = whole_trace(error)
    answer: MantaError | None = full_disk(error) or _spilled(inner)
    if answer is None and isinstance(inner, OSError):
        answer = _refused_access(inner)
    if answer is None:
        answer = _limit_reached(inner)
    if answer is None and is_of_ray(error):
        begin = f"{doing} failed: " if doing else ""
        answer = RunError(f"{begin}{described(inner, trace)}")
    if answer is not None and is_of_ray(error):
        answer.trace = trace
    return answer


def full_disk(error: BaseException, place: str | None = None) -> DiskFull | None:
    """Return the one line of a disk that was full behind an error; None if none was.

    Args:
        place: what was written, where the error does not say.
    """
    # The innermost first: it may know the file, which Ray's wrapper does not.
    for seen in (innermost(error), *reversed(list(_chain(error)))):
        room = seen if isinstance(seen, DiskFull) else out_of_room(seen, place)
        if room is not None:
            return room
    return None


@contextmanager
def one_line_errors(doing: str = "") -> Iterator[None]:
    """Run a block; what it raises of a known kind becomes a MantaError of one line.

    Raises:
        MantaError: in place of an error of Ray or of the disk (`as_user_error`).
    """
    try:
        yield
    except Exception as error:
        mine = as_user_error(error, doing)
        if mine is None or mine is error:
            raise
        # Ray's wrappers are left out of what Python prints: `trace` has them.
        raise mine from None


def described(error: BaseException, trace: str | None = None) -> str:
    """Return an error's type, message, and the file and line of the user's code that raised it.

    Args:
        trace: traceback in which that line is looked for; None: the error's own.
    """
    text = _message_of(error)
    where = raised_at(trace if trace is not None else whole_trace(error))
    name = type(error).__name__
    return f"{name}: {text}" * bool(text) + name * (not text) + (f" ({where})" if where else "")


def raised_at(trace: str) -> str | None:
    """Return `FILE:LINE` of the last frame of a traceback that is in the user's own code.

    None if all are in Manta, in Python or in installed packages.
    """
    own = [
        f"{file}:{line}" for file, line in _FRAME.findall(trace) if not file.startswith(_foreign())
    ]
    return own[-1] if own else None


def innermost(error: BaseException) -> BaseException:
    """Return the error at the end of the chain of Ray's wrappers and of causes.

    An error in an actor of Ray Data arrives as text only; it is made anew from that.
    """
    chain = list(_chain(error))
    if type(chain[-1]).__name__ != "UserCodeException":
        return chain[-1]
    told = (_told_in(str(seen)) for seen in chain)
    return next((one for one in told if one is not None), chain[-1])


def whole_trace(error: BaseException) -> str:
    """Return the traceback of an error and of all that caused it, without colours."""
    return _ANSI.sub("", "".join(traceback.format_exception(error)))


def is_of_ray(error: BaseException) -> bool:
    """Return whether an error, or one that caused it, is Ray's."""
    if "ray" not in sys.modules:
        return False
    return any(type(seen).__module__.partition(".")[0] == "ray" for seen in _chain(error))


def keep_trace(trace: str) -> str | None:
    """Write a traceback to a new file in the temporary folder, in shared memory or here.

    Returns:
        the file's path; None if none of the folders can be written.
    """
    name = f"manta-error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    for folder in (tempfile.gettempdir, lambda: "/dev/shm", os.getcwd):
        try:
            path = Path(folder(), name)
            path.write_text(trace, encoding="utf-8", errors="backslashreplace")
        except OSError:
            continue
        return str(path)
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, then what Ray wraps in it or what caused it, to the innermost."""
    seen: BaseException | None = error
    passed: set[int] = set()
    while seen is not None and id(seen) not in passed:
        passed.add(id(seen))
        yield seen
        wrapped = (getattr(seen, name, None) for name in _WRAPPED)
        inner = next((one for one in wrapped if isinstance(one, BaseException)), None)
        seen = inner if inner is not None else _cause_of(seen)


def _told_in(trace: str) -> Exception | None:
    """Return the error of Manta's, or else the first, in a traceback of several; or None."""
    first, cause, _ = trace.partition(_CAUSED)
    lines = [line for line in _ANSI.sub("", first).splitlines() if line.strip()]
    match = _OWN_LINE.search(trace) or (
        _LAST_LINE.fullmatch(lines[-1]) if cause and lines else None
    )
    if match is None:
        return None
    module, _, name = match["type"].rpartition(".")
    own = getattr(errors, name, None) if module == errors.__name__ else None
    if own is not None and own is not TrainingStopped:
        return cast(MantaError, own(match["message"]))
    return cast(Exception, type(name, (Exception,), {})(match["message"]))


def _cause_of(error: BaseException) -> BaseException | None:
    """Return an error's cause, unless Ray Data put it there as a mark without content."""
    cause = error.__cause__
    return None if type(cause).__name__ == "SystemException" else cause


def _message_of(error: BaseException) -> str:
    """Return an error's message on one line, without what Ray Data appends to it."""
    first = error.args[0] if error.args else ""
    if isinstance(first, str) and _RETRIES in first:
        error.args = (first.partition(_RETRIES)[0], *error.args[1:])
    lines = [line for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and type(error).__module__.startswith("ray."):
        # Ray's own errors are a page: a summary and a table, or a task's whole traceback.
        lines = lines[-1:] if _FRAME.search(str(error)) else lines[:1]
    text = without_secrets(_ANSI.sub("", " ".join(" ".join(lines).split())))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _refused_access(error: OSError) -> MantaError | None:
    """Return one line for a place that may not be read or written."""
    if "No usable temporary directory" in str(error):
        return ResourceError(
            "no temporary folder can be written; set TMPDIR to one that can, and has some space"
        )
    if error.filename is None:
        return None
    path = os.fsdecode(error.filename)
    if isinstance(error, PermissionError) and os.path.exists(path) and not os.access(path, os.R_OK):
        return DataError(f"{path} cannot be read (permission denied); let this user read it")
    return refused_write(error)


def _limit_reached(error: BaseException) -> ResourceError | None:
    """Return one line for a limit of this user or machine that an error says was reached."""
    number = error.errno if isinstance(error, OSError) else None
    text = str(error)
    if number in (errno.EMFILE, errno.ENFILE) or "Too many open files" in text:
        return ResourceError("too many open files; raise the limit (ulimit -n 65536)")
    if number == errno.EAGAIN or "can't start new thread" in text:
        return ResourceError("too many processes and threads; raise the limit (ulimit -u 4096)")
    if number == errno.ENOMEM or isinstance(error, MemoryError):
        return ResourceError(
            "there is not enough memory; lower train.batch_size, data.image_size or "
            "resources.workers, or free some"
        )
    return None


def _spilled(error: BaseException) -> DiskFull | None:
    """Return the one-line error for Ray's own of a disk without room for its objects."""
    if type(error).__name__ != "OutOfDiskError":
        return None
    return DiskFull(
        "Ray's object store is full, and so is the disk to which it spills; free some space in "
        f"{os.environ.get('RAY_TMPDIR') or tempfile.gettempdir()}, or set RAY_TMPDIR to a folder "
        "with more, then the same command goes on"
    )


def _foreign() -> tuple[str, ...]:
    """Return beginnings of the paths of files that are not the user's own."""
    here = os.path.dirname(os.path.abspath(__file__))
    paths = sysconfig.get_paths()
    installed = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return (f"{here}{os.sep}", "<", *installed, *site.getsitepackages(), "pyarrow/")
