"""Fine-tuning trains a copy of the backbone with the labels it is given, chooses on val, quotes on test."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from selfsup.config.validation import validate
from selfsup.errors import Interrupted
from selfsup.evaluation.evaluation_context import EvaluationContext, Part, TrainedNetwork
from selfsup.evaluation.evaluators.finetune import fine_tune
from selfsup.testing.backbones import tiny_backbone
from selfsup.training.callbacks import Callbacks
from selfsup.training.device import Hardware

DATA = load_digits()
LABELS = DATA.target.astype(np.int64)
TRAIN, VAL, TEST = np.arange(0, 200), np.arange(200, 300), np.arange(300, 500)
SETTINGS = {"finetune_epochs": 6, "batch_size": 32, "image_size": 8, "warmup_epochs": 0, "finetune_lrs": (0.03, 0.1)}


class Digits:
    """The handwritten digits, 8 x 8 pixels; notes which were asked for."""

    def __init__(self) -> None:
        self.pixels = torch.from_numpy(DATA.images * 15).byte().unsqueeze(1).expand(-1, 3, -1, -1)
        self.asked: set[int] = set()

    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        self.asked |= set(indices.tolist())
        return self.pixels[indices], torch.full((len(indices), 2), 8)


def context(labels: np.ndarray = LABELS, *, subset=TRAIN, val=VAL, callbacks=lambda name: Callbacks(), **settings):  # type: ignore[no-untyped-def]
    """A tiny network as it is at first, and the parts of the digits that fine-tuning sees of."""
    torch.manual_seed(3)
    config = validate({**SETTINGS, **settings})
    backbone = tiny_backbone()
    backbone.image_size = config.side
    network = TrainedNetwork(backbone, Digits(), labels, TEST, config, Hardware("cpu", "fp32").fabric(), "cpu")
    nothing = np.empty((0, 0), np.float32)
    parts = (Part(part, nothing, labels[part]) for part in (subset, val, TEST))
    return EvaluationContext(*parts, tuple("0123456789"), 0, subset, network, callbacks)


def tune(*args, **settings) -> dict[str, float]:  # type: ignore[no-untyped-def]
    return dict(fine_tune(context(*args, **settings)).values)


def test_it_learns_and_leaves_the_backbone_as_it_was() -> None:
    cell = context(finetune_epochs=25)
    before = copy.deepcopy(cell.network.backbone.state_dict())
    assert fine_tune(cell).values["finetune_accuracy"] > 0.4
    assert all(torch.equal(value, before[name]) for name, value in cell.network.backbone.state_dict().items())


def test_a_teacher_is_fine_tuned_like_any_other_network() -> None:
    """A momentum encoder takes no gradient; its copy does."""
    cell = context()
    expected = fine_tune(cell).values
    cell.network.backbone.requires_grad_(False)
    assert fine_tune(cell).values == expected
    assert not any(parameter.requires_grad for parameter in cell.network.backbone.parameters())


def test_more_labels_are_better() -> None:
    few, many = (tune(subset=subset, finetune_epochs=25)["finetune_accuracy"] for subset in (TRAIN[:20], TRAIN))
    assert many > few


def test_the_rate_is_chosen_on_validation_and_the_test_labels_decide_nothing() -> None:
    small, large = (tune(finetune_lrs=(lr,), finetune_epochs=10) for lr in (1e-6, 0.1))
    assert small["finetune_val_accuracy"] < large["finetune_val_accuracy"]
    assert tune(finetune_lrs=(1e-6, 0.1), finetune_epochs=10) == large
    # With the test labels wrong, all but the test accuracy stays.
    wrong = LABELS.copy()
    wrong[TEST] = (wrong[TEST] + 1) % 10
    cheated = tune(wrong, finetune_lrs=(1e-6, 0.1), finetune_epochs=10)
    assert cheated | {"finetune_accuracy": large["finetune_accuracy"]} == large
    assert cheated["finetune_accuracy"] <= 1 - large["finetune_accuracy"]


def test_of_equally_good_rates_the_smallest_is_chosen() -> None:
    assert tune(finetune_lrs=(1e-12, 1e-13))["finetune_lr"] == 1e-13


def test_only_the_labels_that_it_is_given_are_trained_on() -> None:
    """With the labels of all other images removed, but for val and test, nothing changes."""
    hidden = np.full(len(LABELS), -1)
    for part in (TRAIN, VAL, TEST):
        hidden[part] = LABELS[part]
    cell = context(hidden)
    assert dict(fine_tune(cell).values) == tune()
    assert cell.network.images.asked == set(np.concatenate([TRAIN, VAL, TEST]).tolist())


def test_without_validation_images_the_smallest_rate_is_taken() -> None:
    tuned = tune(val=np.empty(0, np.int64), finetune_lrs=(0.1, 0.03))
    assert tuned["finetune_lr"] == 0.03
    assert np.isnan(tuned["finetune_val_accuracy"])


def test_rates_that_diverge_are_passed_over() -> None:
    assert tune(finetune_lrs=(0.03, 1e30))["finetune_lr"] == 0.03
    assert tune(finetune_lrs=(1e30,)) == {}


class Stopping(Callbacks):
    """Stops after some steps, and keeps the checkpoint."""

    def __init__(self, after: int | None = None, state: dict | None = None) -> None:
        self.after, self.state, self.steps = after, state, 0

    def load_checkpoint(self) -> dict | None:
        return self.state

    def save_checkpoint(self, state: dict) -> None:
        self.state = copy.deepcopy(state)

    def should_stop(self) -> bool:
        self.steps += 1
        return self.steps == self.after


@pytest.mark.parametrize("after", [1, 7, 20])
def test_interrupted_and_resumed_is_as_if_it_never_was(after: int) -> None:
    callbacks = {"finetune0.03": Stopping(), "finetune0.1": Stopping(after)}
    with pytest.raises(Interrupted):
        tune(callbacks=callbacks.__getitem__)
    resumed = {name: Stopping(state=known.state) for name, known in callbacks.items()}
    assert tune(callbacks=resumed.__getitem__) == tune()
