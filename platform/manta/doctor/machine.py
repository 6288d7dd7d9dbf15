"""Checks of the machine: devices, cores, memory and disks."""

from __future__ import annotations

import os
import shutil
from importlib import import_module
from pathlib import Path

import psutil

from manta.doctor.check import GIB, Check, nearest_existing


def device() -> Check:
    """Check for CUDA devices or else for a CPU that computes fast in bf16."""
    torch = import_module("torch")
    if torch.cuda.is_available():
        devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        found = ", ".join(f"{one.name} {one.total_memory / GIB:.0f} GiB" for one in devices)
        return Check("device", "ok", f"CUDA {torch.version.cuda}: {found}")
    if Path("/proc/driver/nvidia/version").exists():
        mend = "install a torch built for this driver, or unset CUDA_VISIBLE_DEVICES"
        return Check(
            "device", "warn", "an NVIDIA driver is loaded, but torch sees no CUDA device", mend
        )
    fast = [flag for flag in ("amx_bf16", "avx512_bf16") if flag in _cpu_flags()]
    if fast:
        return Check("device", "ok", f"CPU with fast bf16 ({', '.join(fast)})")
    return Check(
        "device",
        "warn",
        "CPU without fast bf16",
        "leave train.precision on auto: it picks float32 here",
    )


def cores() -> Check:
    """Check that there are two cores, one to decode while the other trains."""
    logical = (
        len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else psutil.cpu_count() or 1
    )
    quota = _cgroup_cores()
    usable = logical if quota is None else min(float(logical), quota)
    found = f"{usable:g} usable" + (f" of {logical} (container limit)" if usable < logical else "")
    if usable < 2:
        return Check(
            "cores",
            "warn",
            found,
            "give the machine or container two cores: one decodes while one trains",
        )
    return Check("cores", "ok", found)


def memory() -> Check:
    """Check that Ray and one worker fit into free memory."""
    machine = psutil.virtual_memory()
    limit = _cgroup_number("/sys/fs/cgroup/memory.max")
    total = machine.total if limit is None else min(machine.total, limit)
    free = min(machine.available, total)
    found = f"{free / GIB:.1f} GiB free of {total / GIB:.1f} GiB"
    if free < 3 * GIB:
        mend = "close other programs or give more memory: Ray and one worker take about 3 GiB"
        return Check("memory", "bad" if free < 1.5 * GIB else "warn", found, mend)
    return Check("memory", "ok", found)


def disk(runs: Path) -> Check:
    """Check the free space where runs are written."""
    place = nearest_existing(runs)
    free = shutil.disk_usage(place).free
    found = f"{free / GIB:.1f} GiB free at {place}"
    if not os.access(place, os.W_OK):
        return Check(
            "disk",
            "bad",
            f"{place} cannot be written",
            f"chmod u+w {place}, or work from another folder",
        )
    if free < 5 * GIB:
        mend = "free some space: checkpoints and Ray's spilled objects go there"
        return Check("disk", "bad" if free < GIB else "warn", found, mend)
    return Check("disk", "ok", found)


def shared_memory(place: Path = Path("/dev/shm")) -> Check:
    """Check the space for Ray's object store, which Docker limits to 64 MiB by default."""
    if not place.exists():
        return Check(
            "shared memory", "ok", f"no {place} on this system: Ray uses its temporary folder"
        )
    free = shutil.disk_usage(place).free
    found = f"{free / GIB:.1f} GiB free at {place}"
    if free < 2 * GIB:
        return Check(
            "shared memory",
            "warn",
            found,
            "in Docker: --shm-size=8g; else mount -o remount,size=8G /dev/shm",
        )
    return Check("shared memory", "ok", found)


def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(
        next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), [])
    )


def _cgroup_cores() -> float | None:
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()[:2]
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _cgroup_number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):  # the word "max" means that there is no limit
        return None
