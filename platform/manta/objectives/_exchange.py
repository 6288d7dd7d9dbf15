"""Communication between ranks that makes a loss the global batch's, with matching gradients.

Training averages parameter gradients over ranks (as DistributedDataParallel does). Every rank
returns a loss whose mean over ranks is the global loss, and the operations here carry gradients
across ranks:

* `gather` concatenates over ranks in rank order; its backward sums every rank's gradient of this
  rank's rows.
* `mean` averages over ranks; its backward averages the ranks' gradients.
* `total` sums over ranks; its backward sums the ranks' gradients.

Without a process group, or with one rank, all are the identity.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor

from manta.errors import ConfigError


class Exchange(Enum):
    """Kinds of data that an objective's ranks share; declared on the class and enforced on use."""

    LOCAL = "local"  # nothing: the loss is a mean over samples
    GATHER = "gather"  # embeddings: every sample is compared with every other
    STATISTICS = "statistics"  # sums over samples: means, variances, correlations


class Communicator:
    """The only way in which objectives talk to other ranks."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    @property
    def world(self) -> int:
        """Return the number of ranks."""
        return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1

    @property
    def rank(self) -> int:
        """Return this process's rank, 0 without a process group."""
        return dist.get_rank() if self.world > 1 else 0

    def gather(self, x: Tensor) -> Tensor:
        """Return every rank's rows, `[B, ...] -> [W * B, ...]`, differentiable.

        Rows of this rank begin at `rank * B`.
        """
        self._permit(Exchange.GATHER)
        return cast(Tensor, _Gather.apply(x)) if self.world > 1 else x

    def mean(self, x: Tensor) -> Tensor:
        """Return the average over ranks, elementwise, differentiable."""
        self._permit(Exchange.STATISTICS, Exchange.GATHER)
        return cast(Tensor, _AllReduce.apply(x)) / self.world if self.world > 1 else x

    def total(self, x: Tensor) -> Tensor:
        """Return the sum over ranks, elementwise, differentiable."""
        self._permit(Exchange.STATISTICS, Exchange.GATHER)
        return cast(Tensor, _AllReduce.apply(x)) if self.world > 1 else x

    def _permit(self, *allowed: Exchange) -> None:
        """Raise ConfigError unless the objective declares one of the `allowed` exchanges."""
        if self.exchange not in allowed:
            raise ConfigError(
                f"this objective declares exchange {self.exchange.name} "
                f"but communicates as {allowed[0].name}; correct its `exchange`"
            )


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        # all_gather copies memory as it lies, so sender and receiver must agree on the layout.
        x = x.contiguous()
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x)
        ctx.rows = x.shape[0]
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0]
        if grad.is_cuda:
            own = grad.new_empty(ctx.rows, *grad.shape[1:])
            dist.reduce_scatter_tensor(own, grad.contiguous())
            return own
        # A copy, since autograd may hand the same tensor to another node.
        grad = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)  # gloo has no reduce-scatter
        return grad.narrow(0, dist.get_rank() * ctx.rows, ctx.rows)


class _AllReduce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        return grad
