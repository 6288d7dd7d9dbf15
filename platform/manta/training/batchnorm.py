"""BatchNorm over the global batch, on any backend.

With local statistics the loss depends on how many ranks share a batch. PyTorch's SyncBatchNorm
needs a GPU; this one also runs on gloo, so that an experiment gives the same curve on a laptop and
on a cluster.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from manta.objectives import Communicator, Exchange

M = TypeVar("M", bound=nn.Module)
_COMM = Communicator(Exchange.GATHER)


class _GlobalStatistics:
    """Mixin for a BatchNorm class whose training statistics cover the elements of all ranks."""

    def forward(self, x: Tensor) -> Tensor:
        norm = cast(Any, self)
        if not norm.training and norm.running_mean is not None:
            return cast(Tensor, super().forward(x))  # type: ignore[misc]
        axes = [0, *range(2, x.ndim)]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        wide = x if x.dtype == torch.float64 else x.float()
        # A single exchange for all statistics, since each one waits for the slowest rank. The
        # global variance is the mean of the ranks' own variances plus the variance of their means,
        # each rank counted by its elements: packed tokens are not equally many on all ranks.
        own = wide.mean(axes)
        centred = wide - own.view(shape)
        count = torch.full_like(own, x.numel() // x.shape[1])
        sent = torch.stack([own, centred.square().mean(axes), count])
        means, variances, counts = _COMM.gather(sent.unsqueeze(0)).unbind(1)
        counts = counts.detach()
        weights = counts / counts.mean(0)  # exactly 1 where all ranks have as many
        mean = (weights * means).mean(0)
        variance = (weights * (variances + (means - mean).square())).mean(0)
        if norm.training and norm.track_running_stats:
            rows = int(counts[:, 0].sum())
            _update_running(norm, mean.detach(), variance.detach(), rows=rows)
        scale = torch.rsqrt(variance + norm.eps)
        if norm.affine:
            scale = scale * norm.weight
        offset = (own - mean) * scale
        if norm.affine:
            offset = offset + norm.bias
        out = torch.addcmul(offset.view(shape), centred, scale.view(shape))
        return _activate(norm, out.to(x.dtype))


@torch.no_grad()
def _update_running(norm: Any, mean: Tensor, variance: Tensor, *, rows: int) -> None:
    norm.num_batches_tracked += 1
    momentum = norm.momentum if norm.momentum is not None else 1.0 / float(norm.num_batches_tracked)
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), momentum)
    unbiased = variance * rows / max(rows - 1, 1)
    norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), momentum)


def _activate(norm: Any, x: Tensor) -> Tensor:
    """Apply the dropout and activation that timm fuses into its norm layers."""
    for part in ("drop", "act"):
        layer = getattr(norm, part, None)
        if isinstance(layer, nn.Module):
            x = layer(x)
    return x


_classes: dict[type[nn.Module], type[nn.Module]] = {}


def _synchronised_class(kind: type[nn.Module]) -> type[nn.Module]:
    """Return the synchronised subclass of a class; always the same, so that types stay equal."""
    if kind not in _classes:
        _classes[kind] = type(f"Synchronised{kind.__name__}", (_GlobalStatistics, kind), {})
    return _classes[kind]


def synchronise(module: M) -> M:
    """Make every BatchNorm below `module` use global statistics, in place, and return the module.

    Parameters and state keep their names. With a single rank nothing changes. On CUDA this uses
    PyTorch's fused SyncBatchNorm, by timm's conversion, which keeps fused activations.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return module
    if any(parameter.is_cuda for parameter in module.parameters()):
        from timm.layers import convert_sync_batchnorm

        return cast(M, convert_sync_batchnorm(module))
    for child in module.modules():
        if isinstance(child, _BatchNorm) and not isinstance(child, _GlobalStatistics):
            object.__setattr__(child, "__class__", _synchronised_class(type(child)))
    return module
