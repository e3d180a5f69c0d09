"""The hardware that is chosen, why, and what is said where it is not there."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from selfsup.errors import UserError
from selfsup.training import device
from selfsup.training.device import Hardware, choose_hardware, count_devices, make_deterministic, require_devices


def machine(
    monkeypatch: pytest.MonkeyPatch, *, gpus: int = 0, gpu_bf16: bool = True, mps: bool = False, cpu_bf16: bool = False
) -> None:
    """Let torch report this hardware."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: gpu_bf16)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"Accelerator {torch.device(index).index or 0}")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(device, "_cpu_has_bf16", lambda: cpu_bf16)
    monkeypatch.setattr(device, "cpu_count", lambda: 6)


@pytest.mark.parametrize(
    ("here", "chosen"),
    [
        ({}, ("cpu", "fp32")),
        ({"cpu_bf16": True}, ("cpu", "bf16")),
        ({"mps": True, "cpu_bf16": True}, ("mps", "fp32")),
        ({"gpus": 1}, ("cuda", "bf16")),
        ({"gpus": 1, "gpu_bf16": False}, ("cuda", "fp16")),
        ({"gpus": 2, "mps": True}, ("cuda", "bf16")),
    ],
)
def test_auto_takes_the_fastest_that_is_here(
    monkeypatch: pytest.MonkeyPatch, here: dict, chosen: tuple[str, str]
) -> None:
    machine(monkeypatch, **here)
    hardware = choose_hardware("auto", "auto")
    assert (hardware.device, hardware.precision) == chosen


@pytest.mark.parametrize(
    ("here", "asked", "reason"),
    [
        ({}, ("auto", "auto"), "Training on the CPU, 6 cores (the best device here) in fp32 (no fast bf16 here)."),
        (
            {"cpu_bf16": True},
            ("cpu", "auto"),
            "Training on the CPU, 6 cores (as configured) in bf16 (this CPU has bf16 instructions).",
        ),
        ({"gpus": 2}, ("cuda:1", "fp32"), "Training on cuda:1, Accelerator 1 (as configured) in fp32 (as configured)."),
        (
            {"gpus": 1, "gpu_bf16": False},
            ("auto", "auto"),
            "Training on cuda, Accelerator 0 (the best device here) in fp16 (this GPU has no bf16).",
        ),
        ({"mps": True}, ("mps", "auto"), "Training on the Apple GPU (as configured) in fp32 (no fast bf16 here)."),
    ],
)
def test_the_choice_is_explained_in_one_line(
    monkeypatch: pytest.MonkeyPatch, here: dict, asked: tuple[str, str], reason: str
) -> None:
    machine(monkeypatch, **here)
    assert choose_hardware(*asked).reason == reason


@pytest.mark.parametrize(
    ("here", "asked", "sentence"),
    [
        ({}, ("cuda", "auto"), "--device cuda is not on this machine (0 CUDA devices); use --device auto."),
        (
            {"gpus": 1},
            ("cuda:1", "auto"),
            "--device cuda:1 is not on this machine (1 CUDA devices); use --device auto.",
        ),
        (
            {"gpus": 2},
            ("cuda:2", "fp32"),
            "--device cuda:2 is not on this machine (2 CUDA devices); use --device auto.",
        ),
        ({"gpus": 1}, ("mps", "auto"), "--device mps is not on this machine; use --device auto."),
        (
            {},
            ("auto", "fp16"),
            "--precision fp16 needs a GPU; on a CPU use bf16 or fp32, or leave it at auto.",
        ),
    ],
)
def test_what_is_not_here_is_refused_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch, here: dict, asked: tuple[str, str], sentence: str
) -> None:
    machine(monkeypatch, **here)
    with pytest.raises(UserError) as refusal:
        choose_hardware(*asked)
    assert str(refusal.value) == sentence


def test_what_was_asked_for_is_taken_even_if_it_is_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, gpus=1, cpu_bf16=False)
    assert choose_hardware("cpu", "bf16").device == "cpu"
    assert choose_hardware("cpu", "bf16").precision == "bf16"


def test_this_machine_has_some_hardware() -> None:
    hardware = choose_hardware("auto", "auto")
    assert hardware.kind in {"cpu", "cuda", "mps"}
    assert hardware.reason.startswith("Training on ")
    assert "\n" not in hardware.reason


@pytest.mark.parametrize(("name", "kind"), [("cpu", "cpu"), ("cuda", "cuda"), ("cuda:3", "cuda")])
def test_the_kind_of_a_device_is_its_name_without_the_number(name: str, kind: str) -> None:
    assert Hardware(name, "fp32").kind == kind


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_fabric_computes_in_the_precision_and_keeps_weights_in_float32(precision: str, dtype: torch.dtype) -> None:
    fabric = Hardware("cpu", precision).fabric()
    seen = []
    module = nn.Linear(2, 2)
    module.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    fabric.setup(module)(torch.ones(1, 2))
    assert fabric.device.type == "cpu"
    assert seen == [dtype]
    assert module.weight.dtype == torch.float32


def test_devices_are_counted_by_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, gpus=3)
    assert (count_devices("cuda"), count_devices("cpu"), count_devices("mps")) == (3, 1, 1)


@pytest.fixture
def _flags_restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "given")
    benchmark, fill = torch.backends.cudnn.benchmark, torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark, torch.utils.deterministic.fill_uninitialized_memory = benchmark, fill


@pytest.mark.usefixtures("_flags_restored")
def test_make_deterministic_fixes_threads_and_algorithms_and_respects_the_environment() -> None:
    torch.backends.cudnn.benchmark = True
    make_deterministic(2)
    assert torch.get_num_threads() == 2
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.backends.cudnn.benchmark
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == "given"


def test_an_allocation_of_slurms_does_not_make_a_cell_more_than_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "8", "SLURM_JOB_NAME": "x", "SLURM_PROCID": "3"}.items():
        monkeypatch.setenv(name, value)
    fabric = Hardware("cpu", "fp32").fabric()
    assert (fabric.world_size, fabric.global_rank) == (1, 0)


@pytest.mark.parametrize(
    ("device_name", "count", "sentence"),
    [
        ("cuda", 3, r"--devices 3 is more than this machine has from cuda on \(2\); use --devices 2"),
        ("cuda:1", 2, r"--devices 2 is more than this machine has from cuda:1 on \(1\); use --devices 1"),
        ("mps", 2, r"--devices 2 is for CUDA devices and CPUs"),
    ],
)
def test_devices_that_are_not_there_are_refused(
    monkeypatch: pytest.MonkeyPatch, device_name: str, count: int, sentence: str
) -> None:
    machine(monkeypatch, gpus=2)
    with pytest.raises(UserError, match=sentence):
        require_devices(Hardware(device_name, "fp32"), count)
    require_devices(Hardware(device_name, "fp32"), 1)
    require_devices(Hardware("cpu", "fp32"), count)


def test_fused_trainings_are_left_no_precision_that_they_cannot_have(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, gpus=1, gpu_bf16=False)
    assert choose_hardware("auto", "auto", fused=True).precision == "fp32"
    machine(monkeypatch, gpus=1)
    assert choose_hardware("auto", "auto", fused=True).precision == "bf16"
