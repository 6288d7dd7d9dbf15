"""Settings of the C library's allocator, for work that frees and asks for the same large buffers in
every step."""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import sys
from typing import Any

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of <malloc.h>
_PAD_BYTES = 64 << 20


def keep_freed_memory() -> bool:
    """Have glibc keep freed buffers for the next step instead of giving them back to the kernel.

    Otherwise each step pays for the page faults of its activations again: resnet10t at 32 px trains
    12 to 25 % slower. Resident memory stays at its peak.

    Returns:
        False where there is no glibc.
    """
    mallopt = getattr(_libc(), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, _PAD_BYTES))
    return bool(min(mallopt(option, value) for option, value in settings) == 1)


def release_freed_memory() -> None:
    """Give everything that is free back to the kernel, after a failure that may have filled the
    memory."""
    gc.collect()
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _libc() -> Any:
    return (
        ctypes.CDLL(ctypes.util.find_library("c") or "libc.so.6")
        if sys.platform.startswith("linux")
        else None
    )
