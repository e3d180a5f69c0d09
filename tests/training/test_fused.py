"""Learning rates trained as one batched network: each ends as it would alone."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

import selfsup
from selfsup.backbones.networks import build_backbone
from selfsup.config.grid import Cell, Job, fuse_jobs
from selfsup.config.schema import validate
from selfsup.errors import Interrupted, UserError
from selfsup.execution.executors.base import EpochDone, Event
from selfsup.execution.watchers import Silent
from selfsup.methods import Method, method_class, method_names, read_settings
from selfsup.methods.base import Step
from selfsup.methods.parts.key_queue import KeyQueue
from selfsup.methods.simclr import SimCLR
from selfsup.training.device import Hardware
from selfsup.training.fused import CannotFuseError, train_together
from selfsup.training.loop import NoCallbacks, Training, TrainingPlan
from selfsup.views import Policy, load_policy

TRAINED = [name for name in method_names() if method_class(name).traits.trains]
LRS = (0.01, 0.03, 0.1)
COUNT, CLASSES = 48, 4


class Pictures:
    """Random pictures of one size."""

    def __init__(self) -> None:
        self.pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (COUNT, 3, 16, 16), np.uint8))

    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        return self.pixels[indices], torch.full((len(indices), 2), 16)


class Doubled:
    """A policy whose views have 64 bits: batch normalisation makes much of the rounding of 32."""

    def __init__(self, policy: Policy) -> None:
        self.draw = policy.draw
        self._policy = policy

    def apply(self, *arguments: Any) -> Tensor:
        return self._policy.apply(*arguments).double()


class Keeps(NoCallbacks):
    """Keeps checkpoints in memory, and asks to stop after some steps."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.state: dict[str, Any] | None = None
        self.left = stop_after

    def load_checkpoint(self) -> dict[str, Any] | None:
        return self.state

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        self.state = copy.deepcopy(state)

    def should_stop(self) -> bool:
        if self.left is not None:
            self.left -= 1
        return self.left == 0


#: A temperature at which a few steps make little of the rounding of 32 bits and fewer.
SMOOTH = 0.5


def method_of(name: str = "simclr", **settings: Any) -> Method:
    torch.manual_seed(3)
    backbone = build_backbone("test_resnet", image_size=16)
    cls, read = method_class(name), read_settings(name, settings)
    method = cls(backbone, read, num_classes=CLASSES, num_images=COUNT).double()
    for module in method.modules():
        if isinstance(module, KeyQueue):
            module.float()  # as the losses are
    return method


def training_of(method: Method, lr: float, callbacks: NoCallbacks | None = None, **plan: Any) -> Training:
    indices = np.arange(COUNT)
    precision = plan.pop("precision", "fp32")
    known = {"epochs": 2, "batch_size": 16, "image_size": 16, "seed": 0, **plan}
    policy = load_policy("simclr")
    return Training(
        method,
        Pictures(),
        indices,
        indices % CLASSES,
        Doubled(policy) if precision == "fp32" else policy,
        TrainingPlan(lr=lr, **known),
        Hardware("cpu", precision).fabric(),
        callbacks or NoCallbacks(),
    )


def assert_alike(one: Method, other: Method, *, tolerance: float = 1e-4) -> None:
    theirs = other.state_dict()
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(tensor.float(), theirs[name].float(), rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.parametrize("name", TRAINED)
def test_every_learning_rate_ends_as_alone(name: str) -> None:
    alone, fused = ([method_of(name) for _ in LRS] for _ in range(2))
    expected = [training_of(method, lr).run() for method, lr in zip(alone, LRS, strict=True)]
    found = train_together([training_of(method, lr) for method, lr in zip(fused, LRS, strict=True)])
    for one, other, outcome, wanted in zip(fused, alone, found, expected, strict=True):
        assert outcome.status == wanted.status == "done"
        assert [line.loss for line in outcome.progress.log] == pytest.approx(
            [line.loss for line in wanted.progress.log], rel=1e-4
        )
        assert_alike(one, other)
    # They are different trainings: the tolerance does not hide that one was taken for another.
    with pytest.raises(AssertionError):
        assert_alike(fused[0], alone[2])


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "lars"])
def test_every_optimizer_takes_its_own_learning_rate(optimizer: str) -> None:
    lrs = (1e-4, 1e-3) if optimizer.startswith("adam") else (0.01, 0.1)
    alone, fused = ([method_of(optimizer=optimizer) for _ in lrs] for _ in range(2))
    for method, lr in zip(alone, lrs, strict=True):
        training_of(method, lr, epochs=1).run()
    train_together([training_of(method, lr, epochs=1) for method, lr in zip(fused, lrs, strict=True)])
    for one, other in zip(fused, alone, strict=True):
        assert_alike(one, other)


