"""Load of the machine while a run trains on it."""

from __future__ import annotations

import threading
from types import TracebackType

import psutil

from manta.tracking.metrics import MetricLog


class SystemSampler:
    """Context manager whose daemon thread samples the machine's load into a `MetricLog`.

    `system/cpu` and `system/gpu` are the fractions of all CPUs and of the GPU in use;
    `system/rss_bytes` is the memory of this process; `system/memory` and `system/gpu_memory` are
    the fractions of the machine's and the GPU's memory in use.

    MLflow's own `SystemMetricsMonitor` also works without the fluent API, but it sends its values
    to the server only, with step numbers of its own. They are lost while a server is away, are
    missing in the run's `metrics.jsonl`, and cannot be compared with the steps of training. It has
    no metric for the memory of this process either, which would reveal a leak.

    Args:
        every: seconds between samples.
    """

    def __init__(self, log: MetricLog, *, every: float = 10.0) -> None:
        self._log = log
        self._every = every
        self._process = psutil.Process()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="manta-system", daemon=True)

    def __enter__(self) -> SystemSampler:
        psutil.cpu_percent()  # the first sample covers the time since this call
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def sample(self) -> dict[str, float]:
        """Return the current values by name."""
        numbers = {
            "system/cpu": psutil.cpu_percent() / 100,
            "system/memory": psutil.virtual_memory().percent / 100,
            "system/rss_bytes": float(self._process.memory_info().rss),
        }
        return numbers | _gpu()

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            self._log.log(self._log.step, self.sample())


def _gpu() -> dict[str, float]:
    """Return the load of the first visible CUDA device; empty if there is none to be had."""
    import torch

    if not torch.cuda.is_available():
        return {}
    try:
        free, total = torch.cuda.mem_get_info(0)
        return {
            "system/gpu": torch.cuda.utilization(0) / 100,
            "system/gpu_memory": 1 - free / total,
        }
    except Exception:  # NVML has errors of its own; a lost sample must not end the thread
        return {}
