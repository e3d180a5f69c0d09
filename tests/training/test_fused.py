"""Learning rates trained as one batched network: each ends as it would alone."""

from __future__ import annotations

import copy
import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tests.small_heads import SMALL_HEADS
from tests.undrawn import undrawn
from torch import Tensor

import selfsup
from selfsup.backbones import build_backbone
from selfsup.config.grid import Job
from selfsup.config.validation import validate
from selfsup.errors import Interrupted, UserError
from selfsup.execution.executors.base import EpochDone, Event
from selfsup.execution.jobs import job_callbacks
from selfsup.execution.watchers import Watcher
from selfsup.methods import Method, method_class, method_names, read_settings
from selfsup.methods.base import Batch, Step
from selfsup.methods.simclr import SimCLR
from selfsup.testing.backbones import tiny_backbone, tiny_transformer
from selfsup.testing.methods import teacher_for
from selfsup.training.callbacks import Callbacks
from selfsup.training.device import Hardware
from selfsup.training.fused import CannotFuseError, train_together
from selfsup.training.loop import Training
from selfsup.training.plan import TrainingPlan
from selfsup.views import Policy, load_policy

pytestmark = pytest.mark.usefixtures("without_pictures")

TRAINED = [name for name in method_names() if method_class(name).tags.trains]
LRS = (0.01, 0.03, 0.1)
COUNT, CLASSES = 32, 4


class Pictures:
    """Random pictures of one size."""

    def __init__(self) -> None:
        self.pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (COUNT, 3, 16, 16), np.uint8))

    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        return self.pixels[indices], torch.full((len(indices), 2), 16)


@pytest.fixture
def in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is computed in 32 bits whatever the network has is computed in 64, of which one step rounds off nothing."""
    monkeypatch.setattr(Tensor, "float", Tensor.double)


class Doubled:
    """A policy whose views have 64 bits; counts how many views it made."""

    def __init__(self, policy: Policy) -> None:
        self.draw = policy.draw
        self.made = 0
        self._policy = policy

    def apply(self, *arguments: Any) -> Tensor:
        self.made += 1
        return self._policy.apply(*arguments).double()


class Keeps(Callbacks):
    """Keeps the checkpoint of every step in memory, and asks to stop after some steps."""

    def __init__(self, state: dict[str, Any] | None = None, stop_after: int | None = None) -> None:
        self.states = {0 if state is None else state["state"]["step"]: state}
        self.left = stop_after

    def load_checkpoint(self) -> dict[str, Any] | None:
        return copy.deepcopy(self.states[max(self.states)])

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        self.states.setdefault(state["state"]["step"], copy.deepcopy(state))  # not that of the epoch's end

    def checkpoint_due(self) -> bool:
        return True

    def should_stop(self) -> bool:
        if self.left is not None:
            self.left -= 1
        return self.left == 0


def method_of(name: str | None = None, **settings: Any) -> Method:
    """SimCLR on a residual network, or the method of this name on a tiny one that it takes."""
    torch.manual_seed(3)
    tiny, name = name is not None, name or "simclr"
    cls, read = method_class(name), read_settings(name, {**SMALL_HEADS.get(name, {}), **settings})
    small = tiny_transformer if cls.tags.needs_tokens else tiny_backbone
    backbone = small() if tiny else build_backbone("test_resnet", image_size=32)
    return cls(backbone, read, num_classes=CLASSES, num_images=COUNT, **teacher_for(cls, COUNT)).double()


def training_of(method: Method, lr: float, callbacks: Callbacks | None = None, **changes: Any) -> Training:
    """Two epochs of two steps each."""
    indices = np.arange(COUNT)
    policy = changes.pop("policy", None) or Doubled(load_policy("simclr"))
    hardware = Hardware("cpu", changes.pop("precision", "fp32"))
    known = {"epochs": 2, "batch_size": 16, "image_size": 32, "seed": 0, **changes}
    plan = TrainingPlan(lr=lr, **known)
    labels = indices % CLASSES
    return Training(method, Pictures(), indices, labels, policy, plan, hardware.fabric(), callbacks or Callbacks())


def assert_alike(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Two checkpoints hold the same, up to what one step rounds off in 64 bits."""
    same = {"rtol": 1e-7, "atol": 1e-9}
    torch.testing.assert_close(found["method"], expected["method"], **same)
    torch.testing.assert_close(found["optimizer"]["state"], expected["optimizer"]["state"], **same)
    assert found["state"]["step"] == expected["state"]["step"]
    for sums in ("sums", "scalar_sums"):
        torch.testing.assert_close(found["state"][sums], expected["state"][sums], equal_nan=True, **same)


