"""Cache of decoded row groups in Ray's object store.

Rows are decoded once; after that every epoch and every process reads them in place.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import ray

from manta.data import _blocks
from manta.data.arrays import RowIndexes
from manta.data.engine import cluster_cpus, default_tasks, generate, require_cpu
from manta.data.manifest import Manifest
from manta.data.plan import Plan
from manta.data.read import decode_rows, read_rows
from manta.errors import ConfigError, DataError, ResourceError
from manta.failures import own_error
from manta.leaves import Columns, concatenated, most_bytes, size_in_bytes, take
from manta.modalities import Decoder

_GROUPS_PER_TASK = 16
_FULL = 0.7
"""Fraction of the object store that a cache may fill; the rest is for batches in transit."""
_SAMPLE_ROWS = 16
"""Rows that are decoded to know how much memory all of them will take, where lengths differ."""


class DecodedCache:
    """Cache of all rows of a plan, decoded in one way, in Ray objects that this process owns.

    It is filled in the background, in the order in which `epoch` needs the row groups, so the first
    batch does not wait for the last row. Pickling waits until it is complete; the copy is valid for
    as long as the process that built the cache lives.

    Raises:
        ConfigError: the decoder draws, so that a decoded row is of one epoch alone.
        ResourceError: the decoded rows do not fit into the object store, or no CPU is free.
    """

    def __init__(
        self,
        manifest: Manifest,
        plan: Plan,
        *,
        decoder: Decoder,
        epoch: int = 0,
        tasks: int | None = None,
        cpus_per_task: float = 0.5,
    ) -> None:
        if decoder.draws:
            raise ConfigError(
                "data.cache=memory keeps every row as it was decoded once, and these are decoded "
                "anew in each epoch, another part of them; set data.cache=none"
            )
        self.decoder = decoder
        self.rows = plan.rows
        self.digest = manifest.digest
        self._starts = manifest.group_starts
        self._places: dict[int, tuple[Any, int]] = {}  # row group -> (block, row of it)
        self._failure: BaseException | None = None
        self._changed = threading.Condition()
        cluster_cpus()
        need = plan.rows * _bytes_per_row(manifest, plan, decoder)
        have = ray.cluster_resources().get("object_store_memory", 0.0)
        if need > _FULL * have:
            raise ResourceError(
                f"data.cache=memory needs {need / 2**20:.0f} MiB of an object store of "
                f"{have / 2**20:.0f} MiB; set data.cache=none, lower data.limit, or start Ray with "
                "--object-store-memory"
            )
        require_cpu(cpus_per_task)
        groups = plan.groups_first_needed(epoch)
        self._groups = len(groups)
        work = (manifest, groups, tasks or default_tasks(), cpus_per_task)
        threading.Thread(target=self._build, args=work, name="manta-cache", daemon=True).start()

    def steps(self, indexes: RowIndexes) -> Iterator[Columns]:
        """Yield the leaves of b rows for each row of `[steps, b]` indexes, as copies.

        Waits for the row groups of all these steps if they are still being decoded.
        """
        groups = np.searchsorted(self._starts, indexes, side="right") - 1
        offsets = indexes - self._starts[groups]
        decoded = self._fetch(np.unique(groups).tolist())
        for group, offset in zip(groups, offsets, strict=True):
            yield self._step(group, offset, decoded)

    def _step(self, group: RowIndexes, offset: RowIndexes, decoded: dict[int, Columns]) -> Columns:
        """Return the rows at `[b]` places of `[b]` row groups."""
        layout = self.decoder.layout
        dense = {
            name: np.empty((len(group), *leaf.inner), dtype=leaf.dtype)
            for name, leaf in layout.items()
            if not leaf.ragged
        }
        ragged = {name: leaf for name, leaf in layout.items() if leaf.ragged}
        places, parts = [], []
        for one in np.unique(group).tolist():
            mine = np.flatnonzero(group == one)
            for name, out in dense.items():
                out[mine] = decoded[one][name][offset[mine]]
            places.append(mine)
            parts.append(take({name: decoded[one][name] for name in ragged}, offset[mine]))
        if not ragged:
            return {**dense}
        by_group = concatenated(ragged, parts)
        return {**dense, **take(by_group, np.argsort(np.concatenate(places)))}

    def wait(self) -> None:
        """Wait until every row is decoded."""
        with self._changed:
            self._changed.wait_for(
                lambda: len(self._places) == self._groups or self._failure is not None
            )
        self._raise()

    def __getstate__(self) -> dict[str, Any]:
        # Another process gets no notice of later row groups, so only a complete cache travels.
        self.wait()
        return {key: value for key, value in self.__dict__.items() if key != "_changed"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state | {"_changed": threading.Condition()}

    def _fetch(self, groups: list[int]) -> dict[int, Columns]:
        """Return views into the object store by row group; wait for those not yet decoded."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._failure is not None or all(group in self._places for group in groups)
            )
        self._raise()
        refs = list({self._places[group][0] for group in groups})
        blocks = dict(zip(refs, ray.get(refs), strict=True))
        views = {}
        for group in groups:
            ref, row = self._places[group]
            _, _, views[group] = _blocks.unpack(blocks[ref], row, self.decoder.layout)
        return views

    def _raise(self) -> None:
        if self._failure is not None:
            raise own_error(self._failure) or self._failure

    def _build(self, manifest: Manifest, groups: RowIndexes, tasks: int, cpus: float) -> None:
        """Decode the row groups in the given order, and record where each lies."""
        # Local names, because Ray pickles `decode` with everything that it refers to.
        decoder, rows = self.decoder, self.rows

        def decode(batch: dict[str, Any]) -> Iterator[Any]:
            for start, stop in zip(batch["start"].tolist(), batch["stop"].tolist(), strict=True):
                for group in groups[start:stop]:
                    first, last = manifest.group_starts[group : group + 2]
                    indexes = np.arange(first, min(last, rows))
                    encoded = read_rows(manifest, indexes).data
                    data = decode_rows(manifest, indexes, encoded, decoder)
                    yield _blocks.pack(int(group), indexes, data)

        try:
            cuts = range(0, len(groups), _GROUPS_PER_TASK)
            items = [
                {"start": cut, "stop": min(cut + _GROUPS_PER_TASK, len(groups))} for cut in cuts
            ]
            dataset = generate(items, decode, block_bytes=1 << 20, cpus=cpus, tasks=tasks)
            # Blocks arrive in the order of `groups` (`generate` preserves it), so the row groups
            # in them are known without reading a block.
            waiting = iter(groups.tolist())
            for bundle in dataset.iter_internal_ref_bundles():
                for entry in bundle.blocks:
                    with self._changed:
                        for row in range(entry.metadata.num_rows):
                            self._places[next(waiting)] = entry.ref, row
                        self._changed.notify_all()
            if len(self._places) != self._groups:
                raise DataError("the decoded cache is incomplete; set data.cache=none")
        except BaseException as error:
            with self._changed:
                self._failure = error
                self._changed.notify_all()


def _bytes_per_row(manifest: Manifest, plan: Plan, decoder: Decoder) -> float:
    """Return the size of a decoded row; where lengths differ, the mean of some rows."""
    layout = decoder.layout
    if not any(leaf.ragged for leaf in layout.values()):
        return most_bytes(layout)
    rows = np.unique(np.linspace(0, plan.rows - 1, _SAMPLE_ROWS).astype(np.int64))
    data = decode_rows(manifest, rows, read_rows(manifest, rows).data, decoder)
    return size_in_bytes(data) / len(rows)
