"""Which precision trains a network fastest on this CPU, from a few timed steps."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from selfsup.backbones import Backbone

#: How much faster than the first choice another must be: what two timings of one thing may differ by.
CLEARLY = 1.1
#: Most steps that are timed, after one to warm up; the fastest counts, for other work only slows. The precisions take
#: turns, so that a busy moment slows them all.
TIMED_STEPS = 3
#: How much faster the first choice must be in one step for no more to be timed.
BEYOND_DOUBT = 1.5
#: Images of the step that warms up: most of what makes a first step slow is there once, whatever its images.
FEW_IMAGES = 8


def time_precisions(backbone: Backbone, precisions: Sequence[str], *, side: int, images: int) -> dict[str, float]:
    """Images per second of the forward and backward pass in each precision, with torch's present number of threads.

    Parameters
    ----------
    backbone : Backbone
        On the CPU; stays as it is.
    precisions : sequence of {"fp32", "bf16"}
    side, images : int
        Side of the views in pixels, and images of a batch.
    """
    batch = torch.rand(images, backbone.in_channels, side, side, generator=torch.Generator().manual_seed(0))
    batch = batch.contiguous(memory_format=torch.channels_last)  # as views are
    network: Backbone = copy.deepcopy(backbone).train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    seconds = dict.fromkeys(precisions, math.inf)
    for name in precisions:
        _step(network, batch[:FEW_IMAGES], name)
    for _ in range(TIMED_STEPS):
        seconds = {name: min(seconds[name], _step(network, batch, name)) for name in precisions}
        first, *others = seconds.values()
        if min(others) > BEYOND_DOUBT * first:
            break
    return {name: images / seconds[name] for name in precisions}


def fastest(rates: dict[str, float]) -> str:
    """The first precision, or the fastest where that is clearly faster."""
    first, best = next(iter(rates)), max(rates, key=lambda precision: rates[precision])
    return best if rates[best] > CLEARLY * rates[first] else first


def _step(network: Backbone, batch: Tensor, precision: str) -> float:
    """Seconds of a forward and backward pass."""
    started = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        loss = network(batch).float().square().mean()
    loss.backward()
    return time.perf_counter() - started
