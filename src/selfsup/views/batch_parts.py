"""Working on a part of a batch: one that fits the cache, or the images that an operation falls on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from selfsup.views.base import to_device

# Bytes of one working copy of a part. On a CPU small, so that the working copies stay in the
# second-level cache, and the allocator reuses their memory and does not ask the system for new
# pages; yet large enough that calling torch costs little beside computing (measured at 32 px). On
# an accelerator the bound only keeps memory in check.
CPU_BYTES = 1024**2
DEVICE_BYTES = 256 * 1024**2


def in_parts(images: Tensor, params: Any, out_size: int, compute: Callable[[Tensor, Any, int], Tensor]) -> Tensor:
    """Views of a batch, computed part by part.

    Parameters
    ----------
    images : Tensor
        Shape (n, channels, height, width).
    params : PerImage
    out_size : int
        Side of the view in pixels.
    compute : callable
        Gets some of the images, their parameters and `out_size`; gives their views.
    """
    shape = (len(images), images.shape[1], out_size, out_size)
    views = torch.empty(shape, device=images.device, memory_format=torch.channels_last)
    if images.device.type == "cpu":
        budget, pixels = CPU_BYTES, out_size**2
    else:
        budget, pixels = DEVICE_BYTES, max(out_size**2, images.shape[2] * images.shape[3])
    step = max(1, budget // (pixels * images.shape[1] * 4))
    for start in range(0, len(images), step):
        part = slice(start, start + step)
        views[part] = compute(images[part], params[part], out_size)
    return views


def change_some_(images: Tensor, chosen: Tensor, change: Callable[[Tensor], object]) -> None:
    """Call `change`, which works in place, on the images at `chosen`, in that order.

    Parameters
    ----------
    images : Tensor
        Shape (n, ...).
    chosen : Tensor
        Distinct indices, shape (m,), int64, on the CPU.
    change : callable
        Gets a tensor of shape (m, ...); not called if m is 0.
    """
    if len(chosen) == 0:
        return
    if len(images) == 1:
        change(images)
        return
    index = to_device(chosen, images.device)
    some = images.index_select(0, index)
    change(some)
    images.index_copy_(0, index, some)
