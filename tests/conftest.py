"""What every test starts from: one thread and one seed; a loaded machine fails no property test."""

from __future__ import annotations

import os

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("selfsup", deadline=None)
hypothesis.settings.load_profile("selfsup")
torch.set_num_threads(1)
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing here is to look for weights that are not on this machine


@pytest.fixture(autouse=True)
def _same_start() -> None:
    """A test that sets threads or draws random numbers changes nothing for the next one."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
