"""One batch over several processes: each puts its rows through the backbone, all compute the same loss.

What is drawn for a batch is drawn for all of it, batch normalisation is over all of it, and heads, losses and queues
see all of it. So a method is written once, for one device, and loss and gradients are those of one device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from selfsup.backbones.backbone import replaced_calls
from selfsup.seeding import derive_seed


class Shards:
    """Which rows of a batch are this process's, and how the whole is put together; one process has all rows.

    Parameters
    ----------
    fabric : lightning_fabric.Fabric, optional
        Launched; says how many processes there are and which this is. Without it there is one.
    """

    def __init__(self, fabric: Any = None) -> None:
        self.rank: int = fabric.global_rank if fabric else 0
        self.count: int = fabric.world_size if fabric else 1
        self._decisions = getattr(fabric, "decisions", None)

    def rows(self, images: int) -> slice:
        """This process's rows of a batch: shares that differ in size by at most one, the larger ones first."""
        return self._share(self.rank, images)

    def gather(self, mine: Tensor, images: int) -> Tensor:
        """All rows of the batch, in order, from each process's own; the gradient flows back to them.

        Parameters
        ----------
        mine : Tensor
            Shape (rows of this process, ...).
        images : int
            Rows of the whole batch.
        """
        if self.count == 1:
            return mine
        gathered: Tensor = _Gather.apply(mine, self, images)  # type: ignore[no-untyped-call]
        return gathered

    def agree(self, flag: bool) -> bool:
        """The first process's `flag`, in all processes."""
        return bool(self.broadcast(float(flag)))

    def broadcast(self, value: float | None) -> float | None:
        """The first process's `value`, in all processes."""
        if self.count == 1:
            return value
        sent = torch.tensor([torch.nan if value is None else value], dtype=torch.float64)  # no GPU to wait for
        dist.broadcast(sent, src=0, group=self._decisions)
        found = float(sent.item())
        return None if found != found else found

    @contextmanager
    def backbones(self, method: nn.Module) -> Iterator[None]:
        """Within, every backbone of `method` takes a whole batch and computes this process's rows alone."""
        calls = iter(range(2**31))
        if self.count == 1:
            yield
            return
        with replaced_calls(method, lambda backbone, name: partial(self._share_call, getattr(backbone, name), calls)):
            yield

    def _share_call(self, call: Callable[..., Any], calls: Iterator[int], images: Tensor, **rest: Tensor) -> Any:
        rows = self.rows(len(images))
        # Dropout must differ between the shares, and leave what is drawn later the same in all processes.
        with torch.random.fork_rng([images.device] if images.is_cuda else []), SynchronisedNorms():
            torch.manual_seed(derive_seed(torch.initial_seed(), "shard", next(calls), self.rank))
            mine = call(images[rows], **{name: value[rows] for name, value in rest.items()})
        if isinstance(mine, Tensor):
            return self.gather(mine, len(images))
        return type(mine)(*(self.gather(part, len(images)) for part in mine))

    def _share(self, rank: int, images: int) -> slice:
        least, larger = divmod(images, self.count)
        start = rank * least + min(rank, larger)
        return slice(start, start + least + (rank < larger))

    def _collect(self, mine: Tensor, images: int) -> Tensor:
        most = -(-images // self.count)  # equal shares, as the collective wants them: padded
        padded = F.pad(mine.contiguous(), (0, 0) * (mine.ndim - 1) + (0, most - len(mine)))
        shares = [torch.empty_like(padded) for _ in range(self.count)]
        dist.all_gather(shares, padded)
        sizes = (self._share(rank, images) for rank in range(self.count))
        return torch.cat([share[: rows.stop - rows.start] for share, rows in zip(shares, sizes, strict=True)])


class _Gather(torch.autograd.Function):
    """Rows of all processes.

    All processes compute the same loss from what is gathered, so each already has the gradient of every row. Those
    who average gradients over the processes divide by their number; here it is put in.
    """

    @staticmethod
    def forward(ctx: Any, mine: Tensor, shards: Shards, images: int) -> Tensor:
        ctx.shards, ctx.images = shards, images
        return shards._collect(mine, images)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        return gradient[ctx.shards.rows(ctx.images)] * ctx.shards.count, None, None


class SynchronisedNorms(TorchFunctionMode):
    """Within, batch normalisation takes its statistics from the rows of all processes, on any device.

    torch's SyncBatchNorm is for GPUs alone, and does not know the subclasses of batch normalisation that timm's
    networks have. All of them call ``torch.nn.functional.batch_norm``.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        replaced = _batch_norm if func is F.batch_norm else func
        return replaced(*args, **(kwargs or {}))


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """:func:`torch.nn.functional.batch_norm` over the rows of all processes."""
    if not training:
        return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    normal, mean, var, count = _Normalise.apply(x, eps)  # type: ignore[no-untyped-call]
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(var * count / (count - 1).clamp(min=1), momentum)
    if weight is not None:
        normal = normal * _per_channel(weight, x)
    if bias is not None:
        normal = normal + _per_channel(bias, x)
    return normal.to(x.dtype)  # type: ignore[no-any-return]


class _Normalise(torch.autograd.Function):
    """Zero mean and unit variance per channel over all processes, in float32 (Ioffe & Szegedy 2015, algorithm 1)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        values = x.float()
        sums = torch.cat([_sum(values), values.new_tensor([x.numel() // x.shape[1]])])
        dist.all_reduce(sums)
        count = sums[-1]
        mean = sums[:-1] / count
        centred = values - _per_channel(mean, x)
        # From the mean and not from the squares' mean, whose difference cancels.
        squares = _sum(centred.square())
        dist.all_reduce(squares)
        var = squares / count
        scale = (var + eps).rsqrt()
        normal = centred * _per_channel(scale, x)
        ctx.save_for_backward(normal, scale, count)
        ctx.mark_non_differentiable(mean, var, count)
        ctx.kind = x.dtype
        return normal, mean, var, count

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        normal, scale, count = ctx.saved_tensors
        means = torch.stack([_sum(gradient), _sum(gradient * normal)])
        dist.all_reduce(means)
        constant, along = (means / count).unbind()
        through = gradient - _per_channel(constant, gradient) - normal * _per_channel(along, gradient)
        return (through * _per_channel(scale, gradient)).to(ctx.kind), None


def _sum(x: Tensor) -> Tensor:
    """Sum per channel, shape (channels,)."""
    return x.sum(dim=[d for d in range(x.ndim) if d != 1])


def _per_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.float().view(1, -1, *[1] * (like.ndim - 2))
