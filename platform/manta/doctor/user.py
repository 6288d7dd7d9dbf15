"""Checks of what this user may do here: temporary folder, home, limits of the shell."""

from __future__ import annotations

import os
import resource
import tempfile

from manta import homes
from manta.disk import free_bytes, size_text
from manta.doctor.check import GIB, Check
from manta.errors import ResourceError
from manta.ray_folder import choose_ray_folder

LEAST_FILES, LEAST_PROCESSES = 1024, 512
"""Open files that Ray takes a process, and processes and threads of a run on a few cores, about."""


def temporary_folder() -> Check:
    """Check the folders for temporary files and for Ray's, and the room in them."""
    name = "temporary folder"
    try:
        python, (folder, reason) = tempfile.gettempdir(), choose_ray_folder()
    except (OSError, ResourceError) as error:
        return Check(name, "bad", str(error), "set TMPDIR to a short path that can be written")
    free = min(free_bytes(python), free_bytes(folder))
    found = f"{size_text(free)} free; Ray's files in {folder}"
    if free < GIB:
        mend = "free some space, or set RAY_TMPDIR and TMPDIR to folders with more"
        return Check(name, "bad" if free < GIB // 4 else "warn", found, mend)
    if reason:
        return Check(name, "warn", f"{found}: {reason}", "set RAY_TMPDIR to a short path of yours")
    return Check(name, "ok", found)


def home() -> Check:
    """Check that libraries can keep their caches; without a home they are temporary."""
    folder = homes.home_folder()
    if folder is None or folder.name.startswith(homes.PREFIX):
        mend = "set HOME to a folder that can be written, to keep downloaded weights"
        return Check("home", "warn", "none: caches go to the temporary folder", mend)
    if not os.access(folder, os.W_OK | os.X_OK):
        mend = "set HF_HOME to a folder that can be written, to keep downloaded weights"
        return Check("home", "warn", f"{folder} cannot be written", mend)
    return Check("home", "ok", str(folder))


def limits() -> Check:
    """Check how many files and processes this user may have, and how large a file may be."""
    files, processes, size = (
        _limit(kind)
        for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE)
    )
    found = f"{_words(files)} open files, {_words(processes)} processes"
    if size is not None:
        found += f", files of {size_text(size)} at most"
    low = [
        text
        for is_low, text in (
            (files is not None and files < LEAST_FILES, "ulimit -n 65536"),
            (processes is not None and processes < LEAST_PROCESSES, "ulimit -u 4096"),
            (size is not None and size < GIB, "ulimit -f unlimited"),
        )
        if is_low
    ]
    if low:
        return Check("limits", "warn", found, f"raise them: {'; '.join(low)}")
    return Check("limits", "ok", found)


def _limit(kind: int) -> int | None:
    """Return the hard limit, up to which Ray raises the soft one; None if there is none."""
    hard = resource.getrlimit(kind)[1]
    return None if hard == resource.RLIM_INFINITY else hard


def _words(limit: int | None) -> str:
    return "any number of" if limit is None else f"{limit:,}"
