"""What holds on a CPU holds on a GPU: results, resuming, and that no step waits for the device.

Skipped where there is no CUDA; `SELFSUP_TEST_DEVICE=cpu` runs the same tests on a CPU, which shows that they work.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.small_heads import SMALL_HEADS
from torch import Tensor

import selfsup
from selfsup.backbones import build_backbone
from selfsup.errors import Interrupted
from selfsup.evaluation.embedding import embed
from selfsup.methods import Method, method_class, method_names
from selfsup.testing.digit_batches import SIDE, batch_of_digits
from selfsup.testing.methods import build
from selfsup.training.batches import Loading
from selfsup.training.callbacks import Callbacks
from selfsup.training.device import Hardware, make_deterministic
from selfsup.training.diagnostics import step_signals
from selfsup.training.fused import train_together
from selfsup.training.loop import Training
from selfsup.training.plan import TrainingPlan
from selfsup.training.state import Outcome
from selfsup.views import load_policy
from selfsup.views.base import PUT_ASIDE, to_device

DEVICE = os.environ.get("SELFSUP_TEST_DEVICE", "cuda")
TRAINED = [name for name in method_names() if method_class(name).tags.trains]
IMAGES = 96
WITH_GRAPHS = pytest.param(True, marks=pytest.mark.skipif(DEVICE == "cpu", reason="CUDA graphs need CUDA"))
GRAPHS = pytest.mark.parametrize("graphs", [False, WITH_GRAPHS])
LOADINGS = [Loading(), Loading(resident=True, ahead=True), Loading(resident=True, ahead=True, steps=2)]

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(autouse=True)
def _deterministic() -> Iterator[None]:
    """As a worker sets up, and with all digits of float32, which convolutions on a GPU do not have by default."""
    make_deterministic(1)
    tf32, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    yield
    torch.backends.cudnn.allow_tf32 = tf32
    torch.use_deterministic_algorithms(False)


class Digits:
    """The digits as the training loop asks for images."""

    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        (view,), _ = batch_of_digits(1, size=int(indices.max()) + 1)
        return (view[indices] * 255).byte(), torch.full((len(indices), 2), SIDE)


def built(name: str, **settings: Any) -> Method:
    return build(method_class(name), **{**SMALL_HEADS.get(name, {}), **settings})


def training_of(
    method: Method,
    device: str = DEVICE,
    *,
    precision: str = "fp32",
    callbacks: Callbacks | None = None,
    loading: Loading | None = None,
    graphs: bool = False,
    lr: float = 0.01,
) -> Training:
    """Two epochs of three steps each."""
    plan = TrainingPlan(epochs=2, batch_size=IMAGES // 3, image_size=SIDE, lr=lr, seed=0)
    labels = batch_of_digits(1, size=IMAGES)[1].numpy()
    fabric = Hardware(device, precision).fabric()
    policy = load_policy("simclr")
    return Training(method, Digits(), np.arange(IMAGES), labels, policy, plan, fabric, callbacks, loading, graphs)


def losses(outcome: Outcome) -> list[float]:
    return [line.loss for line in outcome.state.log]


@GRAPHS
@pytest.mark.parametrize("name", TRAINED)
def test_a_training_ends_as_on_a_cpu(name: str, graphs: bool) -> None:
    # Plain steps: Adam would make a step of its own of gradients that are nothing but rounding.
    here, there = built(name, optimizer="sgd"), built(name, optimizer="sgd")
    expected, found = training_of(here, "cpu").run(), training_of(there, graphs=graphs).run()
    assert losses(found) == pytest.approx(losses(expected), rel=1e-3)
    for key, value in here.state_dict().items():
        torch.testing.assert_close(there.state_dict()[key].cpu(), value, rtol=1e-2, atol=1e-3, msg=key)


@contextmanager
def waiting_is_an_error() -> Iterator[None]:
    if DEVICE == "cpu":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@GRAPHS
@pytest.mark.parametrize("loading", LOADINGS, ids=str)
@pytest.mark.parametrize(
    ("name", "optimizer"),
    [*((name, "sgd") for name in TRAINED), *(("simclr", optimizer) for optimizer in ("adam", "adamw", "lars"))],
)
def test_no_step_waits_for_the_device(name: str, optimizer: str, loading: Loading, graphs: bool) -> None:
    method = built(name, optimizer=optimizer, clip=1.0)
    training = training_of(method, precision="bf16", loading=loading, graphs=graphs)
    for step in range(3):
        request = training.batches.request(step)
        if step == 0:  # libraries begin
            take(training, request)
            continue
        with waiting_is_an_error():
            take(training, request)


def take(training: Training, request: Any) -> None:
    result = training.take(request)
    step_signals(result)
    training.method.after_step(training._progress(request.step + 1))


@pytest.mark.parametrize("loading", LOADINGS[1:], ids=str)
@pytest.mark.parametrize("name", ["simclr", "dino", "mae"])
def test_batches_are_the_same_however_images_come(name: str, loading: Loading) -> None:
    plain, other = (training_of(built(name), loading=way).batches for way in (LOADINGS[0], loading))
    for step in range(6):
        expected, found = plain.get(plain.request(step)), other.get(other.request(step))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


class StopAfter(Callbacks):
    """Stops after some number of steps, and has the checkpoint of the stop."""

    def __init__(self, steps: int = 0, checkpoint: dict[str, Any] | None = None) -> None:
        self.left, self.checkpoint = steps, checkpoint

    def load_checkpoint(self) -> dict[str, Any] | None:
        return self.checkpoint

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        self.checkpoint = copy.deepcopy(state)

    def should_stop(self) -> bool:
        self.left -= 1
        return self.left == 0


@GRAPHS
@pytest.mark.parametrize("loading", [LOADINGS[0], LOADINGS[-1]], ids=str)
@pytest.mark.parametrize("name", TRAINED)
def test_a_training_stopped_and_resumed_ends_as_if_it_never_was(name: str, loading: Loading, graphs: bool) -> None:
    whole, piece, rest = built(name), built(name), built(name)
    expected = training_of(whole, precision="bf16", loading=loading, graphs=graphs).run()
    stopping = StopAfter(4)
    with pytest.raises(Interrupted):
        training_of(piece, precision="bf16", callbacks=stopping, loading=loading, graphs=graphs).run()
    resumed = StopAfter(checkpoint=stopping.checkpoint)
    found = training_of(rest, precision="bf16", callbacks=resumed, loading=loading, graphs=graphs).run()
    assert losses(found) == losses(expected)
    for key, value in whole.state_dict().items():
        assert torch.equal(rest.state_dict()[key], value), key


@pytest.mark.skipif(DEVICE == "cpu", reason="CUDA graphs need CUDA")
@pytest.mark.parametrize("name", [name for name in TRAINED if name != "dino"])  # which learns from two calls
def test_graphs_change_no_digit_of_a_network_that_learns_from_one_call(name: str) -> None:
    plain, recorded = (built(name), built(name))
    training_of(plain, precision="bf16").run()
    training_of(recorded, precision="bf16", graphs=True).run()
    for key, value in plain.state_dict().items():
        assert torch.equal(recorded.state_dict()[key], value), key


def test_what_is_on_the_device_is_not_sent_again() -> None:
    device = torch.device(DEVICE)
    there = torch.zeros(PUT_ASIDE + 1, dtype=torch.uint8, device=device)
    assert to_device(there, device).data_ptr() == there.data_ptr()


@pytest.mark.parametrize("name", TRAINED)
def test_bf16_trains_to_almost_the_same_loss(name: str) -> None:
    exact, rough = training_of(built(name)).run(), training_of(built(name), precision="bf16").run()
    assert rough.status == "done"
    assert losses(rough) == pytest.approx(losses(exact), rel=0.05)


def test_fused_trainings_end_as_alone() -> None:
    lrs = (0.01, 0.03)
    alone = [training_of(built("simclr"), lr=lr).run() for lr in lrs]
    together = train_together([training_of(built("simclr"), lr=lr, loading=LOADINGS[-1]) for lr in lrs])
    for one, other in zip(alone, together, strict=True):
        assert losses(other) == pytest.approx(losses(one), rel=1e-3)


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_embeddings_are_those_of_a_cpu(name: str) -> None:
    torch.backends.cudnn.allow_tf32 = True  # as torch has it
    torch.manual_seed(0)
    backbone = build_backbone(name, image_size=32)
    there = copy.deepcopy(backbone)
    expected = embed(backbone, Digits(), np.arange(IMAGES), image_size=32, device="cpu")
    found = embed(there, Digits(), np.arange(IMAGES), image_size=32, device=DEVICE)
    assert np.linalg.norm(found - expected) <= 1e-3 * np.linalg.norm(expected)


def test_a_study_runs_to_its_report(tmp_path: Path) -> None:
    study = selfsup.compare(
        "digits",
        out=tmp_path / "study",
        methods=["simclr", "dino"],
        lrs=["1x", "3x"],
        per_class=[10],
        seeds=1,
        epochs=2,
        backbone="test_resnet",
        image_size=16,
        fuse=2,
        evaluate=["probe", "attentive", "layers"],
        device=DEVICE,
        executor="inline",
    )
    assert set(study.results["status"]) == {"done"}
    assert study.results[["attentive_accuracy", "layer"]].notna().all(axis=None)
    assert study.report().exists()
