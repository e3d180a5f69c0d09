"""Checks that every method must pass; a plug-in runs them in its own tests.

Examples
--------
>>> from selfsup.methods import method_class
>>> from selfsup.testing.methods import check_method
>>> check_method(method_class("frozen"))
"""

from __future__ import annotations

import copy
import io
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from selfsup.backbones import Backbone
from selfsup.methods.base import Batch, Method, MethodSettings, Paper, Progress, Step
from selfsup.testing.backbones import tiny_backbone, tiny_transformer
from selfsup.testing.digit_batches import BATCH, CLASSES, SIDE, batch_of_digits
from selfsup.training.optimizers import build_optimizer, recipe_of
from selfsup.training.plan import side_step_of
from selfsup.training.state import EpochLog

#: Learning rates with which a single batch is learnt in a few steps, by optimizer.
RATES = {"sgd": 0.1, "lars": 0.1, "adam": 0.003, "adamw": 0.003}
#: Steps of an epoch, and of the training, that the checks pretend to be in.
STEPS_PER_EPOCH, STEPS = 2, 100


def check_method(cls: type[Method], *, lr: float | None = None, steps: int = 50, **settings: Any) -> None:
    """Check that a method keeps what :class:`selfsup.methods.Method` promises, on every kind of network that it takes.

    Parameters
    ----------
    cls : type of Method
    lr : float, optional
        Learning rate with which `cls` learns a single batch of digits; by default one that suits its optimizer.
    steps : int
        Steps in which it must have learnt it.
    **settings
        Settings of the method, for example smaller heads.

    Raises
    ------
    AssertionError
        Names the promise that is broken.
    """
    check_description(cls)
    for transformer in [True] if cls.tags.needs_tokens else [False, True]:
        check_construction(cls, transformer=transformer, **settings)
        if cls.tags.trains:
            for check in (check_loss, check_labels, check_parameters, check_state):
                check(cls, transformer=transformer, **settings)
            check_learning(cls, lr=lr, steps=steps, transformer=transformer, **settings)


def check_description(cls: type[Method]) -> None:
    """Paper, docstring, settings and tags are there and agree with each other."""
    assert isinstance(cls.paper, Paper), "paper must be a Paper"
    assert cls.paper.authors, "paper.authors is empty"
    assert cls.paper.title, "paper.title is empty"
    assert cls.paper.url.startswith("https://"), f"paper.url {cls.paper.url!r} is not an https address"
    assert cls.__doc__, "the class has no docstring"
    assert issubclass(cls.Settings, MethodSettings), "Settings must be a subclass of selfsup.methods.MethodSettings"
    defaults = cls.Settings()
    assert cls.Settings(**defaults.model_dump(mode="json")) == defaults, "the default settings do not fit themselves"
    assert cls.Settings.model_config.get("extra") == "forbid", "Settings accepts an option that it does not have"
    if not cls.tags.trains:
        assert cls.loss is Method.loss, "a method that does not train has no loss"
        assert not cls.tags.uses_labels, "a method that does not train cannot use labels"


def check_construction(cls: type[Method], **options: Any) -> None:
    """Built on any backbone, which it leaves as it was, with and without knowledge of the data."""
    sizes: dict[str, int] = {"num_classes": CLASSES, "num_images": 1000}
    transformer = options.pop("transformer", False)
    settings = cls.Settings(**options)
    for given in [sizes] if cls.tags.uses_labels else [sizes, {}]:
        backbone = _network(transformer)
        before = copy.deepcopy(backbone.state_dict())
        method = cls(backbone, settings, **given)
        assert method.backbone is backbone, "the method must train the backbone that it is given, not a copy"
        assert _equal(before, backbone.state_dict()), "the method changed the backbone's weights when it was built"
        assert method.settings == settings, "the method must keep its settings"
        assert isinstance(method.encoder, Backbone), "encoder must be a Backbone"
        assert method.encoder.num_features == backbone.num_features, "the encoder has another width than the backbone"


