"""What the machine does while a run trains on it."""

from __future__ import annotations

import threading
from types import TracebackType

import psutil

from manta.tracking.metrics import MetricLog


class SystemSampler:
    """Sampler of the machine's load into a `MetricLog`, by a daemon thread while it is open.

    `system/cpu` and `system/gpu` are fractions of all CPUs and of the GPU in use;
    `system/rss_bytes` is this process's memory, `system/memory` and `system/gpu_memory` are
    fractions of the machine's and the GPU's.

    MLflow's own `SystemMetricsMonitor` takes a run id and needs no fluent API, but it sends to the
    server alone, with step numbers of its own: what it measures while a server is away is lost,
    is not in the run's `metrics.jsonl`, and cannot be put beside the step of training. It also
    has no number for the memory of this process, which is how a leak shows.

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
        psutil.cpu_percent()  # the next call measures from here
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
        """Return the numbers of this moment by name."""
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
    """Return numbers of the first visible CUDA device; none where there is none, or its driver
    does not tell."""
    import torch

    if not torch.cuda.is_available():
        return {}
    try:
        free, total = torch.cuda.mem_get_info(0)
        return {
            "system/gpu": torch.cuda.utilization(0) / 100,
            "system/gpu_memory": 1 - free / total,
        }
    except Exception:  # NVML's errors are of its own kinds, and a sample is not worth a thread
        return {}
