"""Parts of a batch that fit the cache, and the views they are written to."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

# Bytes of one working copy of a part. On a CPU, a part and its temporaries stay in the second-level
# cache; on an accelerator, the bound only keeps memory in check.
CPU_BYTES = 768 * 1024
DEVICE_BYTES = 256 * 1024**2


def parts(images: Tensor, out_size: int) -> Iterator[slice]:
    """Slices that cover the batch, in order."""
    if images.device.type == "cpu":
        budget, pixels = CPU_BYTES, out_size**2
    else:
        budget, pixels = DEVICE_BYTES, max(out_size**2, images.shape[2] * images.shape[3])
    step = max(1, budget // (pixels * images.shape[1] * 4))
    for start in range(0, len(images), step):
        yield slice(start, start + step)


def empty_views(images: Tensor, out_size: int) -> Tensor:
    """Memory for the views of a batch: float32, channels-last."""
    shape = (len(images), images.shape[1], out_size, out_size)
    return torch.empty(shape, device=images.device, memory_format=torch.channels_last)
