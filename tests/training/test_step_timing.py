"""What is timed is what a training does, without what a training imports."""

from __future__ import annotations

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from selfsup.methods import method_class
from selfsup.testing.methods import build
from selfsup.training.device import Hardware
from selfsup.training.loop import Training
from selfsup.training.plan import TrainingPlan
from selfsup.training.step_timing import time_steps
from selfsup.views import load_policy

PLAN = TrainingPlan(3, batch_size=8, image_size=16, lr=0.05, seed=0, schedule="constant")
POLICY = load_policy("weak")
PLANNED = """
import sys
from selfsup.cli.commands import main
study = "--backbone test_resnet --methods simclr --references none --image-size 16 --epochs 1"
main(["plan", "digits", *study.split()], standalone_mode=False)
assert "timm" in sys.modules
assert "lightning_fabric" not in sys.modules
"""


class Pixels:
    """A store of eight random images."""

    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        pixels = torch.randint(256, (8, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        return pixels[indices], torch.full((len(indices), 2), 16)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["simclr", "byol", "dino", "supervised"])
def test_timed_steps_leave_the_weights_of_a_training(name: str, precision: str) -> None:
    """Momentum encoders, centres and a frozen last layer included; what is only watched or logged is not."""
    timed = build(method_class(name))
    trained, hardware = copy.deepcopy(timed), Hardware("cpu", precision)
    seconds = time_steps(timed, Pixels(), POLICY, PLAN, hardware)
    assert len(seconds) == 3
    assert min(seconds) > 0
    indices = np.arange(8)
    Training(trained, Pixels(), indices, indices % 10, POLICY, PLAN, hardware.fabric()).run()
    for key, weights in trained.state_dict().items():
        assert torch.equal(timed.state_dict()[key], weights), key


def test_a_plan_does_not_import_fabric() -> None:
    """That would import torchmetrics where it is installed, which takes a second."""
    subprocess.run([sys.executable, "-c", PLANNED], check=True, capture_output=True)
