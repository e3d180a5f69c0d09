"""Every registered method keeps the contract, and the contract's checks catch what breaks it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ConfigDict
from tests.small_heads import SMALL_HEADS
from torch import Tensor, nn

from selfsup.config.grid import Tags, expand
from selfsup.config.network_source import NetworkSource
from selfsup.methods import (
    Batch,
    Method,
    MethodSettings,
    Paper,
    ParameterGroup,
    Progress,
    Step,
    method_class,
    method_names,
)
from selfsup.methods.base import without_decay_of_vectors
from selfsup.methods.parts.momentum import MomentumEncoder
from selfsup.testing.devices import check_devices
from selfsup.testing.digit_batches import BATCH, CLASSES, SIDE, batch_of_digits
from selfsup.testing.methods import batch_for, build, check_method
from selfsup.training.device import Hardware
from selfsup.training.loop import Training
from selfsup.training.optimizers import build_optimizer
from selfsup.training.plan import TrainingPlan
from selfsup.views import load_policy

TRAINED = [name for name in method_names() if method_class(name).tags.trains]


@pytest.mark.parametrize("name", method_names())
def test_method_keeps_the_contract(name: str) -> None:
    check_method(method_class(name), **SMALL_HEADS.get(name, {}))


def test_every_method_has_the_loss_gradients_and_state_of_one_device_on_two() -> None:
    check_devices(
        *map(method_class, TRAINED), settings={method_class(name): small for name, small in SMALL_HEADS.items()}
    )


def test_a_grid_of_all_methods_has_the_cells_that_their_traits_call_for() -> None:
    tags = {name: method_class(name).tags for name in method_names()}
    cells = expand(
        methods=method_names(),
        backbones=[NetworkSource("resnet18", "imagenet")],
        references=[NetworkSource("resnet50", "imagenet")],
        augmentations=["weak", "simclr"],
        lrs=[0.1],
        per_class=[5, "all"],
        seeds=1,
        tags=tags,
    )
    for name in method_names():
        mine = [cell for cell in cells if cell.method == name]
        own = method_class(name).tags.augmentation
        assert {cell.augmentation for cell in mine} == ({own or "weak", own or "simclr"} if name in TRAINED else {None})
        assert len(mine) == len({cell.id for cell in mine}) == (4 if name in TRAINED and not own else 2)
        assert all((cell.lr is None) == (cell.augmentation is None) == (name not in TRAINED) for cell in mine)


# -- momentum encoders, in whichever methods have one --------------------------------------------


def momentum_encoders(method: Method) -> dict[str, MomentumEncoder]:
    return {name: module for name, module in method.named_modules() if isinstance(module, MomentumEncoder)}


WITH_MOMENTUM = [name for name in TRAINED if momentum_encoders(build(method_class(name)))]


def test_some_method_has_a_momentum_encoder() -> None:
    assert WITH_MOMENTUM


class OneBatch:
    """The digits of one batch, as the training loop asks for images."""

    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        (view,), _ = batch_of_digits(1)
        return (view[indices] * 255).byte(), torch.full((len(indices), 2), SIDE)


@pytest.mark.parametrize("name", WITH_MOMENTUM)
def test_training_moves_the_momentum_encoder_towards_the_backbone(name: str) -> None:
    own = {"frozen_epochs": 0} if name == "dino" else {}
    method = build(method_class(name), **own)
    before = {k: p.clone() for e in momentum_encoders(method).values() for k, p in e.named_parameters()}
    plan = TrainingPlan(epochs=1, batch_size=BATCH // 2, image_size=SIDE, lr=0.1, seed=0)
    fabric = Hardware("cpu", "fp32").fabric()
    labels, policy = np.zeros(BATCH, np.int64), load_policy("weak")
    Training(method, OneBatch(), np.arange(BATCH), labels, policy, plan, fabric).run()
    after = {k: p for e in momentum_encoders(method).values() for k, p in e.named_parameters()}
    weights = [k for k in before if before[k].ndim > 1]
    assert weights
    assert not any(torch.equal(before[k], after[k]) for k in weights)


@pytest.mark.parametrize("name", WITH_MOMENTUM)
def test_no_gradient_and_no_optimizer_reaches_a_momentum_encoder(name: str) -> None:
    method = build(method_class(name))
    followers = {id(p) for e in momentum_encoders(method).values() for p in e.parameters()}
    method.loss(batch_for(method)).loss.backward()
    assert all(p.grad is None for p in method.parameters() if id(p) in followers)
    optimized = {id(p) for group in build_optimizer(method, 0.1).param_groups for p in group["params"]}
    assert not optimized & followers
    assert optimized


# -- the checks themselves ---------------------------------------------------------------------------


class Mean(Method):
    """A correct method of a few lines: brings the two views' embeddings of an image together."""

    paper = Paper("An Author", 2020, "A Title", "https://example.org/paper")

    def __init__(self, backbone: Any, settings: Any, **sizes: int) -> None:
        super().__init__(backbone, settings, **sizes)
        self.head = nn.Linear(backbone.num_features, 4)

    def loss(self, batch: Batch) -> Step:
        first, second = (self.backbone(view) for view in batch.views["global"])
        return Step((self.head(first) - self.head(second)).float().pow(2).mean(), first)


