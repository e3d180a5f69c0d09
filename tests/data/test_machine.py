"""What the machine has, within the limits that this process is given."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from selfsup.data.machine import available_memory, usable_cores


def test_cores_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert usable_cores() == 3


def test_cores_are_counted_where_the_system_knows_no_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert usable_cores() == 8
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1


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
