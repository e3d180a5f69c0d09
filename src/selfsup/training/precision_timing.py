"""Which precision trains a network fastest on this CPU, from a few timed steps."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from selfsup.backbones import Backbone

#: How much faster than the first choice another must be: what two timings of one thing may differ by.
CLEARLY = 1.1
#: Steps that are timed, after one to warm up; the fastest counts, for other work only slows. The precisions take turns,
#: so that a busy moment slows them all.
TIMED_STEPS = 2


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
    rounds = [{name: _step(network, batch, name) for name in precisions} for _ in range(1 + TIMED_STEPS)]
    return {name: images / min(taken[name] for taken in rounds[1:]) for name in precisions}


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