def assert_each_step_is_as_alone(kept: Keeps, lr: float, *, of: str | None = None, **settings: Any) -> None:
    """From the checkpoint before every step, a training alone comes to the one after it.

    Step by step: over several, a network with batch normalisation makes of any rounding what it likes.
    """
    for before, after in itertools.pairwise(sorted(kept.states)):
        alone = Keeps(kept.states[before], stop_after=1)
        with pytest.raises(Interrupted):
            training_of(method_of(of, **settings), lr, alone).run()
        found, expected = kept.states[after], alone.states[after]
        assert found is not None and expected is not None
        assert_alike(found, expected)


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("name", TRAINED)
def test_every_step_of_every_learning_rate_is_as_alone(name: str) -> None:
    hooks = [Keeps() for _ in LRS]
    trainings = [training_of(method_of(name), lr, hook) for lr, hook in zip(LRS, hooks, strict=True)]
    outcomes = train_together(trainings)
    assert [outcome.status for outcome in outcomes] == ["done"] * 3
    for hook, lr in zip(hooks, LRS, strict=True):
        assert sorted(hook.states) == list(range(5))
        assert_each_step_is_as_alone(hook, lr, of=name)
    # They are different trainings: the tolerance does not hide that one was taken for another.
    with pytest.raises(AssertionError):
        assert_each_step_is_as_alone(hooks[0], LRS[1], of=name)


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "lars"])
def test_every_optimizer_takes_its_own_learning_rate(optimizer: str) -> None:
    hooks = [Keeps() for _ in LRS]
    methods = [method_of("simclr", optimizer=optimizer) for _ in LRS]
    train_together([training_of(method, lr, hook) for method, lr, hook in zip(methods, LRS, hooks, strict=True)])
    for hook, lr in zip(hooks, LRS, strict=True):
        assert_each_step_is_as_alone(hook, lr, of="simclr", optimizer=optimizer)


def test_views_are_made_once_for_all() -> None:
    policies = [Doubled(load_policy("simclr")) for _ in LRS]
    train_together([training_of(method_of(), lr, policy=policy) for lr, policy in zip(LRS, policies, strict=True)])
    assert [policy.made for policy in policies] == [2 * 4, 0, 0]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_no_batch_norm_is_given_channels_that_come_last(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA's then asks for ``is_contiguous`` of that format, which vmap refuses."""
    plan = {"epochs": 1, "precision": precision, "policy": load_policy("simclr")}
    trainings = [training_of(method_of().float(), lr, **plan) for lr in LRS[:2]]
    strides = []
    compute = torch.batch_norm

    def noted(images: Tensor, *rest: Any) -> Tensor:
        strides.append(images.stride())
        return compute(images, *rest)

    monkeypatch.setattr(torch, "batch_norm", noted)
    train_together(trainings)
    of_images = [stride for stride in strides if len(stride) == 4]
    assert of_images
    assert all(list(stride) == sorted(stride, reverse=True) for stride in of_images)


def test_mixed_precision_computes_every_layer_in_what_it_has_alone() -> None:
    def kinds(together: bool) -> tuple[list[tuple[str, torch.dtype]], list[float]]:
        """The layers' outputs as they come, and the loss of either training."""
        found: list[tuple[str, torch.dtype]] = []
        methods = [method_of().float() for _ in range(2)]
        for name, module in methods[0].named_modules():
            if not list(module.children()):
                module.register_forward_hook(lambda _, __, output, name=name: found.append((name, output.dtype)))
        plan = {"epochs": 1, "batch_size": COUNT, "precision": "bf16", "policy": load_policy("simclr")}
        trainings = [training_of(method, lr, **plan) for method, lr in zip(methods, LRS, strict=False)]
        outcomes = train_together(trainings) if together else [training.run() for training in trainings]
        return found, [outcome.state.log[0].loss for outcome in outcomes]

    (fused, losses), (alone, expected) = kinds(True), kinds(False)
    assert fused == alone
    assert {kind for _, kind in alone} >= {torch.bfloat16}
    assert losses == pytest.approx(expected, rel=4 * torch.finfo(torch.bfloat16).eps)


@pytest.mark.usefixtures("in_float64")
def test_one_that_diverges_does_not_disturb_the_others() -> None:
    fused, hooks = [method_of() for _ in LRS], [Keeps() for _ in LRS]
    with torch.no_grad():
        next(fused[1].backbone.parameters()).fill_(float("nan"))
    outcomes = train_together(
        [training_of(method, lr, hook) for method, lr, hook in zip(fused, LRS, hooks, strict=True)]
    )
    assert [outcome.status for outcome in outcomes] == ["done", "diverged", "done"]
    assert len(outcomes[1].state.log) == 1
    for number in (0, 2):  # while it is there, and when it has gone
        assert_each_step_is_as_alone(hooks[number], LRS[number])


@pytest.mark.usefixtures("in_float64")
def test_interrupted_and_resumed_is_as_uninterrupted() -> None:
    straight, broken = ([method_of("moco") for _ in LRS] for _ in range(2))
    train_together([training_of(method, lr) for method, lr in zip(straight, LRS, strict=True)])
    callbacks = [Keeps(stop_after=3) for _ in LRS]
    with pytest.raises(Interrupted):
        train_together([training_of(m, lr, hook) for m, lr, hook in zip(broken, LRS, callbacks, strict=True)])
    assert [max(hook.states) for hook in callbacks] == [3, 3, 3]
    resumed = [method_of("moco") for _ in LRS]
    outcomes = train_together([training_of(m, lr, hook) for m, lr, hook in zip(resumed, LRS, callbacks, strict=True)])
    assert [len(outcome.state.log) for outcome in outcomes] == [2, 2, 2]
    for one, other in zip(resumed, straight, strict=True):
        for name, tensor in one.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[name]), name


