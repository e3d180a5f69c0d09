"""Fine-tuning trains a copy of the backbone with the labels it is given, chooses on val, quotes on test."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from selfsup.backbones.networks import Backbone
from selfsup.errors import Interrupted
from selfsup.evaluation.evaluators.finetune import FineTuned, fine_tune
from selfsup.testing.methods import tiny_backbone
from selfsup.training.device import Hardware
from selfsup.training.loop import NoCallbacks, TrainingPlan

DATA = load_digits()
LABELS = DATA.target.astype(np.int64)
TRAIN, VAL, TEST = np.arange(0, 200), np.arange(200, 300), np.arange(300, 500)
PLAN = TrainingPlan(epochs=6, batch_size=32, image_size=8, lr=0.1, seed=0)


class Digits:
    """The handwritten digits, 8 x 8 pixels; notes which were asked for."""

    def __init__(self) -> None:
        self.pixels = torch.from_numpy(DATA.images * 15).byte().unsqueeze(1).expand(-1, 3, -1, -1)
        self.asked: set[int] = set()

    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        self.asked |= set(indices.tolist())
        return self.pixels[indices], torch.full((len(indices), 2), 8)


def start() -> Backbone:
    torch.manual_seed(3)
    return tiny_backbone()


def tune(backbone: Backbone, labels: np.ndarray = LABELS, **options) -> FineTuned | None:  # type: ignore[no-untyped-def]
    given = {
        "images": Digits(),
        "labels": labels,
        "train_on": TRAIN,
        "val": VAL,
        "test": TEST,
        "num_classes": 10,
        "lrs": (0.03, 0.1),
        "plan": PLAN,
        "fabric": Hardware("cpu", "fp32").fabric(),
        "callbacks": lambda lr: NoCallbacks(),
    }
    return fine_tune(backbone, **{**given, **options})


def test_it_learns_and_leaves_the_backbone_as_it_was() -> None:
    backbone = start()
    before = copy.deepcopy(backbone.state_dict())
    tuned = tune(backbone, plan=replace(PLAN, epochs=25))
    assert tuned.test_accuracy > 0.4
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_more_labels_are_better() -> None:
    plan = replace(PLAN, epochs=25)
    assert tune(start(), plan=plan).test_accuracy > tune(start(), plan=plan, train_on=TRAIN[:20]).test_accuracy


def test_the_rate_is_chosen_on_validation_and_the_test_labels_decide_nothing() -> None:
    plan = replace(PLAN, epochs=25)
    alone = {lr: tune(start(), lrs=(lr,), plan=plan) for lr in (1e-6, 0.1)}
    assert alone[1e-6].val_accuracy < alone[0.1].val_accuracy
    assert tune(start(), lrs=(1e-6, 0.1), plan=plan) == alone[0.1]
    # With the test labels wrong, all but the test accuracy stays.
    wrong = LABELS.copy()
    wrong[TEST] = (wrong[TEST] + 1) % 10
    cheated = tune(start(), wrong, lrs=(1e-6, 0.1), plan=plan)
    assert (cheated.lr, cheated.val_accuracy) == (0.1, alone[0.1].val_accuracy)
    assert cheated.test_accuracy <= 1 - alone[0.1].test_accuracy


def test_of_equally_good_rates_the_smallest_is_chosen() -> None:
    tuned = tune(start(), lrs=(1e-12, 1e-13))
    assert tuned.lr == 1e-13


def test_only_the_labels_that_it_is_given_are_trained_on() -> None:
    """With the labels of all other images removed, but for val and test, nothing changes."""
    hidden = np.full(len(LABELS), -1)
    for part in (TRAIN, VAL, TEST):
        hidden[part] = LABELS[part]
    images = Digits()
    assert tune(start(), hidden, images=images) == tune(start())
    assert images.asked == set(np.concatenate([TRAIN, VAL, TEST]).tolist())


def test_without_validation_images_the_smallest_rate_is_taken() -> None:
    tuned = tune(start(), val=np.empty(0, np.int64), lrs=(0.1, 0.03))
    assert tuned.lr == 0.03
    assert np.isnan(tuned.val_accuracy)


def test_rates_that_diverge_are_passed_over() -> None:
    assert tune(start(), lrs=(0.03, 1e30)).lr == 0.03
    assert tune(start(), lrs=(1e30,)) is None


class Stopping(NoCallbacks):
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
    callbacks = {0.03: Stopping(), 0.1: Stopping(after)}
    with pytest.raises(Interrupted):
        tune(start(), callbacks=callbacks.__getitem__)
    resumed = {lr: Stopping(state=known.state) for lr, known in callbacks.items()}
    assert tune(start(), callbacks=resumed.__getitem__) == tune(start())
