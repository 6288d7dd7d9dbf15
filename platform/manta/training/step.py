"""Optimizer step on one rank, free of Ray and files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from manta.batch import Batch, Progress
from manta.config import Experiment
from manta.modalities import Stats
from manta.objectives import Objective
from manta.ragged import Data, moved, rows_of
from manta.training.batchnorm import synchronise
from manta.training.optimizer import build_optimizer, set_schedules

SMALLEST_IN_BF16 = 24
"""Smallest side of a view, in pixels, that "auto" computes in bf16 on a CPU; `resolve_precision`
has the reason."""


SHOWN = 8
"""Samples whose views of the first step are kept, for the run's page."""


class TrainStep:
    """Optimizer step on one rank: views, forward, backward, update.

    Args:
        experiment: configuration of the run.
        objective: the objective to train, on `device`.
        total_steps: optimizer steps of the whole run.
        stats: of the dataset.

    Attributes:
        first_views: of a few samples of the run's first step, on the CPU; None before it, and in a
            process that has not done it.
    """

    def __init__(
        self,
        experiment: Experiment,
        objective: Objective[Any],
        *,
        device: torch.device,
        total_steps: int,
        stats: Stats | None = None,
    ) -> None:
        config = experiment.train
        self.experiment = experiment
        self.device = device
        self.total_steps = total_steps
        self.distributed = (
            dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        )
        self.rank = dist.get_rank() if self.distributed else 0
        self.channels_last = config.channels_last
        if config.channels_last:
            _to_channels_last(objective)
        # Before the model is wrapped and the optimizer is built: the conversion may replace modules
        # to which these two would hold on.
        self.objective = synchronise(objective)
        if config.compile:
            self.objective.encoder.compile()
        self.model: nn.Module = self._parallel() if self.distributed else self.objective
        self.modality = experiment.modality(stats)
        self.views = self.modality.views(experiment.views, objective.needs)
        self.optimizer = build_optimizer(self.objective, experiment.optimizer)
        self.first_views: Batch | None = None
        self.precision = resolve_precision(config.precision, device, smallest=self.views.smallest)

    def __call__(self, data: Mapping[str, Data], index: Tensor, step: int) -> dict[str, Tensor]:
        """Train on this rank's rows of global batch `step`.

        Args:
            data: leaves of the decoded rows by name, on any device.
            index: `[b]` int64.

        Returns:
            Detached scalars on the device, by name: "loss", the objective's terms, "gradient_norm",
            and, on the CPU, "lr" and "weight_decay".
        """
        config = self.experiment.train
        progress = Progress(step, self.total_steps, config.seed)
        data = moved(data, self.device)
        index = index.to(self.device, non_blocking=True)
        scheduled = set_schedules(self.optimizer, self.experiment.optimizer, step, self.total_steps)
        terms: dict[str, Tensor] = {}
        for batch, last in self._micro_batches(data, index, progress):
            if step == 0 and self.first_views is None:
                # By places, which copies: a slice would hold the whole batch.
                shown = torch.arange(min(SHOWN, len(batch)), device=self.device)
                self.first_views = batch.rows(shown).to("cpu")
            with self._maybe_unsynchronised(last), self.autocast():
                losses = self.model(batch, progress)
                (losses["loss"] / config.accumulate).backward()
            for name, value in losses.items():
                share = value.detach() / config.accumulate
                terms[name] = terms[name] + share if name in terms else share
        limit = config.clip if config.clip is not None else float("inf")
        terms["gradient_norm"] = nn.utils.clip_grad_norm_(self.objective.parameters(), limit)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        # After the update, because momentum teachers follow the new weights.
        self.objective.after_step(progress)
        return terms | {name: torch.tensor(value) for name, value in scheduled.items()}

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """Return the context of mixed precision that the run uses."""
        return torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"
        )

    def _micro_batches(
        self, data: Mapping[str, Data], index: Tensor, progress: Progress
    ) -> Iterator[tuple[Batch, bool]]:
        parts = self.experiment.train.accumulate
        size = len(index) // parts
        cuts = [slice(part * size, (part + 1) * size) for part in range(parts)]
        for part, batch in enumerate(self._viewed(data, index, progress, cuts)):
            views = [replace(view, data=self._in_memory_order(view.data)) for view in batch]
            yield Batch(views, batch.index), part == parts - 1

    def _viewed(
        self, data: Mapping[str, Data], index: Tensor, progress: Progress, cuts: Sequence[slice]
    ) -> Iterator[Batch]:
        """Yield the views of each cut of this rank's rows.

        They are cut from the views of all rows, since a sample's may be made with another sample;
        where each is made alone, only those of one cut are held at a time.
        """
        first = self.rank * len(index)

        def views_of(here: slice) -> Batch:
            return self.views(
                rows_of(data, here),
                index[here],
                seed=progress.seed,
                step=progress.step,
                rows=slice(first + here.start, first + here.stop),
                global_batch=self.experiment.train.batch_size,
            )

        if len(cuts) == 1 or self.views.rows_are_independent:
            yield from map(views_of, cuts)
            return
        whole = views_of(slice(0, len(index)))
        yield from map(whole.rows, cuts)

    def _in_memory_order(self, data: Data) -> Data:
        """Return a view's data in the order in which the encoder computes fastest."""
        if not isinstance(data, Tensor):
            return data
        is_map = self.channels_last and data.ndim == 4
        order = torch.channels_last if is_map else torch.contiguous_format
        return data.contiguous(memory_format=order)

    def _parallel(self) -> DistributedDataParallel:
        return DistributedDataParallel(
            self.objective,
            device_ids=[self.device.index] if self.device.type == "cuda" else None,
            # Buffers are equal on all ranks without it: BatchNorm statistics are synchronised, and
            # teachers follow the same rule everywhere.
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
        )

    def _maybe_unsynchronised(self, last: bool) -> contextlib.AbstractContextManager[None]:
        # Gradients add up over the micro-batches; ranks exchange them once, with the last one.
        if isinstance(self.model, DistributedDataParallel) and not last:
            return self.model.no_sync()
        return contextlib.nullcontext()


def _to_channels_last(module: nn.Module) -> None:
    """Put weights of four axes into channels-last order; torch refuses those of three and five."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)


def resolve_precision(
    precision: str, device: torch.device, *, smallest: int | None
) -> Literal["bf16", "float32"]:
    """Return the precision; "auto" is bf16 if the hardware multiplies in it, else float32.

    Args:
        smallest: side of the smallest view, in pixels; None: views are no grids. Below 24 pixels,
            networks that divide it by 32 end in maps of one pixel. For these, oneDNN leaves parts
            of a weight's bf16 gradient unwritten (torch 2.15, AMX), so "auto" then chooses float32
            on a CPU.
    """
    if precision == "auto":
        is_large = smallest is None or smallest >= SMALLEST_IN_BF16
        sound = device.type != "cpu" or is_large
        return "bf16" if sound and _multiplies_bf16(device) else "float32"
    return "bf16" if precision == "bf16" else "float32"


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
