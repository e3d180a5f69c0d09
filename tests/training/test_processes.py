"""A cell on two devices: a study's numbers, stops in the middle, and processes that die."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from safetensors.torch import load_file
from tests.undrawn import undrawn
from torch import Tensor

from selfsup.errors import Interrupted, UserError
from selfsup.execution.executors.base import EpochDone, Event, JobDone, JobRetried
from selfsup.execution.watchers import Watcher
from selfsup.methods import method_class
from selfsup.record.results import MEASURED_COLUMNS
from selfsup.study import Study, compare
from selfsup.testing.executors import TINY_STUDY
from selfsup.testing.methods import build
from selfsup.training.loop import Training
from selfsup.training.plan import TrainingPlan
from selfsup.views import load_policy

pytestmark = pytest.mark.usefixtures("without_pictures")

TWO = {**TINY_STUDY, "devices": 2}


class OneSize:
    """No images, for a training that is not to begin."""

    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        raise AssertionError("images were asked for")


def followers() -> list[psutil.Process]:
    family = psutil.Process().children(recursive=True)
    return [child for child in family if any("_follower" in word for word in child.cmdline())]


class AtEpoch(Watcher):
    """Does something once, when the first epoch has ended; keeps what it hears."""

    def __init__(self, action: Any) -> None:
        self.action, self.events = action, list[Event]()

    def on_event(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, EpochDone) and event.epoch == 1 and self.action is not None:
            action, self.action = self.action, None
            action()


def numbers(study: Study) -> Any:
    return study.results.drop(columns=list(MEASURED_COLUMNS))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Study:
    with undrawn():
        return compare("digits", out=tmp_path_factory.mktemp("two") / "study", executor="inline", **TWO)


def weights_of(study: Study, cell: str) -> Tensor:
    tensors = load_file(study.path / "cells" / cell / "backbone.safetensors")
    return torch.cat([tensor.double().flatten() for tensor in tensors.values()])


def test_a_step_on_two_devices_is_that_on_one(tmp_path: Path) -> None:
    """Fifty images in one batch, so that the training is a step: over several, rounding grows."""
    one, two = (
        compare(
            "digits",
            out=tmp_path / str(devices),
            executor="inline",
            **{**TINY_STUDY, "epochs": 1, "devices": devices, "keep": "all"},
        )
        for devices in (1, 2)
    )
    exact = ["cell", "status", "epochs", "train_images"]
    pd.testing.assert_frame_equal(two.results[exact], one.results[exact])
    trained, untrained = "moco-test_resnet-weak-lr0.03-n5-s0", "random-test_resnet-n5-s0"
    update = weights_of(one, trained) - weights_of(one, untrained)
    assert (weights_of(two, trained) - weights_of(one, trained)).norm() < 0.01 * update.norm()
    assert not followers()


def test_a_stop_and_going_on_change_no_digit(two: Study, tmp_path: Path) -> None:
    stop = AtEpoch(lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted):
        compare("digits", out=tmp_path / "study", executor="inline", watcher=stop, **TWO)
    assert list((tmp_path / "study").rglob("*checkpoint*")), "no checkpoint was kept"
    assert not followers()
    again = compare("digits", out=tmp_path / "study", executor="inline", **TWO)
    assert numbers(again).equals(numbers(two))


@pytest.mark.slow
def test_a_follower_that_dies_costs_a_retry_and_no_digit(two: Study, tmp_path: Path) -> None:
    watcher = AtEpoch(lambda: [process.kill() for process in followers()])
    study = compare("digits", out=tmp_path / "study", executor="local", workers=1, watcher=watcher, **TWO)
    assert any(isinstance(event, JobRetried) for event in watcher.events), "the death went unnoticed"
    assert [event for event in watcher.events if isinstance(event, JobDone)]
    assert numbers(study).equals(numbers(two))


@pytest.mark.slow
def test_all_devices_end_early_together(tmp_path: Path) -> None:
    cooldown = {"epochs": 12, "knn_every": 1, "patience": 1, "methods": "moco", "grow_from": 1.0}
    study = compare("digits", out=tmp_path / "study", executor="inline", **{**TWO, **cooldown})
    assert study.results.status.tolist() == ["done"]
    assert study.results.epochs.max() < 12


def test_a_training_on_more_devices_than_a_batch_has_images_is_refused() -> None:
    three = SimpleNamespace(global_rank=0, world_size=3)
    plan, pairs = TrainingPlan(epochs=1, batch_size=2, image_size=16, lr=0.1, seed=0), np.arange(10)
    with pytest.raises(UserError, match="A training on 10 images has batches of 2, too few for --devices 3"):
        Training(build(method_class("moco")), OneSize(), pairs, None, load_policy("weak"), plan, three)


def test_a_study_on_more_devices_than_a_batch_has_images_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    few = {**TINY_STUDY, "per_class": "5,1", "devices": 11, "methods": "moco"}
    with pytest.raises(UserError) as refused:
        compare("digits", out=tmp_path / "study", executor="inline", **few)
    assert str(refused.value) == (
        "--per-class 1: a training on 10 images has batches of 10, too few for --devices 11; use --devices 10, or "
        "train on more images."
    )
    assert not (tmp_path / "study").exists()
