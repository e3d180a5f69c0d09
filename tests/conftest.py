"""What every test starts from: one thread and one seed; a loaded machine fails no property test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import torch
from tests.undrawn import undrawn

from selfsup import registry

hypothesis.settings.register_profile("selfsup", deadline=None)
hypothesis.settings.load_profile("selfsup")
torch.set_num_threads(1)
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing here is to look for weights that are not on this machine


@pytest.fixture(autouse=True)
def _same_start() -> None:
    """A test that sets threads, draws random numbers or plugs something in changes nothing for the next one."""
    registry.unplug()
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def without_pictures() -> Iterator[None]:
    """For a test of numbers: the studies that it runs draw nothing (see `undrawn`)."""
    with undrawn():
        yield


@pytest.fixture
def hub_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Point this process to a hub, with an empty cache."""
    from huggingface_hub import constants

    def point(address: str) -> None:
        for proxy in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(proxy, raising=False)
            monkeypatch.delenv(proxy.upper(), raising=False)
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )

    return point
