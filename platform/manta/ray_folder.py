"""Folder for Ray's files on this machine: sockets, logs, and objects that memory cannot hold."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from manta.disk import free_bytes, nearest_folder, size_text
from manta.errors import ResourceError

SHARED_MEMORY = "/dev/shm"
_OTHERS = ("/tmp", "/var/tmp", SHARED_MEMORY)
_LONGEST_SOCKET = 107
"""Bytes of the path of a Unix socket, by the operating system."""
_SOCKET = "session_2026-11-30_01-38-15_152000_{pid}/sockets/plasma_store"
_STORE_SHARE = 0.3
"""Fraction of the memory that Ray takes for its objects."""
_LEAST_STORE = 80 << 20
"""Bytes of the smallest object store that Ray starts with, and a few more."""
ENOUGH_SHARED_MEMORY = 2 << 30


def usual_ray_folder() -> str:
    """Return the folder that Ray takes by itself: `ray` in RAY_TMPDIR, TMPDIR or /tmp."""
    above = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    return os.path.join(above, "ray")


def choose_ray_folder() -> tuple[str, str]:
    """Return the folder for Ray's files and, if it is not the usual one, why not.

    Raises:
        ResourceError: no folder of the machine will do.
    """
    usual = usual_ray_folder()
    reason = unfit(usual)
    if not reason:
        return usual, ""
    for above in _OTHERS:
        folder = f"{above}/ray-{os.getuid()}"
        if not unfit(folder, own=True):
            return folder, f"{usual} {reason}"
    raise ResourceError(
        f"there is no folder for Ray's files: {usual} {reason}; set RAY_TMPDIR to a short path "
        "that can be written"
    )


def unfit(folder: str, *, own: bool = False) -> str:
    """Return why Ray cannot keep its files in a folder; empty if it can.

    Args:
        own: the folder must be this user's, if it is there.
    """
    path = os.fsencode(os.path.join(folder, _SOCKET.format(pid=max(os.getpid(), 10**6))))
    if len(path) > _LONGEST_SOCKET:
        most = _LONGEST_SOCKET - (len(path) - len(os.fsencode(folder)))
        return f"is too long a path for Ray's sockets (at most {most} bytes)"
    there = nearest_folder(folder)
    if there != folder and os.path.lexists(folder) and not os.path.isdir(folder):
        return "is a file and not a folder"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"cannot be written ({_owner(there)})"
    if own and there == folder and os.stat(folder).st_uid != os.getuid():
        return f"is another user's ({_owner(folder)})"
    note = os.path.join(folder, "ray_current_cluster")
    if os.path.exists(note) and not os.access(note, os.W_OK):
        return f"is in use by another user ({_owner(note)})"
    return ""


def small_store(folder: str, shared_memory: str = SHARED_MEMORY) -> int | None:
    """Return the bytes of an object store for a machine with little shared memory; else None.

    Ray keeps its objects in `folder` then, and would not ask how much that disk has.
    """
    if not os.path.isdir(shared_memory) or free_bytes(shared_memory) >= ENOUGH_SHARED_MEMORY:
        return None
    wanted = int(psutil.virtual_memory().total * _STORE_SHARE)
    size = max(min(wanted, free_bytes(folder) // 2), _LEAST_STORE)
    return None if size <= free_bytes(shared_memory) else size


def shared_memory_text(shared_memory: str = SHARED_MEMORY) -> str:
    """Return how much of the machine's shared memory is free."""
    return f"{size_text(free_bytes(shared_memory))} free at {shared_memory}"


def _owner(path: str) -> str:
    """Return whose a file is, in words."""
    try:
        return f"of {Path(path).owner()}"
    except (KeyError, OSError):
        return f"of user id {os.stat(path).st_uid}"
