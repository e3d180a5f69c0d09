"""How fast things are on a device: our loop, any call, and the share of it in which the device is busy."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

import fuse
from selfsup.backbones import Backbone
from selfsup.training.batches import Loading
from selfsup.training.callbacks import Callbacks
from selfsup.training.device import Hardware, keep_freed_memory, make_deterministic
from selfsup.training.loop import Training
from selfsup.training.state import EpochLog

NETWORKS = {"simclr": "resnet18", "dino": "vit_tiny_patch16_224", "mae": "vit_tiny_patch16_224"}
TINY_NETWORKS = {"resnet18": "test_resnet", "vit_tiny_patch16_224": "test_vit"}
PLAIN, FAST = Loading(), Loading(resident=True, ahead=True, steps=8)


class Watch(Callbacks):
    """Notes when each epoch ended, and pauses the training when it has run for some seconds, at least two epochs."""

    def __init__(self, seconds: float) -> None:
        self.marks: list[float] = []
        self._seconds = seconds

    def on_epoch_end(self, log: EpochLog, epochs: int) -> None:
        self.marks.append(time.perf_counter())  # the epoch's sums were read, so the device has done

    def should_pause(self, epoch: int, backbone: Backbone) -> bool:
        return len(self.marks) > 1 and self.marks[-1] - self.marks[0] >= self._seconds


def training(
    given: argparse.Namespace,
    method: str,
    size: int,
    *,
    loading: Loading | None = None,
    graphs: bool = False,
    watch: Callbacks | None = None,
) -> Training:
    """A training of a method by its own recipe, on random pictures."""
    asked = argparse.Namespace(
        method=method,
        backbone=network(given, NETWORKS[method]),
        images=given.images,
        batch_size=given.batch_size,
        image_size=size,
        epochs=10_000,
    )
    return fuse.training(0, Hardware(given.device, "bf16"), asked, watch or Callbacks(), loading or PLAIN, graphs)


def network(given: argparse.Namespace, name: str) -> str:
    """The network of this name, or its stand-in where nothing counts."""
    return TINY_NETWORKS[name] if given.tiny else name


def rate(given: argparse.Namespace, method: str, size: int, loading: Loading, *, graphs: bool = False) -> float:
    """Images per second of our loop: the median of its epochs, the first left out."""
    watch = Watch(given.seconds)
    training(given, method, size, loading=loading, watch=watch, graphs=graphs).run()
    return given.images / median(np.diff(watch.marks))


def settle(given: argparse.Namespace) -> None:
    """Wait for the device."""
    if given.device.startswith("cuda"):
        torch.cuda.synchronize()


def seconds_of(given: argparse.Namespace, call: Callable[[], object]) -> float:
    """Seconds of a call: median over groups of ten, each waited for, after a warm-up."""
    number = 1 if given.tiny else 10
    found: list[float] = []
    begun = time.perf_counter()
    while len(found) < 3 or time.perf_counter() - begun < given.seconds:
        settle(given)
        started = time.perf_counter()
        for _ in range(number):
            call()
        settle(given)
        found.append((time.perf_counter() - started) / number)
    return median(found[1:])


def busy_seconds(given: argparse.Namespace, call: Callable[[], object], number: int = 5) -> float:
    """Seconds of a call in which the device computes or copies, whatever it waits for in between; NaN on a CPU."""
    if not given.device.startswith("cuda"):
        return float("nan")
    call()
    settle(given)
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        for _ in range(number):
            call()
        settle(given)
    spans = sorted(
        (event.time_range.start, event.time_range.end)
        for event in seen.events()
        if event.device_type == torch.autograd.DeviceType.CUDA and not getattr(event, "is_user_annotation", False)
    )
    busy, until = 0.0, float("-inf")
    for start, end in spans:  # of several streams at once, each moment counts once
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return busy / 1e6 / number


def steps_of(made: Training) -> Callable[[], None]:
    """Takes the next step of a training each time it is called."""
    steps = made.steps()
    request = next(steps)

    def take() -> None:
        nonlocal request
        request = steps.send(made.take(request))

    return take


def set_up(given: argparse.Namespace) -> None:
    """As a worker does."""
    keep_freed_memory()
    make_deterministic(1 if given.tiny else min(8, os.cpu_count() or 1))