class SavesWhenStopped(Keeps):
    """Keeps checkpoints of stops and ends alone; the online kNN finds `score` times the number of the epoch, or 1."""

    def __init__(self, score: float, stop_after: int | None = None) -> None:
        super().__init__(stop_after=stop_after)
        self.score, self.steps = score, 0

    def checkpoint_due(self) -> bool:
        return False

    def should_stop(self) -> bool:
        self.steps += 1
        return super().should_stop()

    def score_epoch(self, epoch: int, backbone: Any) -> float:
        return min(1.0, self.score * epoch)


@pytest.mark.usefixtures("in_float64")
def test_those_that_ended_before_a_stop_are_not_trained_again() -> None:
    hooks = [SavesWhenStopped(1.0), SavesWhenStopped(0.1), SavesWhenStopped(0.1, stop_after=7)]
    plan: dict[str, Any] = {"epochs": 4, "patience": 1}

    def trainings(methods: list[Method]) -> list[Training]:
        return [training_of(method, lr, hook, **plan) for method, lr, hook in zip(methods, LRS, hooks, strict=True)]

    methods = [method_of() for _ in LRS]
    with torch.no_grad():
        next(methods[1].backbone.parameters()).fill_(float("nan"))
    with pytest.raises(Interrupted):
        train_together(trainings(methods))
    resumed = [method_of() for _ in LRS]
    outcomes = train_together(trainings(resumed))
    assert [(outcome.status, len(outcome.state.log)) for outcome in outcomes] == [
        ("done", 3),  # a decay of an epoch after the second score, which was no better
        ("diverged", 1),
        ("done", 4),
    ]
    assert [hook.steps for hook in hooks] == [2 * 3, 2 * 1, 2 * 4]
    for name, tensor in resumed[0].state_dict().items():
        assert torch.equal(tensor, methods[0].state_dict()[name]), name


@pytest.mark.usefixtures("in_float64")
def test_one_that_stands_behind_catches_up() -> None:
    ahead, behind = Keeps(stop_after=1), Keeps()
    with pytest.raises(Interrupted):
        training_of(method_of(), LRS[0], ahead).run()
    policies = [Doubled(load_policy("simclr")) for _ in range(2)]
    outcomes = train_together(
        [
            training_of(method_of(), lr, hook, policy=policy)
            for lr, hook, policy in zip(LRS, (ahead, behind), policies, strict=False)
        ]
    )
    assert [outcome.state.step for outcome in outcomes] == [4, 4]
    assert [policy.made for policy in policies] == [2 * 3, 2 * 1]  # the first step alone, the rest together
    assert_each_step_is_as_alone(ahead, LRS[0])
    assert_each_step_is_as_alone(behind, LRS[1])


class Peeks(SimCLR):
    """Looks at a value, which cannot be done for several at once."""

    def loss(self, batch: Batch) -> Step:
        step = super().loss(batch)
        return step if step.loss.item() < 1e9 else super().loss(batch)


def test_what_cannot_be_batched_is_said() -> None:
    methods = [Peeks(build_backbone("test_resnet", image_size=16), SimCLR.Settings()).double() for _ in range(2)]
    with pytest.raises(CannotFuseError, match="item"):
        train_together([training_of(method, lr) for method, lr in zip(methods, LRS, strict=False)])