def check_loss(cls: type[Method], **options: Any) -> None:
    """A finite float32 scalar, whatever the arithmetic, with a gradient for the backbone."""
    method = build(cls, **options)
    batch = batch_for(method)
    untouched = copy.deepcopy(batch)
    step = _loss(method, batch)
    assert isinstance(step, Step), "loss() must return a Step"
    assert step.loss.shape == (), f"the loss has shape {tuple(step.loss.shape)}, not ()"
    assert step.loss.dtype == torch.float32, f"the loss is {step.loss.dtype}, not float32"
    assert torch.isfinite(step.loss), f"the loss is {step.loss.item()}"
    width = method.backbone.num_features
    assert step.embedding.ndim == 2, "the embedding must have one row per view"
    assert step.embedding.shape[1] == width, "the embedding must be the encoder's output"
    assert len(step.embedding) >= BATCH, "the embedding must have a row for every image"
    if step.pair is not None:
        first, second = step.pair
        assert first.shape == second.shape, f"the pair has shapes {tuple(first.shape)} and {tuple(second.shape)}"
        assert len(first) == BATCH, "the pair must have a row for every image"
    taken = {field.name for field in fields(EpochLog)} & set(step.scalars)
    assert not taken, f"the training log has columns of the names {sorted(taken)} already"
    for name, value in step.scalars.items():
        assert value.shape == (), f"the scalar '{name}' has shape {tuple(value.shape)}, not ()"
        assert torch.isfinite(value), f"the scalar '{name}' is {value.item()}"
    for group, views in batch.views.items():
        assert all(map(torch.equal, views, untouched.views[group])), "loss() changed the views"
    step.loss.backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in method.backbone.parameters()]
    assert all(gradient is not None for gradient in gradients), "part of the backbone gets no gradient"
    assert any(gradient.abs().sum() > 0 for gradient in gradients if gradient is not None), "the gradient is zero"
    with torch.autocast("cpu", torch.bfloat16):
        half = _loss(build(cls, **options), batch).loss
    assert half.dtype == torch.float32, f"under autocast the loss is {half.dtype}, not float32"
    two = _loss(build(cls, **options), batch_for(method, size=2)).loss
    assert torch.isfinite(two), f"the loss of a batch of two images is {two.item()}"


def check_labels(cls: type[Method], **options: Any) -> None:
    """Labels are read if, and only if, ``tags.uses_labels``."""
    method = build(cls, **options)
    batch = batch_for(method)
    other = batch.labels // 2 if cls.tags.uses_labels else torch.full_like(batch.labels, -1)
    changed = _loss(build(cls, **options), batch._replace(labels=other)).loss
    same = torch.equal(_loss(method, batch).loss, changed)
    assert same != cls.tags.uses_labels, f"tags.uses_labels is {cls.tags.uses_labels}, which is not so"
    if cls.tags.takes_several_labels:
        one_each = torch.nn.functional.one_hot(batch.labels, CLASSES).bool()
        losses = [_loss(build(cls, **options), batch._replace(labels=has)).loss for has in (one_each, ~one_each)]
        assert not torch.equal(*losses), "of images with several labels, these are not read"


def check_parameters(cls: type[Method], **options: Any) -> None:
    """Every parameter that takes a gradient is optimised once; biases and norms take no weight decay."""
    method = build(cls, **options)
    groups = method.parameter_groups()
    grouped = [id(parameter) for group in groups for parameter in group.parameters]
    assert len(grouped) == len(set(grouped)), "a parameter is in two groups"
    taking = {id(parameter) for parameter in method.parameters() if parameter.requires_grad}
    assert set(grouped) == taking, "parameter_groups() must hold all parameters that take a gradient, and no others"
    for group in groups:
        vectors = [parameter for parameter in group.parameters if parameter.ndim <= 1]
        assert not (group.decays and vectors), "biases and norms must take no weight decay"


def check_learning(cls: type[Method], *, lr: float | None = None, steps: int = 50, **options: Any) -> None:
    """The loss of one batch, seen again and again, ends below what it is without learning.

    Not below the first loss: the loss of a method with a queue rises while its random keys give
    way to those of real images.
    """
    method = build(cls, **options)
    batch = batch_for(method)
    rate = lr or RATES[recipe_of(method).optimizer]
    losses = {}
    for each in (0.0, rate):
        method = build(cls, **options)
        losses[each] = _fit(method, build_optimizer(method, each) if each else None, batch, steps)
        assert np.isfinite(losses[each]).all(), f"with learning rate {each} the loss is not finite: {losses[each]}"
    without, learnt = losses[0.0][-1], losses[rate][-1]
    assert learnt < without - 0.05 * abs(without), (
        f"after {steps} steps on one batch the loss is {learnt}, and {without} without learning"
    )


