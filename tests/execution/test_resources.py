"""Workers and threads for this machine."""

from __future__ import annotations

import pytest

from selfsup.config.schema import StudyConfig
from selfsup.execution import resources
from selfsup.execution.resources import resolve_resources


def test_several_devices_of_a_cell_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "usable_cores", lambda: 8)
    wanted = {"device": "cpu", "precision": "fp32", "workers": 2}
    assert resolve_resources(StudyConfig(**wanted), jobs=10).threads == 4
    assert resolve_resources(StudyConfig(**wanted, devices=2), jobs=10).threads == 2
    auto = {"device": "cpu", "precision": "fp32", "image_size": 16}
    assert resolve_resources(StudyConfig(**auto, devices=8), jobs=10).workers == 1
