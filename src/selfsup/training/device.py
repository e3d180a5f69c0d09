"""Chooses the device, the precision and the threads, and says why in one line."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from dataclasses import dataclass
from typing import Any

import torch
from joblib import cpu_count

from selfsup.errors import UserError

#: Lightning Fabric's names of our precisions.
FABRIC_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}

#: Parameters of glibc's mallopt(3), from malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


@dataclass(frozen=True)
class Hardware:
    """Where and in which arithmetic cells are trained.

    Attributes
    ----------
    device : str
        ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
    precision : {"fp32", "bf16", "fp16"}
        Of the forward and backward pass; weights, losses and optimizer stay in float32.
    reason : str
        One line for people.
    """

    device: str
    precision: str
    reason: str = ""

    @property
    def kind(self) -> str:
        """``"cpu"``, ``"cuda"`` or ``"mps"``."""
        return self.device.partition(":")[0]

    def fabric(self) -> Any:
        """A Lightning Fabric on this hardware, launched."""
        from lightning_fabric.plugins.environments.lightning import LightningEnvironment

        index = self.device.partition(":")[2]
        # Inside an allocation of Slurm's, Fabric would take its number of tasks for the number of processes of a cell.
        return self.launch([int(index)] if index else 1, LightningEnvironment())

    def launch(self, devices: Any, environment: Any, **options: Any) -> Any:
        """A Lightning Fabric on these devices, launched; `environment` says which processes it joins."""
        from lightning_fabric import Fabric

        for name in ("lightning.fabric", "lightning_fabric"):
            # It would announce the precision at every training; `reason` says it once.
            logging.getLogger(name).setLevel(logging.WARNING)
        precision: Any = FABRIC_PRECISION[self.precision]
        fabric = Fabric(accelerator=self.kind, devices=devices, precision=precision, plugins=[environment], **options)
        fabric.launch()
        return fabric


def choose_hardware(
    device: str, precision: str, *, fused: bool = False, given: str = "as configured", why: str | None = None
) -> Hardware:
    """Resolve ``auto`` to what this machine has, and `fused` trainings can do.

    `given` says why it is to be any other device or precision, and `why` why that precision.

    Raises
    ------
    UserError
        If the device is not there, or cannot do the precision.
    """
    chosen = _best_device() if device == "auto" else device
    _require_present(chosen)
    kind = chosen.partition(":")[0]
    if precision == "fp16" and kind == "cpu":
        raise UserError("--precision fp16 needs a GPU; on a CPU use bf16 or fp32, or leave it at auto.")
    how, why = (precision, why or given) if precision != "auto" else _best_precision(kind, fused)
    where = "the best device here" if device == "auto" else given
    return Hardware(chosen, how, f"Training on {_describe(chosen)} ({where}) in {how} ({why}).")


def count_devices(kind: str) -> int:
    """Number of devices of a kind; a CPU counts as one."""
    return torch.cuda.device_count() if kind == "cuda" else 1


def require_devices(hardware: Hardware, count: int) -> None:
    """Check that this machine has the devices that a cell is to be trained on.

    Raises
    ------
    UserError
        If it has fewer, or the kind of device cannot be joined.
    """
    if count == 1 or hardware.kind == "cpu":
        return
    if hardware.kind == "mps":
        raise UserError(f"--devices {count} is for CUDA devices and CPUs, not for mps; use --devices 1.")
    there = count_devices(hardware.kind) - int(hardware.device.partition(":")[2] or 0)
    if there < count:
        raise UserError(
            f"--devices {count} is more than this machine has from {hardware.device} on ({there}); use --devices "
            f"{there}."
        )


def make_deterministic(threads: int) -> None:
    """Fix all that could make two runs of one cell differ on one machine."""
    torch.set_num_threads(threads)
    # cuBLAS reads this when CUDA starts; without it, matrix products may differ between runs.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Warn, not fail: a timm network with an operation that has no deterministic form still trains.
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a debugging aid that costs time
    torch.backends.cudnn.benchmark = False


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, for its next step, where the C library is glibc.

    Every step allocates the same activations again. Given back to the system in between, they cost a
    page fault per 4 KB: a tenth of the training step of a ResNet-18 on a CPU (docs/performance.md).
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 2**26)


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _require_present(device: str) -> None:
    kind, _, index = device.partition(":")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count <= int(index or 0):
            raise UserError(f"--device {device} is not on this machine ({count} CUDA devices); use --device auto.")
    elif kind == "mps" and not torch.backends.mps.is_available():
        raise UserError("--device mps is not on this machine; use --device auto.")


def _best_precision(kind: str, fused: bool) -> tuple[str, str]:
    if kind == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "this GPU computes in bf16"
        if fused:
            return "fp32", "this GPU has no bf16, and fused trainings no fp16"
        return "fp16", "this GPU has no bf16"
    if kind == "cpu" and _cpu_has_bf16():
        return "bf16", "this CPU has bf16 instructions"
    return "fp32", "no fast bf16 here"


def _cpu_has_bf16() -> bool:
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None) or getattr(
        torch.cpu, "_is_amx_tile_supported", None
    )
    return bool(supported and supported())


def _describe(device: str) -> str:
    if device.startswith("cuda"):
        return f"{device}, {torch.cuda.get_device_name(torch.device(device))}"
    return "the Apple GPU" if device == "mps" else f"the CPU, {cpu_count()} cores"
