"""Workers and threads for this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from selfsup.config.schema import StudyConfig
from selfsup.config.validation import validate
from selfsup.execution import resources
from selfsup.execution.resources import available_memory, resolve_resources, views_per_image


def test_several_devices_of_a_cell_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "cpu_count", lambda: 8)
    wanted = {"device": "cpu", "precision": "fp32", "workers": 2}
    assert resolve_resources(StudyConfig(**wanted), jobs=10).threads == 4
    assert resolve_resources(StudyConfig(**wanted, devices=2), jobs=10).threads == 2
    auto = {"device": "cpu", "precision": "fp32", "image_size": 16}
    assert resolve_resources(StudyConfig(**auto, devices=8), jobs=10).workers == 1


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
    code = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "from selfsup.config.schema import StudyConfig\n"
        "from selfsup.execution.resources import resolve_resources\n"
        "found = resolve_resources(StudyConfig(device='cpu', precision='fp32', image_size=16), jobs=10)\n"
        "print(found.workers, found.threads)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1 1\n"


def test_small_crops_count_by_their_area() -> None:
    """DINO at 64 px with patches of 16: 2 large views and 6 of 32 px, each a fourth."""
    config = validate({"methods": "random,simclr,dino", "backbones": "test_vit", "image_size": 64})
    assert views_per_image(config) == 2 + 6 / 4
    assert views_per_image(config.model_copy(update={"methods": ("simclr", "supervised")})) == 2
    assert views_per_image(config.model_copy(update={"methods": ("frozen",)})) == 1