#: Fifty images, so that a training is one step; the weights of every cell are kept.
TINY: dict[str, Any] = {
    "methods": "simclr,random",
    "per_class": "5",
    "lrs": "0.003,0.03,0.1",
    "augmentations": "weak",
    "epochs": 1,
    "image_size": 16,
    "batch_size": 64,
    "backbone": "test_resnet",
    "device": "cpu",
    "precision": "fp32",
    "threads": 1,
    "keep": "all",
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> selfsup.Study:
    with undrawn():
        return selfsup.compare("digits", out=tmp_path_factory.mktemp("alone") / "study", executor="inline", **TINY)


def weights_of(study: selfsup.Study, cell: str) -> Tensor:
    return torch.cat([tensor.double().flatten() for tensor in load_file(backbone_file(study, cell)).values()])


def backbone_file(study: selfsup.Study, cell: str) -> Path:
    return study.path / "cells" / cell / "backbone.safetensors"


def assert_studies_alike(fused: selfsup.Study, alone: selfsup.Study) -> None:
    """All that does not round is the same."""
    exact = ["cell", "status", "epochs", "train_images"]
    pd.testing.assert_frame_equal(fused.results[exact], alone.results[exact])
    for cell in alone.results.cell:
        mine, theirs = ({path.name for path in (study.path / "cells" / cell).iterdir()} for study in (fused, alone))
        assert mine == theirs


class CountsEpochs(Watcher):
    """Counts the epochs that were told of, by job, and keeps the lines for people."""

    def __init__(self) -> None:
        self.told: Counter[str] = Counter()
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)

    def on_event(self, event: Event) -> None:
        if isinstance(event, EpochDone):
            self.told[event.job.id] += 1


@pytest.mark.parametrize("executor", ["inline", pytest.param("local", marks=pytest.mark.slow)])
def test_a_fused_study_is_as_one_that_is_not(executor: str, tmp_path: Path, alone: selfsup.Study) -> None:
    watcher = CountsEpochs()
    fused = selfsup.compare("digits", out=tmp_path / "study", executor=executor, fuse=2, watcher=watcher, **TINY)
    assert_studies_alike(fused, alone)
    untrained = weights_of(alone, "random-test_resnet-n5-s0")
    trained = [cell for cell in alone.results.cell if cell.startswith("simclr")]
    assert len(trained) == 3
    for cell in trained:
        update = weights_of(alone, cell) - untrained
        # The learning rates differ by three and more: a hundredth is far from that, and from what 32 bits round off.
        assert (weights_of(fused, cell) - weights_of(alone, cell)).norm() < 0.01 * update.norm()
    assert watcher.told == {"simclr-test_resnet-weak-n5-s0-fused0": 1, "simclr-test_resnet-weak-lr0.1-n5-s0": 1}
    assert fused.config.fuse == 2
    assert not [path for path in (fused.path / "running").iterdir() if path.is_dir() and path.name != "aside"]


def test_a_fused_study_under_a_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def by_rate(study: Any, job: Job, backbone: Any) -> dict[str, float]:
        return {cell.id: 0.9 if cell.lr == 0.03 else 0.5 for cell in job.cells}

    monkeypatch.setattr(job_callbacks, "score_cells", by_rate)
    options = {**TINY, "executor": "inline", "scheduler": "halving", "epochs": 3, "keep": "none"}
    watcher = CountsEpochs()
    fused = selfsup.compare("digits", out=tmp_path / "study", fuse=3, watcher=watcher, **options)
    trained = fused.results[fused.results.method == "simclr"].set_index("lr")
    assert trained.status.to_dict() == {0.003: "pruned", 0.03: "done", 0.1: "pruned"}
    assert trained.epochs.to_dict() == {0.003: 1, 0.03: 3, 0.1: 1}
    assert trained.rung_score.dropna().to_dict() == {0.003: 0.5, 0.1: 0.5}
    assert json.loads((fused.path / "cells" / trained.cell[0.03] / "metrics.json").read_text())["rung_scores"] == {
        "1": 0.9
    }
    assert sum(watcher.told.values()) == 1 + 2  # three trainings together for an epoch, one of them for two more


def test_a_study_whose_method_cannot_be_fused_trains_each_alone(
    tmp_path: Path, alone: selfsup.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    batched = SimCLR.loss

    def peeks(self: SimCLR, batch: Batch) -> Step:
        step = batched(self, batch)
        assert step.loss.item() < 1e9
        return step

    monkeypatch.setattr(SimCLR, "loss", peeks)
    watcher = CountsEpochs()
    study = selfsup.compare("digits", out=tmp_path / "study", executor="inline", fuse=3, watcher=watcher, **TINY)
    (line,) = (line for line in watcher.said if "fuse" in line)
    assert line.startswith("simclr of test_resnet cannot be fused (vmap: It looks like you're calling .item()")
    assert "so its learning rates are trained one after another" in line
    assert_studies_alike(study, alone)
    for cell in alone.results.cell:
        assert backbone_file(study, cell).read_bytes() == backbone_file(alone, cell).read_bytes()


@pytest.mark.parametrize("values", [{"devices": 2}, {"precision": "fp16"}])
def test_what_does_not_go_together_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"--fuse 2 does not go with --(devices 2|precision fp16)"):
        validate({"fuse": 2, **values})
