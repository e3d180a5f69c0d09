"""Workers and threads for this machine."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

import selfsup
from selfsup.config.grid import Cell, Job
from selfsup.config.schema import StudyConfig
from selfsup.config.validation import validate
from selfsup.execution import resources
from selfsup.execution.executors import load_executor
from selfsup.execution.executors.base import Resources
from selfsup.execution.resources import available_memory, resolve_resources, time_precision, views_per_image
from selfsup.training import device
from selfsup.training.device import Hardware


def test_several_devices_of_a_cell_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "cpu_count", lambda: 8)
    wanted = {"device": "cpu", "precision": "fp32", "workers": 2, "methods": "simclr"}
    assert resolve_resources(StudyConfig(**wanted), jobs=10).threads == 4
    assert resolve_resources(StudyConfig(**wanted, devices=2), jobs=10).threads == 2
    auto = {"device": "cpu", "precision": "fp32", "image_size": 16, "methods": "simclr"}
    assert resolve_resources(StudyConfig(**auto, devices=8), jobs=10).workers == 1


def test_cells_one_after_another_have_one_worker_and_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "cpu_count", lambda: 8)
    asked = StudyConfig(device="cpu", precision="fp32", workers=2, methods="simclr")
    found = load_executor("inline").resources(asked, 10, resolve_resources)
    assert (found.workers, found.threads) == (1, 8)


def test_available_memory_is_no_more_than_the_machine_has() -> None:
    assert 0 < available_memory() <= psutil.virtual_memory().total


@pytest.mark.parametrize(("limit", "expected"), [("5000\n", 3000), ("max\n", None), (None, None)])
def test_a_containers_limit_counts_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, limit: str | None, expected: int | None
) -> None:
    files = {"memory.max": limit, "memory.current": "2000\n"}

    def read_text(path: Path) -> str:
        assert path.parent == Path("/sys/fs/cgroup")
        if files[path.name] is None:
            raise FileNotFoundError(path)
        return files[path.name]

    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=9000))
    monkeypatch.setattr(Path, "read_text", read_text)
    assert available_memory() == (expected or 9000)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system knows no affinity")
def test_workers_and_threads_are_for_the_cores_that_the_process_may_use() -> None:
    all_of_them = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [min(all_of_them)])
    try:
        found = resolve_resources(StudyConfig(device="cpu", precision="fp32", image_size=16, methods="simclr"), jobs=10)
    finally:
        os.sched_setaffinity(0, all_of_them)
    assert (found.workers, found.threads) == (1, 1)


def test_small_crops_count_by_their_area() -> None:
    """DINO at 64 px with patches of 16: 2 large views and 6 of 32 px, each a fourth."""
    config = validate({"methods": "random,simclr,dino", "backbones": "test_vit", "image_size": 64})
    assert views_per_image(config) == 2 + 6 / 4
    assert views_per_image(config.model_copy(update={"methods": ("simclr", "supervised")})) == 2
    assert views_per_image(config.model_copy(update={"methods": ("frozen",)})) == 1


BF16 = Resources(Hardware("cpu", "bf16"), workers=1, threads=1)
SMALL = {"backbones": "test_resnet", "image_size": 32}
JOB = Job((Cell("moco", "test_resnet", "weak", 0.1, "all", 0),))
#: Images that 100 epochs in 32 px take minutes for.
MANY = 10_000


@pytest.mark.parametrize(
    ("rates", "chosen"),
    [({"bf16": 63, "fp32": 94}, "fp32"), ({"bf16": 158, "fp32": 92}, "bf16"), ({"bf16": 100, "fp32": 105}, "bf16")],
)
def test_auto_precision_is_what_trains_the_network_clearly_faster(
    monkeypatch: pytest.MonkeyPatch, rates: dict[str, float], chosen: str
) -> None:
    monkeypatch.setattr(resources, "time_precisions", lambda *given, **options: rates)
    hardware = time_precision(StudyConfig(**SMALL, device="cpu"), BF16, [JOB], MANY).hardware
    assert hardware.precision == chosen
    seen = f"{rates['bf16']} in bf16 and {rates['fp32']} in fp32"
    assert hardware.reason.endswith(f" in {chosen} (timed here: {seen}, images of 32 px per second).")


@pytest.mark.parametrize(
    ("values", "hardware", "images"),
    [
        ({"precision": "bf16"}, BF16.hardware, MANY),
        ({}, Hardware("cpu", "fp32"), MANY),
        ({}, Hardware("cuda", "bf16"), MANY),
        ({}, BF16.hardware, 100),
    ],
    ids=["chosen by the user, or stored", "no bf16", "a GPU", "a study of seconds"],
)
def test_nothing_is_timed_where_nothing_is_to_be_gained(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], hardware: Hardware, images: int
) -> None:
    monkeypatch.delattr(resources, "time_precisions")
    given = Resources(hardware, 1, 1)
    assert time_precision(StudyConfig(**SMALL, **values), given, [JOB], images) is given


@pytest.mark.usefixtures("without_pictures")
def test_the_timed_precision_is_the_studys_from_then_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run would find the other one faster, and does not ask."""
    monkeypatch.setattr(device, "_cpu_has_bf16", lambda: True)
    monkeypatch.setattr(resources, "WORTH_TIMING", 0)
    grid = {**SMALL, "image_size": 16, "epochs": 1, "per_class": "2", "augmentations": "weak", "lrs": "0.1"}
    grid |= {"executor": "inline", "device": "cpu", "threads": 1}
    for methods, rates in (("moco", {"bf16": 1, "fp32": 2}), ("moco,simclr", {"bf16": 2, "fp32": 1})):
        monkeypatch.setattr(resources, "time_precisions", lambda *given, rates=rates, **options: rates)
        study = selfsup.compare("digits", out=tmp_path, methods=methods, **grid)
        assert study.config.precision == "fp32"
    assert (study.results.status == "done").all()
