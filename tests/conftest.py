"""One local Ray cluster for the whole session, and small images to work on."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

# Read when Ray is imported and when a cluster starts.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
os.environ.setdefault(
    "RAY_worker_niceness", "0"
)  # or whatever else a machine does starves what is tested
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """The address of a cluster of 4 logical CPUs, to which this process is connected."""
    import ray

    ray.init(
        address="local",
        num_cpus=4,
        object_store_memory=500 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
    )
    import ray.data

    logging.getLogger("ray.data").setLevel(
        logging.ERROR
    )  # a page of debug lines per dataset in every failure
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


def png(seed: int, size: tuple[int, int] = (32, 32)) -> bytes:
    """A PNG of noise: no two seeds give the same pixels."""
    width, height = size
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="session")
def make_png() -> object:
    return png
