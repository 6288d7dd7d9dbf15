"""Streams by Ray Data against the plan, the in-process executor, and the pixels themselves."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path

import fsspec
import numpy as np
import pytest
import ray
import torch
from sklearn.datasets import load_digits

from manta.data import (
    DecodedCache,
    Holdout,
    Limits,
    Manifest,
    Plan,
    RankBatch,
    ingest,
    open_dataset,
    read_split,
    stream,
)
from manta.data import stream as stream_function
from manta.data._prefetch import Prefetched
from manta.data.engine import require_cpu
from manta.errors import ConfigError, DataError, ResourceError
from manta.modalities.image import ImageDecoder

BATCH, SIZE = 48, 8
DECODER = ImageDecoder(SIZE)


@pytest.fixture(scope="module")
def digits(ray_cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """1,797 rows in 5 unequal shards of row groups of 32."""
    limits = Limits(shard_rows=500, group_rows=32)
    return open_dataset(
        ingest("digits", tmp_path_factory.mktemp("data") / "digits", limits=limits).location
    )


def plan_of(manifest: Manifest, **options: object) -> Plan:
    return Plan(manifest, **({"seed": 1, "batch_size": BATCH, "shuffle_rows": 300} | options))


def take(batches: Iterable[RankBatch]) -> list[RankBatch]:
    return list(batches)


def same(left: list[RankBatch], right: list[RankBatch]) -> bool:
    return len(left) == len(right) and all(
        a.step == b.step
        and torch.equal(a.index, b.index)
        and torch.equal(a.data["image"], b.data["image"])
        for a, b in zip(left, right, strict=True)
    )


@pytest.fixture(scope="module")
def reference(digits: Manifest) -> list[RankBatch]:
    """Two epochs and a bit, in process."""
    plan = plan_of(digits)
    return take(
        stream(
            digits, plan, decoder=DECODER, stop_step=2 * plan.steps_per_epoch + 5, executor="local"
        )
    )


def test_batches_are_the_plans_and_hold_the_right_pixels(
    digits: Manifest, reference: list[RankBatch]
) -> None:
    plan = plan_of(digits)
    assert [batch.step for batch in reference] == list(range(2 * plan.steps_per_epoch + 5))
    images = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)
    for batch in reference:
        assert np.array_equal(batch.index.numpy(), plan.indexes(*plan.locate(batch.step)))
        assert batch.data["image"].shape == (BATCH, 3, SIZE, SIZE)
        assert batch.data["image"].dtype == torch.uint8
        assert batch.data["image"].is_contiguous()
        for channel in range(3):
            assert np.array_equal(
                batch.data["image"][:, channel].numpy(), images[batch.index.numpy()]
            )


@pytest.mark.parametrize("tasks", [1, 3])
def test_ray_gives_what_the_local_executor_gives(
    digits: Manifest, reference: list[RankBatch], tasks: int
) -> None:
    with stream(
        digits, plan_of(digits), decoder=DECODER, stop_step=len(reference), tasks=tasks
    ) as batches:
        got = take(batches)
    assert same(got, reference)
    got[0].data["image"].add_(1)  # the caller's own memory


def test_a_dataset_on_another_file_system(digits: Manifest, reference: list[RankBatch]) -> None:
    fsspec.filesystem("memory").put(digits.location, "/bucket/digits", recursive=True)
    moved = open_dataset("memory://bucket/digits")
    assert same(
        take(stream(moved, plan_of(moved), decoder=DECODER, stop_step=10, executor="local")),
        reference[:10],
    )


@pytest.mark.parametrize("executor", ["ray", "local"])
def test_a_resumed_stream_gives_the_rest(
    digits: Manifest, reference: list[RankBatch], executor: str
) -> None:
    plan = plan_of(digits)
    starts = (1, 20, plan.steps_per_epoch) if executor == "ray" else range(0, len(reference), 7)
    for start in starts:
        options = {
            "decoder": DECODER,
            "start_step": start,
            "stop_step": len(reference),
            "executor": executor,
        }
        assert same(take(stream(digits, plan, **options)), reference[start:])


def test_ranks_take_equal_steps_and_make_up_the_global_batches(
    digits: Manifest, reference: list[RankBatch]
) -> None:
    steps = len(reference)
    parts = [
        take(stream(digits, plan_of(digits), rank=r, world=2, decoder=DECODER, stop_step=steps))
        for r in range(2)
    ]
    assert [len(part) for part in parts] == [steps, steps]
    for whole, first, second in zip(reference, *parts, strict=True):
        assert torch.equal(torch.cat([first.index, second.index]), whole.index)
        assert torch.equal(
            torch.cat([first.data["image"], second.data["image"]]), whole.data["image"]
        )


def test_legs_are_joined_without_a_seam(
    digits: Manifest, reference: list[RankBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    module = sys.modules[stream_function.__module__]
    monkeypatch.setattr(module, "ITEMS_PER_LEG", 3)
    assert same(
        take(stream(digits, plan_of(digits), decoder=DECODER, stop_step=len(reference))), reference
    )
    monkeypatch.setattr(module, "ITEMS_PER_LEG", 1)
    assert same(
        take(stream(digits, plan_of(digits), decoder=DECODER, stop_step=20)), reference[:20]
    )


def test_the_memory_cache_gives_the_same_batches(
    digits: Manifest, reference: list[RankBatch]
) -> None:
    options = {"decoder": DECODER, "stop_step": len(reference), "cache": "memory", "start_step": 3}
    assert same(take(stream(digits, plan_of(digits), **options)), reference[3:])


def test_one_cache_serves_other_processes_and_plans(
    digits: Manifest, reference: list[RankBatch]
) -> None:
    cache = DecodedCache(digits, plan_of(digits), decoder=DECODER, tasks=2)

    decoder, steps, location = DECODER, len(reference), digits.location

    @ray.remote(num_cpus=0.5)
    def train(cache: DecodedCache, plan: Plan) -> list[RankBatch]:
        return list(stream(location, plan, decoder=decoder, stop_step=steps, cache=cache))

    plans = [plan_of(digits), plan_of(digits, seed=2)]
    first, other = ray.get([train.remote(cache, plan) for plan in plans])
    assert same(first, reference)
    assert same(
        other,
        take(
            stream(
                digits,
                plan_of(digits, seed=2),
                decoder=DECODER,
                stop_step=len(reference),
                executor="local",
            )
        ),
    )
    with pytest.raises(
        ResourceError, match=r"data.cache=memory needs \d+ MiB of an object store of 500 MiB"
    ):
        DecodedCache(digits, plan_of(digits), decoder=ImageDecoder(1024))


def test_a_large_batch_travels_in_parts(digits: Manifest) -> None:
    plan = plan_of(digits, batch_size=8)
    options = {"decoder": ImageDecoder(2048), "stop_step": 1}  # 96 MiB, five images a part
    got = take(stream(digits, plan, **options))  # type: ignore[arg-type]
    wanted = take(stream(digits, plan, executor="local", **options))  # type: ignore[arg-type]
    assert got[0].data["image"].shape == (8, 3, 2048, 2048)
    assert same(got, wanted)


def test_closing_early_stops_everything(digits: Manifest) -> None:
    def streaming() -> list[str]:
        names = (thread.name for thread in threading.enumerate())
        return [name for name in names if "StreamingExecutor" in name or name.startswith("manta-")]

    batches = stream(digits, plan_of(digits), decoder=DECODER, stop_step=100_000)
    next(batches)
    assert streaming()
    batches.close()
    deadline = time.monotonic() + 60
    while streaming() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert streaming() == []
    with pytest.raises(StopIteration):
        next(batches)


def test_damage_after_ingest_surfaces_as_one_line(digits: Manifest, tmp_path: Path) -> None:
    location = ingest("digits", tmp_path / "digits").location
    manifest = open_dataset(location)
    shard = Path(location) / manifest.shards[0].path
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(
        DataError, match=r"^\S*shard-00000.parquet cannot be read: .*is the dataset whole\?$"
    ):
        take(stream(manifest, plan_of(manifest), decoder=DECODER, stop_step=3))


def test_an_error_comes_where_its_batch_would_have_come() -> None:
    def make() -> object:
        yield 1
        yield 2
        raise DataError("the third is broken")

    items = Prefetched(make, depth=1)  # type: ignore[arg-type]
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(DataError, match=r"^the third is broken$"):
        next(items)
    with pytest.raises(StopIteration):
        next(items)


def test_a_full_cluster_is_an_error_and_not_a_hang(ray_cluster: str) -> None:
    class Holder:
        def ready(self) -> bool:
            return True

    holder = ray.remote(num_cpus=4)(Holder).remote()
    assert ray.get(holder.ready.remote())
    with pytest.raises(
        ResourceError, match=r"no task of 0.5 CPU could start within 1 s .* of 4 logical CPUs"
    ):
        require_cpu(0.5, timeout=1)
    ray.kill(holder)
    require_cpu(0.5)
    with pytest.raises(ResourceError, match="no task of 8 CPU"):
        require_cpu(8)


def test_a_batch_that_ranks_cannot_share(digits: Manifest) -> None:
    with pytest.raises(ConfigError, match=r"no multiple of resources.workers 5"):
        stream(digits, plan_of(digits), world=5, decoder=DECODER, stop_step=1)


@pytest.mark.parametrize("executor", ["ray", "local"])
def test_splits_are_read_once_with_their_labels(digits: Manifest, executor: str) -> None:
    plan, target = plan_of(digits), load_digits().target
    for split, rows in (
        ("queries", plan.holdout.sample("queries")),
        ("bank", plan.holdout.sample("bank")),
    ):
        parts = [
            list(
                read_split(
                    digits,
                    plan.holdout,
                    split,
                    decoder=DECODER,
                    rank=rank,
                    world=3,
                    executor=executor,
                )
            )  # type: ignore[arg-type]
            for rank in range(3)
        ]
        batches = [batch for part in parts for batch in part]
        index = torch.cat([batch.index for batch in batches]).numpy()
        assert np.array_equal(index, rows)
        assert max(len(batch.index) for batch in batches) <= 512
        assert np.array_equal(
            torch.cat([b.labels for b in batches if b.labels is not None]).numpy(), target[index]
        )
    images = torch.cat([batch.data["image"] for batch in batches])[:, 0].numpy()
    assert np.array_equal(
        images, np.rint(load_digits().images * (255 / 16)).astype(np.uint8)[index]
    )


def test_a_limited_split_is_spread_over_the_data(digits: Manifest) -> None:
    plan = plan_of(digits)
    drawn = [
        torch.cat(
            [b.index for b in read_split(digits, plan.holdout, "bank", limit=100, decoder=DECODER)]
        )
        for _ in range(2)
    ]
    assert torch.equal(drawn[0], drawn[1])
    index = drawn[0].numpy()
    assert len(np.unique(index)) == 100
    assert not np.isin(index, plan.holdout.sample("queries")).any()
    assert np.histogram(index, bins=10, range=(0, digits.rows))[0].min() >= 8
    with pytest.raises(StopIteration):
        next(read_split(digits, Holdout(digits), "queries", decoder=DECODER))


def test_labels_are_absent_where_the_data_have_none(
    ray_cluster: str, tmp_path: Path, make_png: object
) -> None:
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes(make_png(number))  # type: ignore[operator]
    manifest = open_dataset(ingest(tmp_path, tmp_path.parent / "unlabelled").location)
    batches = read_split(manifest, Holdout(manifest, 0.1), "bank", decoder=ImageDecoder(8))
    assert [batch.labels for batch in batches] == [None]
