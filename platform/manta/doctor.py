"""What is wrong with this machine, and how to mend it. Looks only: starts nothing, writes
nothing."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import psutil

from manta.extras import describe_extras
from manta.secrets import without_secrets

Status = Literal["ok", "warn", "bad"]
_GIB = 2**30
_PATIENCE = 1.0
_DEFAULT_PORTS = {
    "http": 80,
    "https": 443,
    "postgresql": 5432,
    "mysql": 3306,
    "mssql": 1433,
    "ray": 10001,
}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: what was found and, unless all is well, one line that mends it."""

    name: str
    status: Status
    found: str
    mend: str = ""


def checks(runs: str | Path = "manta-runs") -> list[Check]:
    """Everything that must be right for a run, most fundamental first. `runs` is the folder that
    runs live under."""
    folder = Path(
        "manta-runs" if "://" in str(runs) else runs
    )  # of a bucket, only what is kept here can be looked at
    looks: list[tuple[str, Callable[[], Check]]] = [
        ("source tree", source_tree),
        ("Python", python),
        ("torch", torch_pair),
        ("timm", lambda: package("timm", ">=1.0.20")),
        ("Ray", ray),
        ("MLflow", lambda: package("mlflow", ">=3.17,<3.18")),
        ("Optuna", lambda: package("optuna", ">=5,<6")),
        ("extras", lambda: Check("extras", "ok", describe_extras())),
        ("device", device),
        ("cores", cores),
        ("memory", memory),
        ("disk", lambda: disk(folder)),
        ("shared memory", shared_memory),
        ("tracking store", lambda: tracking(folder)),
        ("Ray session", ray_session),
    ]
    return [_guarded(name, look) for name, look in looks]


def _guarded(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except (
        Exception
    ) as error:  # a broken machine breaks in ways not foreseen, and the rest is still worth knowing
        return Check(
            name,
            "bad",
            f"cannot be looked at: {_short(error)}",
            "read the error; the other rows still hold",
        )


def source_tree(package_folder: Path = Path(__file__).parent) -> Check:
    """`platform/__init__.py` would shadow the standard library's module: then even `import torch`
    dies."""
    name, stray = "source tree", package_folder.parent / "__init__.py"
    if stray.exists():
        return Check(
            name, "bad", f"{stray} exists and shadows the module `platform`", f"rm {stray}"
        )
    return Check(name, "ok", str(package_folder))


def python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 12):
        return Check("Python", "ok", found)
    return Check(
        "Python",
        "bad",
        found,
        "make the environment with Python 3.11 or 3.12: python3.12 -m venv .venv",
    )


def torch_pair() -> Check:
    """A torchvision that was built for another torch fails at import, and timm with it."""
    found = f"torch {_version('torch')}, torchvision {_version('torchvision')}"
    try:
        torch = import_module("torch")
        boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
        import_module("torchvision").ops.nms(boxes, torch.ones(1), 0.5)
    except Exception as error:
        mend = "pip install --force-reinstall torch torchvision (both from one index, so that they match)"
        return Check("torch", "bad", f"{found}: {_short(error)}", mend)
    return Check("torch", "ok", found)


def package(name: str, wanted: str) -> Check:
    """An installed distribution against a version specifier."""
    from packaging.specifiers import SpecifierSet

    title = {"mlflow": "MLflow", "optuna": "Optuna", "ray": "Ray"}.get(name, name)
    found = _version(name)
    if found == "missing":
        return Check(title, "bad", "not installed", f"pip install '{name}{wanted}'")
    if found not in SpecifierSet(wanted):
        return Check(title, "bad", f"{found}, needs {wanted}", f"pip install '{name}{wanted}'")
    return Check(title, "ok", found)


def ray() -> Check:
    check = package("ray", "==2.60.*")
    extras = [module for module in ("aiohttp_cors", "opencensus") if find_spec(module) is None]
    if check.status == "ok" and extras:
        found = f"{check.found} without its dashboard ({', '.join(extras)} missing): stopped trials keep their resources"
        return Check("Ray", "bad", found, "pip install 'ray[default,train,tune,data]==2.60.0'")
    return check


def device() -> Check:
    """CUDA devices, or whether the CPU computes in bf16."""
    torch = import_module("torch")
    if torch.cuda.is_available():
        devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        found = ", ".join(f"{one.name} {one.total_memory / _GIB:.0f} GiB" for one in devices)
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
    machine = psutil.virtual_memory()
    limit = _cgroup_number("/sys/fs/cgroup/memory.max")
    total = machine.total if limit is None else min(machine.total, limit)
    free = min(machine.available, total)
    found = f"{free / _GIB:.1f} GiB free of {total / _GIB:.1f} GiB"
    if free < 3 * _GIB:
        mend = "close other programs or give more memory: Ray and one worker take about 3 GiB"
        return Check("memory", "bad" if free < 1.5 * _GIB else "warn", found, mend)
    return Check("memory", "ok", found)


