"""Device, workers and threads of a study, with ``auto`` resolved for this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import harmonic_mean

import psutil
import torch
from joblib import cpu_count

from selfsup.config.grid import Job
from selfsup.config.schema import StudyConfig
from selfsup.execution.executors.base import Resources
from selfsup.execution.study_networks import asked_networks
from selfsup.methods import view_groups_of
from selfsup.training.device import Hardware, choose_hardware, count_devices, require_devices
from selfsup.training.plan import side_step_of
from selfsup.training.precision_timing import fastest, time_precisions

#: Main memory of one worker before it trains anything, and of the activations that one view of
#: 224 x 224 pixels leaves for the backward pass of a ResNet-18 in float32; both in bytes, measured.
WORKER_BYTES = 900e6
ACTIVATION_BYTES = 25e6
#: Pixels from which on it pays to time precisions: minutes of a ResNet-18 on a core. Images of 64 px in a timed batch.
WORTH_TIMING, TIMED_IMAGES = 2e8, 16


def resolve_resources(config: StudyConfig, jobs: int, *, given: str = "as configured") -> Resources:
    """Device, precision, workers and threads, with ``auto`` resolved for this machine; `given` says why they are."""
    hardware = choose_hardware(config.device, config.precision, fused=config.fuses, given=given)
    cores = cpu_count()
    workers = _auto_workers(config, hardware, cores) if config.workers == "auto" else int(config.workers)
    workers = max(1, min(workers, jobs))
    require_devices(hardware, config.devices)
    threads = config.threads or max(1, cores // (workers * config.devices))
    return Resources(hardware, workers, threads)


def takes_minutes(config: StudyConfig, resources: Resources, jobs: Sequence[Job], images: int) -> bool:
    """Whether training on so many images takes a CPU minutes, so that seconds may be spent on timing it."""
    trained = sum(job.cells[0].lr is not None for job in jobs) * config.epochs * images * config.side**2
    return resources.hardware.kind == "cpu" and trained >= WORTH_TIMING


def time_precision(config: StudyConfig, resources: Resources, jobs: Sequence[Job], images: int) -> Resources:
    """The resources with the precision that trains the study's networks fastest, where ``auto`` leaves the choice.

    That is on a CPU with instructions for bf16, which not every network gains from. Timing takes seconds, and is
    left out where `jobs` on so many images are over in minutes.
    """
    hardware = resources.hardware
    if config.precision != "auto" or hardware.precision != "bf16" or not takes_minutes(config, resources, jobs, images):
        return resources
    batch = min(config.batch_size, max(8, int(TIMED_IMAGES * (64 / config.side) ** 2)))
    before = torch.get_num_threads()
    torch.set_num_threads(resources.threads)
    try:
        timed = [
            time_precisions(b, ("bf16", "fp32"), side=config.side, images=batch)
            for b in asked_networks(config).values()
        ]
    finally:
        torch.set_num_threads(before)
    rates = {precision: harmonic_mean(rates[precision] for rates in timed) for precision in timed[0]}
    seen = " and ".join(f"{rate:.0f} in {precision}" for precision, rate in rates.items())
    why = f"timed here: {seen}, images of {config.side} px per second"
    return replace(resources, hardware=choose_hardware(config.device, fastest(rates), why=why))


def _auto_workers(config: StudyConfig, hardware: Hardware, cores: int) -> int:
    if hardware.kind != "cpu":
        return max(1, count_devices(hardware.kind) // config.devices)
    views = views_per_image(config) * config.batch_size
    activations = views * (config.side / 224) ** 2 * ACTIVATION_BYTES
    per_worker = WORKER_BYTES + activations * (0.5 if hardware.precision == "bf16" else 1.0)
    # Each process of a cell has its own memory, and all views.
    processes = min(cores, int(0.8 * available_memory() / per_worker))
    return max(1, processes // config.devices)


def views_per_image(config: StudyConfig) -> float:
    """Views of full size that an image comes to in a step of the method that asks for most; small crops by area."""
    most = 1.0
    for name, backbone in product(config.methods, asked_networks(config).values()):
        step = side_step_of(backbone.patch_size)
        groups = view_groups_of(name, config.settings.get(name, {}), backbone)
        most = max(most, sum(group.count * (group.pixels(config.side, step) / config.side) ** 2 for group in groups))
    return most


def available_memory() -> int:
    """Bytes of main memory that can be used now, a container's limit respected where it is known."""
    free = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):
        return free
    return min(free, limit - used)