def check_state(cls: type[Method], **options: Any) -> None:
    """All state is in ``state_dict``: a new method that loads it takes the same next step to the last bit."""
    method = build(cls, **options)
    batch = batch_for(method)
    rate = RATES[recipe_of(method).optimizer]
    optimizer = build_optimizer(method, rate)
    _fit(method, optimizer, batch, 3)
    stored = io.BytesIO()
    torch.save({"method": method.state_dict(), "optimizer": optimizer.state_dict()}, stored)
    stored.seek(0)
    state = torch.load(stored, weights_only=True)
    restored = build(cls, seed=1, **options)
    restored_optimizer = build_optimizer(restored, rate)
    restored.load_state_dict(state["method"])
    restored_optimizer.load_state_dict(state["optimizer"])
    for step in (3, 4):
        expected = _fit(method, optimizer, batch, 1, first=step)
        found = _fit(restored, restored_optimizer, batch, 1, first=step)
        assert found == expected, f"after loading state_dict the next loss is {found}, not {expected}"
    assert _equal(method.state_dict(), restored.state_dict()), "after loading state_dict the next steps differ"


# -- what the checks work with -------------------------------------------------------------------


def build(cls: type[Method], *, seed: int = 0, transformer: bool | None = None, **settings: Any) -> Method:
    """The method on a tiny network, in training mode, for ten classes."""
    torch.manual_seed(seed)
    backbone = _network(cls.tags.needs_tokens if transformer is None else transformer)
    given: dict[str, Any] = {"num_classes": CLASSES, "num_images": 1000, **teacher_for(cls, 1000)}
    return cls(backbone, cls.Settings(**settings), **given).train()


def teacher_for(cls: type[Method], images: int) -> dict[str, Tensor]:
    """What stands for a teacher's embeddings of so many images, the same at every call; nothing for other methods."""
    found = torch.randn(images, 16, generator=torch.Generator().manual_seed(0))
    return {"teacher": F.normalize(found, dim=1)} if cls.tags.needs_teacher else {}


def batch_for(method: Method, *, size: int = BATCH, step: int = STEPS // 2) -> Batch:
    """Digits in the views and masks that a method asks for, each view shifted another way, and their classes."""
    generator = torch.Generator().manual_seed(0)
    groups = method.view_groups()
    shifted, labels = batch_of_digits(sum(group.count for group in groups), size=size)
    every = iter(shifted)
    views: dict[str, list[Tensor]] = {}
    masks: dict[str, list[Tensor]] = {}
    for group in groups:
        side = group.pixels(SIDE, side_step_of(method.backbone.patch_size))
        views[group.name] = [next(every)[:, :, :side, :side].contiguous() for _ in range(group.count)]
        if group.mask is not None:
            masks[group.name] = [group.mask.draw(size, side, generator) for _ in range(group.count)]
    return Batch(views, labels, Progress(step, STEPS, STEPS_PER_EPOCH), masks, torch.arange(size))


def batch_of(views: Sequence[Tensor], labels: Tensor, *, step: int = STEPS // 2) -> Batch:
    """Given views as the batch of a method that asks for one group, named "global", half-way through a training."""
    return Batch({"global": list(views)}, labels, Progress(step, STEPS, STEPS_PER_EPOCH), {}, torch.arange(len(labels)))


def _network(transformer: bool) -> Backbone:
    return tiny_transformer() if transformer else tiny_backbone()


def _loss(method: Method, batch: Batch, *, step: int = 0) -> Step:
    torch.manual_seed(1000 + step)
    return method.loss(batch)


def _fit(
    method: Method, optimizer: torch.optim.Optimizer | None, batch: Batch, steps: int, *, first: int = 0
) -> list[float]:
    """Losses of `steps` steps on one batch, as the training loop takes them; without optimizer nothing is learnt."""
    losses = []
    for step in range(first, first + steps):
        progress = Progress(step, STEPS, STEPS_PER_EPOCH)
        answers: list[object] = []
        with torch.set_grad_enabled(optimizer is not None):
            loss = _loss(method, batch._replace(progress=progress), step=step).loss
        if optimizer is not None:
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            answers.append(method.after_backward(progress))  # type: ignore[func-returns-value]
            optimizer.step()
        answers.append(method.after_step(progress._replace(step=step + 1)))  # type: ignore[func-returns-value]
        assert set(answers) == {None}, "after_backward() and after_step() must return nothing"
        losses.append(loss.item())
    return losses


def _equal(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())