def test_the_checks_accept_an_outside_method() -> None:
    check_method(Mean)


class Constant(Mean):
    """Its loss is always zero."""

    def loss(self, batch: Batch) -> Step:
        loss, embedding, *_ = super().loss(batch)
        return Step(loss * 0, embedding)


class Ascending(Mean):
    """Its loss can only rise."""

    def loss(self, batch: Batch) -> Step:
        loss, embedding, *_ = super().loss(batch)
        bounded = loss.tanh()
        return Step(2 * bounded.detach() - bounded, embedding)


class Detached(Mean):
    """Its loss never reaches the backbone."""

    def loss(self, batch: Batch) -> Step:
        with torch.no_grad():
            first, second = (self.backbone(view) for view in batch.views["global"])
        return Step((self.head(first) - self.head(second)).pow(2).mean(), first)


class Forgetful(Mean):
    """Counts its steps where no checkpoint sees it."""

    count = 0

    def loss(self, batch: Batch) -> Step:
        loss, embedding, *_ = super().loss(batch)
        return Step(loss * (1 + self.count), embedding)

    def after_step(self, progress: Progress) -> None:
        self.count += 1


class HalfPrecision(Mean):
    """Leaves its loss in the precision of the network."""

    def loss(self, batch: Batch) -> Step:
        first, second = (self.backbone(view) for view in batch.views["global"])
        return Step((self.head(first) @ self.head(second).T).mean(), first)


class Secretive(Mean):
    """Reads labels and does not say so."""

    def loss(self, batch: Batch) -> Step:
        loss, embedding, *_ = super().loss(batch)
        return Step(loss * (batch.labels.float().mean() + 2), embedding)


class Mismatched(Mean):
    """Pairs an image with nothing."""

    def loss(self, batch: Batch) -> Step:
        loss, embedding, *_ = super().loss(batch)
        return Step(loss, embedding, (embedding, embedding[1:]))


class Boastful(Mean):
    """Says that it uses labels and does not."""

    tags = Tags(uses_labels=True)


class Copying(Mean):
    """Trains a copy of the backbone, so that the study's own stays as it was."""

    def __init__(self, backbone: Any, settings: Any, **sizes: int) -> None:
        super().__init__(copy.deepcopy(backbone), settings, **sizes)


class Vandal(Mean):
    """Darkens the views that it is given."""

    def loss(self, batch: Batch) -> Step:
        batch.views["global"][0].mul_(0.5)
        return super().loss(batch)


class Unpublished(Mean):
    """Has no address of a paper."""

    paper = Paper("An Author", 2020, "A Title", "in preparation")


class LenientSettings(MethodSettings):
    model_config = ConfigDict(extra="ignore")


class Lenient(Mean):
    """Swallows options that it does not have."""

    Settings = LenientSettings


class Idle(Mean):
    """Does not train, and yet has a loss."""

    tags = Tags(trains=False)


class Greedy(Mean):
    """Has its biases decay."""

    def parameter_groups(self) -> list[ParameterGroup]:
        return [ParameterGroup(list(self.parameters()))]


class Negligent(Mean):
    """Leaves its head as it began."""

    def parameter_groups(self) -> list[ParameterGroup]:
        return without_decay_of_vectors(self.backbone.named_parameters())


class Talkative(Mean):
    """Reports a number for every image."""

    def loss(self, batch: Batch) -> Step:
        loss, embedding, *_ = super().loss(batch)
        return Step(loss, embedding, None, {"norm": embedding.norm(dim=1)})


class Usurping(Mean):
    """Reports under the name of a column that the log has."""

    def loss(self, batch: Batch) -> Step:
        loss, embedding, *_ = super().loss(batch)
        return Step(loss, embedding, None, {"loss": loss.detach() * 2})


class WithoutLabels(Mean):
    """Cannot be built without knowing the number of classes, which it has no use for."""

    def __init__(self, backbone: Any, settings: Any, *, num_classes: int, num_images: int) -> None:
        super().__init__(backbone, settings)


BROKEN = [
    (Constant, "gradient is zero"),
    (Ascending, "without learning"),
    (Detached, "no gradient"),
    (Forgetful, "after loading state_dict"),
    (HalfPrecision, "not float32"),
    (Secretive, "uses_labels"),
    (Mismatched, "the pair has shapes"),
    (Boastful, "uses_labels"),
    (Copying, "not a copy"),
    (Vandal, "changed the views"),
    (Unpublished, "paper.url"),
    (Lenient, "does not have"),
    (Greedy, "no weight decay"),
    (Negligent, "must hold all parameters"),
    (Usurping, "columns of the names"),
    (Talkative, "the scalar 'norm'"),
    (Idle, "has no loss"),
]


@pytest.mark.parametrize(("cls", "promise"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_the_checks_name_the_promise_that_a_method_breaks(cls: type[Method], promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check_method(cls)


def test_the_checks_refuse_a_method_that_needs_to_know_classes_it_does_not_use() -> None:
    with pytest.raises(TypeError, match="num_classes"):
        check_method(WithoutLabels)


def test_the_batch_of_the_checks_holds_several_classes() -> None:
    _, labels = batch_of_digits(2)
    assert len(set(labels.tolist())) == CLASSES