def disk(runs: Path) -> Check:
    """Free space where runs are written."""
    place = _nearest_existing(runs)
    free = shutil.disk_usage(place).free
    found = f"{free / _GIB:.1f} GiB free at {place}"
    if not os.access(place, os.W_OK):
        return Check(
            "disk",
            "bad",
            f"{place} cannot be written",
            f"chmod u+w {place}, or work from another folder",
        )
    if free < 5 * _GIB:
        mend = "free some space: checkpoints and Ray's spilled objects go there"
        return Check("disk", "bad" if free < _GIB else "warn", found, mend)
    return Check("disk", "ok", found)


def shared_memory(place: Path = Path("/dev/shm")) -> Check:
    """Ray's object store lives there; Docker gives 64 MiB unless told otherwise."""
    if not place.exists():
        return Check(
            "shared memory", "ok", f"no {place} on this system: Ray uses its temporary folder"
        )
    free = shutil.disk_usage(place).free
    found = f"{free / _GIB:.1f} GiB free at {place}"
    if free < 2 * _GIB:
        return Check(
            "shared memory",
            "warn",
            found,
            "in Docker: --shm-size=8g; else mount -o remount,size=8G /dev/shm",
        )
    return Check("shared memory", "ok", found)


def tracking(runs: Path) -> Check:
    """The MLflow store that a run would use, without a client: those retry for minutes on a dead
    server."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(runs / 'mlflow.db').resolve()}"
    parts = urlsplit(uri)
    shown = without_secrets(uri)
    scheme = parts.scheme.partition("+")[0]
    if scheme == "sqlite":
        return _sqlite(Path(uri.partition(":///")[2].partition("?")[0]), shown)
    if scheme in ("", "file"):
        mend = f"export MLFLOW_TRACKING_URI=sqlite:///{(runs / 'mlflow.db').resolve()}"
        return Check("tracking store", "bad", f"{shown}: MLflow 3 refuses folders of files", mend)
    if scheme not in _DEFAULT_PORTS or parts.hostname is None:
        return Check(
            "tracking store",
            "warn",
            f"{shown}: cannot be probed from here",
            "try: mlflow experiments search",
        )
    port = parts.port or _DEFAULT_PORTS[scheme]
    if not _answers(parts.hostname, port):
        mend = f"start the server at {parts.hostname}:{port}, or unset MLFLOW_TRACKING_URI to keep runs in a local file"
        return Check("tracking store", "bad", f"{shown} does not answer", mend)
    return Check("tracking store", "ok", f"{shown} answers")


def _sqlite(path: Path, shown: str) -> Check:
    name = "tracking store"
    if not path.exists():
        place = _nearest_existing(path.parent)
        if os.access(place, os.W_OK):
            return Check(name, "ok", f"{shown} (made by the first run)")
        return Check(
            name,
            "bad",
            f"{place} cannot be written",
            f"chmod u+w {place}, or set MLFLOW_TRACKING_URI",
        )
    if not os.access(path, os.W_OK):
        return Check(name, "bad", f"{path} cannot be written", f"chmod u+w {path}")
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=_PATIENCE)
        try:
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        return Check(
            name,
            "warn",
            f"{shown}: {error}",
            "another process may hold it: wait for it, then look again",
        )
    except sqlite3.DatabaseError as error:
        return Check(name, "bad", f"{shown}: {error}", f"move it away: mv {path} {path}.broken")
    return Check(name, "ok", f"{shown}, {tables} tables")


def ray_session() -> Check:
    """A dead cluster's address makes `ray.init` wait for minutes."""
    name = "Ray session"
    stated = os.environ.get("RAY_ADDRESS", "")
    if stated == "local":
        return Check(name, "ok", "RAY_ADDRESS=local: every run starts its own")
    if stated and stated != "auto":
        answers = _address_answers(stated)
        mend = "" if answers else "unset RAY_ADDRESS, or start that cluster"
        return Check(
            name, "ok" if answers else "bad", f"RAY_ADDRESS={stated} {_said(answers)}", mend
        )
    note = _ray_temporary_folder() / "ray_current_cluster"
    left = note.read_text().strip() if note.is_file() else ""
    if not left:
        status: Status = "bad" if stated == "auto" else "ok"
        mend = "unset RAY_ADDRESS, or start a cluster: ray start --head" if stated else ""
        return Check(
            name,
            status,
            "no cluster runs here" + (", but RAY_ADDRESS=auto" if stated else ""),
            mend,
        )
    answers = _address_answers(left)
    mend = "" if answers else f"rm {note}"
    return Check(name, "ok" if answers else "warn", f"a cluster at {left} {_said(answers)}", mend)


def _said(answers: bool) -> str:
    return "answers" if answers else "does not answer"


def _address_answers(address: str) -> bool:
    parts = urlsplit(address if "://" in address else f"//{address}")
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 6379)
    return parts.hostname is not None and _answers(parts.hostname, port)


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=_PATIENCE):
            return True
    except OSError:
        return False


def _ray_temporary_folder() -> Path:
    return (
        Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or tempfile.gettempdir())
        / "ray"
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _nearest_existing(path: Path) -> Path:
    path = path.resolve()
    return next(place for place in (path, *path.parents) if place.exists())


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
    except (OSError, ValueError):  # "max" is no limit
        return None


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