def test_in_bf16_too() -> None:
    def trained(together: bool) -> list[Method]:
        methods = [method_of(temperature=SMOOTH).float() for _ in range(2)]
        trainings = [training_of(m, lr, epochs=1, precision="bf16") for m, lr in zip(methods, LRS, strict=False)]
        if together:
            train_together(trainings)
        else:
            for training in trainings:
                training.run()
        return methods

    for one, other in zip(trained(True), trained(False), strict=True):
        assert_alike(one, other, tolerance=0.05)


def test_one_that_diverges_does_not_disturb_the_others() -> None:
    fused = [method_of() for _ in range(3)]
    with torch.no_grad():
        next(fused[1].backbone.parameters()).fill_(float("nan"))
    outcomes = train_together([training_of(method, lr) for method, lr in zip(fused, LRS, strict=True)])
    assert [outcome.status for outcome in outcomes] == ["done", "diverged", "done"]
    assert len(outcomes[1].progress.log) == 1
    alone = method_of()
    training_of(alone, LRS[2]).run()
    assert_alike(fused[2], alone)


def test_interrupted_and_resumed_is_as_uninterrupted() -> None:
    straight, broken = ([method_of("moco") for _ in LRS] for _ in range(2))
    train_together([training_of(method, lr) for method, lr in zip(straight, LRS, strict=True)])
    callbacks = [Keeps(stop_after=4) for _ in LRS]
    with pytest.raises(Interrupted):
        train_together([training_of(m, lr, hook) for m, lr, hook in zip(broken, LRS, callbacks, strict=True)])
    assert [hook.state["progress"]["step"] for hook in callbacks if hook.state] == [4, 4, 4]
    resumed = [method_of("moco") for _ in LRS]
    outcomes = train_together([training_of(m, lr, hook) for m, lr, hook in zip(resumed, LRS, callbacks, strict=True)])
    assert [len(outcome.progress.log) for outcome in outcomes] == [2, 2, 2]
    for one, other in zip(resumed, straight, strict=True):
        for name, tensor in one.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[name]), name


def test_one_that_stands_behind_catches_up() -> None:
    ahead = Keeps(stop_after=2)
    with pytest.raises(Interrupted):
        training_of(method_of(), LRS[0], ahead).run()
    fused, alone = ([method_of() for _ in range(2)] for _ in range(2))
    outcomes = train_together([training_of(fused[0], LRS[0], ahead), training_of(fused[1], LRS[1])])
    assert [outcome.progress.step for outcome in outcomes] == [6, 6]
    for method, other, lr in zip(fused, alone, LRS, strict=False):
        training_of(other, lr).run()
        assert_alike(method, other)


class Peeks(SimCLR):
    """Looks at a value, which cannot be done for several at once."""

    def loss(self, views: Any, labels: Tensor) -> Step:
        step = super().loss(views, labels)
        return step if step.loss.item() < 1e9 else super().loss(views, labels)


def test_what_cannot_be_batched_is_said() -> None:
    methods = [Peeks(build_backbone("test_resnet", image_size=16), SimCLR.Settings()).double() for _ in range(2)]
    with pytest.raises(CannotFuseError, match="item"):
        train_together([training_of(method, lr) for method, lr in zip(methods, LRS, strict=False)])


