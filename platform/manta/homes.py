"""Homes, names and caches for users who have none: containers, clusters, read-only disks."""

from __future__ import annotations

import getpass
import os
import tempfile
from pathlib import Path

CACHES = {
    "MPLCONFIGDIR": "matplotlib",
    "NUMBA_CACHE_DIR": "numba",
    "TRITON_CACHE_DIR": "triton",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TORCH_HOME": "torch",
    "HF_HOME": "huggingface",
    "XDG_CACHE_HOME": "cache",
}
"""Folders of libraries that are in the user's home by default, by the variable that moves them."""
PREFIX = "manta-home-"
"""Of the name of the folder that takes the place of a home."""
_READ_ONLY_IS_ENOUGH = {"TORCH_HOME": ".cache/torch", "HF_HOME": ".cache/huggingface"}
"""Caches that may hold downloaded weights: where there is one, it is read."""


def prepare_home() -> None:
    """Set variables for libraries that would fail without a user's name or a writable home.

    What the user has set stays. Processes that are started later, such as Ray's, inherit it.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):  # a user id without an entry, as in `docker run --user 1234`
        os.environ["USER"] = os.environ["LOGNAME"] = f"uid-{os.getuid()}"
    home = home_folder()
    if home is not None and os.access(home, os.W_OK | os.X_OK):
        return
    scratch = cache_folder()
    if scratch is None:
        return
    if home is None:
        os.environ["HOME"] = str(scratch)
    for name, folder in CACHES.items():
        there = _READ_ONLY_IS_ENOUGH.get(name)
        if there is None or home is None or not (home / there).is_dir():
            os.environ.setdefault(name, str(scratch / folder))


def home_folder() -> Path | None:
    """Return the user's home; None if it is not known or not there."""
    if os.environ.get("HOME") == "":
        return None
    try:
        home = Path.home()
    except (KeyError, RuntimeError):  # no HOME, and no entry for the user id
        return None
    return home if home.is_dir() else None


def cache_folder() -> Path | None:
    """Return the folder of this user's caches while there is no home; None if none can be made."""
    try:
        folder = Path(tempfile.gettempdir()) / f"{PREFIX}{os.getuid()}"
        # For this user only: libraries load compiled code from it.
        folder.mkdir(mode=0o700, exist_ok=True)
        is_own = folder.stat().st_uid == os.getuid() and os.access(folder, os.W_OK)
        return folder if is_own else Path(tempfile.mkdtemp(prefix=PREFIX))
    except OSError:  # no temporary folder either, of which the command says more
        return None
