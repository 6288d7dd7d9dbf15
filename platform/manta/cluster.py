"""Connection to Ray: to an existing cluster, or to one started on this machine."""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlparse

import ray

from manta.disk import refused_write
from manta.errors import ResourceError
from manta.homes import prepare_home
from manta.proxies import bypass_proxies
from manta.ray_folder import choose_ray_folder, shared_memory_text, small_store, usual_ray_folder

DECODE_CPUS = 0.5
"""Logical CPUs of one decode task."""
SETTINGS = {
    # `report` and the end of a run wait for the next poll, whose default interval is 2 s.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    # Ray 2.60's own default, stated so that another version of Ray does not change it.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "60",
    # Relative paths of the user's configuration are relative to where the command was started.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Idle workers would start at the same time as training, on the same cores.
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    # Ray would otherwise empty CUDA_VISIBLE_DEVICES in processes that request no GPU.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
LOCAL_SETTINGS = {
    # The watcher is one more process to start, for notices that only clouds send.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}

_log = logging.getLogger(__name__)
_started: set[str] = set()
"""Addresses of the clusters that this process has started."""


def connect(*, cpus: float = 0.0) -> bool:
    """Attach to `RAY_ADDRESS`, or start a local cluster with at least `cpus` logical CPUs.

    Does nothing if Ray is connected already.

    Returns:
        whether this call started a cluster; such a cluster ends with this process.

    Raises:
        ResourceError: nothing listens at `RAY_ADDRESS`, or Ray cannot be started.
    """
    # Before `ray.init`: Ray's processes inherit the environment in which they start.
    prepare_home()
    bypass_proxies()
    _set(SETTINGS)
    if ray.is_initialized():
        return False
    options: dict[str, Any] = {
        "log_to_driver": False,
        "configure_logging": True,
        "logging_level": "ERROR",
    }
    address = os.environ.get("RAY_ADDRESS") or "local"
    if address != "local":
        _probe(address)
        doing = f"attach to the cluster at RAY_ADDRESS={address}"
        options |= {"address": address}
    else:
        _set(LOCAL_SETTINGS)
        # Twice the cores, because logical CPUs only limit how many tasks run at a time: decode
        # tasks mostly wait while a training worker computes.
        logical = max(4, 2 * (os.cpu_count() or 1), math.ceil(cpus))
        doing = "start on this machine"
        options |= {"address": "local", "num_cpus": logical, "include_dashboard": False}
        options |= _places()
    try:
        ray.init(**options)
    except Exception as error:  # Ray also raises errors without a class of their own
        refused = refused_write(error, usual_ray_folder())
        if refused is not None:
            raise refused from error
        reason = str(error).rstrip(". ")
        raise ResourceError(
            f"Ray could not {doing}: {reason}; `manta doctor` shows what is wrong"
        ) from error
    if address == "local":
        _started.add(ray.get_runtime_context().gcs_address)
    return address == "local"


def _places() -> dict[str, Any]:
    """Return the options of `ray.init` for a machine without the usual places for Ray's files.

    Raises:
        ResourceError: no folder of the machine will do.
    """
    options: dict[str, Any] = {}
    folder, reason = choose_ray_folder()
    if reason:
        _log.warning("Ray's files are in %s, since %s; RAY_TMPDIR chooses another", folder, reason)
        options["_temp_dir"] = folder
    size = small_store(folder)
    if size is not None:
        _log.warning(
            "Ray's objects are in %s, which is slower: only %s (docker run --shm-size=8g)",
            folder,
            shared_memory_text(),
        )
        options["object_store_memory"] = size
    return options


def is_own() -> bool:
    """Return whether the cluster that Ray is connected to was started by `connect`.

    One that a script or notebook has joined by `ray.init` is not, with or without `RAY_ADDRESS`.
    """
    return ray.get_runtime_context().gcs_address in _started


def start_ahead() -> None:
    """Start Ray Data's autoscaling coordinator, for which Ray Train's controller waits.

    Called early, the actor starts while the driver is still busy with other things.
    """
    from ray.data._internal.cluster_autoscaler import get_or_create_autoscaling_coordinator

    get_or_create_autoscaling_coordinator()


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn Ctrl-C during `fit` of Ray Train into a KeyboardInterrupt.

    Ray Train's own handler ends the workers and then exits with status 0, and it stays installed
    after training; the previous handler is restored here.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, before)


def _set(settings: dict[str, str]) -> None:
    """Set environment variables that the user has not set."""
    for key, value in settings.items():
        os.environ.setdefault(key, value)


def _probe(address: str) -> None:
    """Check that something listens at the address; Ray would wait for minutes if nothing does.

    Raises:
        ResourceError: nothing does.
    """
    if address in ("auto", "local"):
        return
    parsed = urlparse(address if "://" in address else f"ray://{address}")
    try:
        with socket.create_connection((parsed.hostname or "", parsed.port or 6379), timeout=5):
            pass
    except OSError as error:
        raise ResourceError(
            f"no Ray cluster answers at RAY_ADDRESS={address} ({error}); start it, or unset "
            "RAY_ADDRESS to run here"
        ) from None