TINY: dict[str, Any] = {
    "methods": "simclr,random",
    "per_class": "5",
    "lrs": "0.003,0.03,0.1",
    "augmentations": "weak",
    "epochs": 3,
    "image_size": 16,
    "batch_size": 32,
    "backbone": "test_resnet",
    "device": "cpu",
    "precision": "fp32",
    "threads": 1,
    "settings": {"simclr": {"temperature": SMOOTH}},
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> selfsup.Study:
    return selfsup.compare("digits", out=tmp_path_factory.mktemp("alone") / "study", executor="inline", **TINY)


def assert_studies_alike(fused: selfsup.Study, alone: selfsup.Study) -> None:
    one, other = fused.results, alone.results
    assert one.cell.tolist() == other.cell.tolist()
    assert one.status.tolist() == other.status.tolist()
    np.testing.assert_allclose(one.final_loss.dropna(), other.final_loss.dropna(), rtol=0.01)
    np.testing.assert_allclose(one.test_accuracy, other.test_accuracy, atol=0.03)
    for cell in one.cell:
        files = {path.name for path in (fused.path / "cells" / cell).iterdir()}
        assert files ^ {path.name for path in (alone.path / "cells" / cell).iterdir()} <= {"backbone.safetensors"}


@pytest.mark.parametrize("executor", ["inline", "local"])
def test_a_fused_study_is_as_one_that_is_not(executor: str, tmp_path: Path, alone: selfsup.Study) -> None:
    epochs = []

    class Counts(Silent):
        def on_event(self, event: Event) -> None:
            if isinstance(event, EpochDone):
                epochs.append(event.job.id)

    fused = selfsup.compare("digits", out=tmp_path / "study", executor=executor, fuse=2, watcher=Counts(), **TINY)
    assert_studies_alike(fused, alone)
    assert epochs.count("simclr-weak-n5-s0-fused0") == 3
    assert epochs.count("simclr-weak-lr0.1-n5-s0") == 3
    assert fused.config.fuse == 2
    assert not [path for path in (fused.path / "running").iterdir() if path.is_dir() and path.name != "aside"]


def test_a_fused_study_under_a_scheduler(tmp_path: Path) -> None:
    options = {**TINY, "executor": "inline", "scheduler": "halving"}
    alone = selfsup.compare("digits", out=tmp_path / "alone", **options)
    fused = selfsup.compare("digits", out=tmp_path / "fused", fuse=3, **options)
    assert_studies_alike(fused, alone)
    assert (fused.results.status == "pruned").sum() == 2


def test_a_study_whose_method_cannot_be_fused_trains_each_alone(
    tmp_path: Path, alone: selfsup.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    batched = SimCLR.loss

    def peeks(self: SimCLR, views: Any, labels: Tensor) -> Step:
        step = batched(self, views, labels)
        assert step.loss.item() < 1e9
        return step

    monkeypatch.setattr(SimCLR, "loss", peeks)
    with pytest.warns(UserWarning, match="simclr cannot be fused .*each trains alone"):
        study = selfsup.compare("digits", out=tmp_path / "study", executor="inline", fuse=3, **TINY)
    assert study.results.final_loss.dropna().tolist() == alone.results.final_loss.dropna().tolist()


@pytest.mark.parametrize("values", [{"devices": 2}, {"precision": "fp16"}])
def test_what_does_not_go_together_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"--fuse 2 does not go with --(devices 2|precision fp16)"):
        validate({"fuse": 2, **values})


def jobs_of(lrs: tuple[float, ...], **changes: Any) -> list[Job]:
    return [Job((Cell("simclr", "weak", lr, 5, 0),), **changes) for lr in lrs]


def test_sets_of_learning_rates_do_not_change_when_some_are_finished() -> None:
    grid = jobs_of((0.1, 0.2, 0.3, 0.4, 0.5))
    whole = fuse_jobs(grid, grid, 2)
    assert [[cell.lr for cell in job.cells] for job in whole] == [[0.1, 0.2], [0.3, 0.4], [0.5]]
    assert [job.id for job in whole] == [
        "simclr-weak-n5-s0-fused0",
        "simclr-weak-n5-s0-fused1",
        "simclr-weak-lr0.5-n5-s0",
    ]
    assert [job for fused in whole for job in fused.trainings] == grid
    rest = fuse_jobs(grid[2:], grid, 2)
    assert [job.id for job in rest] == [job.id for job in whole[1:]]
    assert fuse_jobs(grid, grid, 1) == grid


def test_only_what_differs_in_learning_rate_alone_is_fused() -> None:
    grid = [
        Job((Cell(method, "weak", lr, size, seed),))
        for method in ("simclr", "byol")
        for size in (5, 20)
        for seed in (0, 1)
        for lr in (0.1, 0.2)
    ] + [Job((Cell("random", None, None, 5, 0),)), Job((Cell("frozen", None, None, 5, 0),))]
    fused = fuse_jobs(grid, grid, 8)
    assert len(fused) == 8 + 2
    assert all(len({cell.lr for cell in job.cells}) == 2 for job in fused[:8])
    assert pd.Series([job.id for job in fused]).is_unique
