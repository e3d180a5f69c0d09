"""A server of S3's kind on this machine, and a cache folder for every machine that a test plays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.s3_server import Server, server

__all__ = ["Server", "server"]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Go on as another machine: one with a cache of its own."""

    def become(name: str) -> Path:
        monkeypatch.setenv("SELFSUP_CACHE", str(tmp_path / name))
        return tmp_path / name

    become("here")
    return become
