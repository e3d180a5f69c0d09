"""Device, workers and threads of a study, with ``auto`` resolved for this machine."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import psutil
from joblib import cpu_count

from selfsup.backbones import build_backbone
from selfsup.config.schema import StudyConfig
from selfsup.execution.executors.base import Resources
from selfsup.methods import view_groups_of
from selfsup.training.device import Hardware, choose_hardware, count_devices, require_devices
from selfsup.training.plan import side_step_of

#: Main memory of one worker before it trains anything, and of the activations that one view of
#: 224 x 224 pixels leaves for the backward pass of a ResNet-18 in float32; both in bytes, measured.
WORKER_BYTES = 900e6
ACTIVATION_BYTES = 25e6


def resolve_resources(config: StudyConfig, jobs: int) -> Resources:
    """Device, precision, workers and threads, with ``auto`` resolved for this machine."""
    hardware = choose_hardware(config.device, config.precision)
    cores = cpu_count()
    workers = _auto_workers(config, hardware, cores) if config.workers == "auto" else int(config.workers)
    workers = max(1, min(workers, jobs))
    require_devices(hardware, config.devices)
    threads = config.threads or max(1, cores // (workers * config.devices))
    return Resources(hardware, workers, threads)


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
    networks = dict.fromkeys(source.name for source in config.networks)
    built = [build_backbone(name, image_size=config.side, stem=config.stem) for name in networks]
    for name, backbone in product(config.methods, built):
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
