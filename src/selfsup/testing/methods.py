"""Checks that every implementation must pass; a plug-in runs them in its own tests.

Examples
--------
>>> from selfsup.methods import method_class
>>> from selfsup.testing.methods import check_method
>>> check_method(method_class("frozen"))
"""

from __future__ import annotations

import copy
import io
import multiprocessing
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from selfsup.backbones import Backbone
from selfsup.methods.base import Method, Paper, Settings, Step
from selfsup.testing.digits import BATCH, CLASSES, SIDE, batch_of_digits
from selfsup.training.device import Hardware
from selfsup.training.loop import TrainingPlan, build_optimizer, train
from selfsup.training.processes import joined_fabric
from selfsup.views import load_policy


def check_method(cls: type[Method], *, lr: float = 0.1, steps: int = 50) -> None:
    """Check that a method keeps what :class:`selfsup.methods.Method` promises.

    Parameters
    ----------
    cls : type of Method
    lr : float
        Learning rate with which `cls` learns a single batch of digits.
    steps : int
        Steps in which it must have learnt it.

    Raises
    ------
    AssertionError
        Names the promise that is broken.
    """
    check_description(cls)
    check_construction(cls)
    if cls.traits.trains:
        check_loss(cls)
        check_labels(cls)
        check_learning(cls, lr=lr, steps=steps)
        check_state(cls, lr=lr)


def check_description(cls: type[Method]) -> None:
    """Paper, docstring, settings and traits are there and agree with each other."""
    assert isinstance(cls.paper, Paper), "paper must be a Paper"
    assert cls.paper.authors, "paper.authors is empty"
    assert cls.paper.title, "paper.title is empty"
    assert cls.paper.url.startswith("https://"), f"paper.url {cls.paper.url!r} is not an https address"
    assert cls.__doc__, "the class has no docstring"
    assert issubclass(cls.Settings, Settings), "Settings must be a subclass of selfsup.methods.Settings"
    defaults = cls.Settings()
    assert cls.Settings(**defaults.model_dump(mode="json")) == defaults, "the default settings do not fit themselves"
    assert _refuses_unknown_settings(cls.Settings), "Settings accepts an option that it does not have"
    if cls.traits.trains:
        assert cls.views >= 1, "a method that trains needs at least one view"
    else:
        assert cls.views == 0, "a method that does not train takes no views"
        assert not cls.traits.uses_labels, "a method that does not train cannot use labels"


def check_construction(cls: type[Method]) -> None:
    """Built on any backbone, which it leaves as it was, with and without knowledge of the data."""
    sizes: dict[str, int] = {"num_classes": CLASSES, "num_images": 1000}
    for given in [sizes] if cls.traits.uses_labels else [sizes, {}]:
        backbone = tiny_backbone()
        before = copy.deepcopy(backbone.state_dict())
        method = cls(backbone, cls.Settings(), **given)
        assert method.backbone is backbone, "the method must train the backbone that it is given, not a copy"
        assert _equal(before, backbone.state_dict()), "the method changed the backbone's weights when it was built"
        assert method.settings == cls.Settings(), "the method must keep its settings"


def check_loss(cls: type[Method]) -> None:
    """A finite float32 scalar, whatever the arithmetic, with a gradient for the backbone."""
    method = build(cls)
    views, labels = batch_of_digits(cls.views)
    untouched = [view.clone() for view in views]
    step = _loss(method, views, labels)
    assert isinstance(step, Step), "loss() must return a Step"
    assert step.loss.shape == (), f"the loss has shape {tuple(step.loss.shape)}, not ()"
    assert step.loss.dtype == torch.float32, f"the loss is {step.loss.dtype}, not float32"
    assert torch.isfinite(step.loss), f"the loss is {step.loss.item()}"
    width = method.backbone.num_features
    assert step.embedding.ndim == 2, "the embedding must have one row per view"
    assert step.embedding.shape[1] == width, "the embedding must be the backbone's output"
    assert len(step.embedding) >= BATCH, "the embedding must have a row for every image"
    if step.pair is not None:
        first, second = step.pair
        assert first.shape == second.shape, f"the pair has shapes {tuple(first.shape)} and {tuple(second.shape)}"
        assert len(first) == BATCH, "the pair must have a row for every image"
    assert all(map(torch.equal, views, untouched)), "loss() changed the views"
    step.loss.backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in method.backbone.parameters()]
    assert all(gradient is not None for gradient in gradients), "part of the backbone gets no gradient"
    assert any(gradient.abs().sum() > 0 for gradient in gradients if gradient is not None), "the gradient is zero"
    with torch.autocast("cpu", torch.bfloat16):
        half = _loss(build(cls), views, labels).loss
    assert half.dtype == torch.float32, f"under autocast the loss is {half.dtype}, not float32"
    two = _loss(build(cls), [view[:2] for view in views], labels[:2]).loss
    assert torch.isfinite(two), f"the loss of a batch of two images is {two.item()}"


def check_labels(cls: type[Method]) -> None:
    """Labels are read if, and only if, ``traits.uses_labels``."""
    views, labels = batch_of_digits(cls.views)
    other = (labels + 1) % CLASSES if cls.traits.uses_labels else torch.full_like(labels, -1)
    same = torch.equal(_loss(build(cls), views, labels).loss, _loss(build(cls), views, other).loss)
    assert same != cls.traits.uses_labels, f"traits.uses_labels is {cls.traits.uses_labels}, which is not so"


def check_learning(cls: type[Method], *, lr: float, steps: int) -> None:
    """The loss of one batch, seen again and again, ends below what it is without learning.

    Not below the first loss: the loss of a method with a queue rises while its random keys give
    way to those of real images.
    """
    batch = batch_of_digits(cls.views)
    losses = {}
    for rate in (0.0, lr):
        method = build(cls)
        losses[rate] = _fit(method, build_optimizer(method, rate), batch, steps)
        assert np.isfinite(losses[rate]).all(), f"with learning rate {rate} the loss is not finite: {losses[rate]}"
    without, learnt = losses[0.0][-1], losses[lr][-1]
    assert learnt < without - 0.05 * abs(without), (
        f"after {steps} steps on one batch the loss is {learnt}, and {without} without learning"
    )


def check_state(cls: type[Method], *, lr: float) -> None:
    """All state is in ``state_dict``: a new method that loads it takes the same next step to the last bit."""
    batch = batch_of_digits(cls.views)
    method = build(cls)
    optimizer = build_optimizer(method, lr)
    _fit(method, optimizer, batch, 3)
    stored = io.BytesIO()
    torch.save({"method": method.state_dict(), "optimizer": optimizer.state_dict()}, stored)
    stored.seek(0)
    state = torch.load(stored, weights_only=True)
    restored = build(cls, seed=1)
    restored_optimizer = build_optimizer(restored, lr)
    restored.load_state_dict(state["method"])
    restored_optimizer.load_state_dict(state["optimizer"])
    for step in (3, 4):
        expected = _fit(method, optimizer, batch, 1, first=step)
        found = _fit(restored, restored_optimizer, batch, 1, first=step)
        assert found == expected, f"after loading state_dict the next loss is {found}, not {expected}"
    assert _equal(method.state_dict(), restored.state_dict()), "after loading state_dict the next steps differ"


def check_devices(*classes: type[Method], count: int = 2) -> None:
    """Check that methods have the same loss, gradients and state on several devices as on one.

    Starts `count` processes on the CPU, for all the methods together; their batches do not divide evenly.

    Parameters
    ----------
    *classes : type of Method
        At the top of a module, where another process finds them.
    count : int
        At least 2.

    Raises
    ------
    AssertionError
        Names what differs, by rank.
    """
    expected = [_observe_training(cls, Hardware("cpu", "fp32").fabric()) for cls in classes]
    for rank, found in enumerate(in_processes(_observe_trainings, count, classes)):
        for cls, one, many in zip(classes, expected, found, strict=True):
            assert one.keys() == many.keys(), f"{cls.__name__}: not the same values exist on {count} devices"
            for name, value in one.items():
                bound = 1e-4 * float(value.abs().max()) + 1e-5
                error = float((value - many[name]).abs().max())
                assert error <= bound, f"{cls.__name__}: on rank {rank} of {count} {name} is off by {error:.2g}"


def in_processes(task: Callable[..., Any], count: int, *arguments: Any) -> list[Any]:
    """What ``task(fabric, *arguments)`` returns in each of `count` joined processes on the CPU.

    `task` and `arguments` must be what :mod:`pickle` can name, and the value what it can hold.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        started = [pool.submit(_joined, task, rank, count, port, arguments) for rank in range(count)]
        return [future.result(timeout=120) for future in started]


def _joined(task: Callable[..., Any], rank: int, count: int, port: int, arguments: tuple[Any, ...]) -> Any:
    torch.set_num_threads(1)
    return task(joined_fabric(Hardware("cpu", "fp32"), rank, count, port), *arguments)


def _observe_trainings(fabric: Any, classes: Sequence[type[Method]]) -> list[dict[str, Tensor]]:
    return [_observe_training(cls, fabric) for cls in classes]


def _observe_training(cls: type[Method], fabric: Any) -> dict[str, Tensor]:
    """Loss, gradients of each step, and state after two steps on the digits."""
    method = build(cls)
    names = {id(parameter): name for name, parameter in method.named_parameters()}
    seen: dict[str, Tensor] = {}
    steps = iter(range(2))

    def see(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        step = next(steps)
        for parameter in (p for group in optimizer.param_groups for p in group["params"]):
            if parameter.grad is not None:
                seen[f"gradient {step} of {names[id(parameter)]}"] = parameter.grad.clone()

    images = 2 * BATCH + 3
    plan = TrainingPlan(epochs=1, batch_size=BATCH + 2, image_size=SIDE, lr=0.01, seed=0)
    labels = batch_of_digits(1, size=images)[1].numpy()
    hook = register_optimizer_step_pre_hook(see)
    try:
        outcome = train(method, _Digits(), np.arange(images), labels, load_policy("weak"), plan, fabric)
    finally:
        hook.remove()
    (line,) = outcome.progress.log
    seen["loss"] = torch.tensor(line.loss)
    seen["embedding_std"] = torch.tensor(line.embedding_std)
    return seen | {f"state {name}": value.clone() for name, value in method.state_dict().items()}


class _Digits:
    """The digits as the training loop asks for images."""

    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        (view,), _ = batch_of_digits(1, size=int(indices.max()) + 1)
        return (view[indices] * 255).byte(), torch.full((len(indices), 2), SIDE)


# -- what the checks work with -------------------------------------------------------------------


def tiny_backbone(width: int = 24) -> Backbone:
    """A network of two convolutions for any size of image, from torch's global random state."""
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    return Backbone(network, width, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def build(cls: type[Method], *, seed: int = 0, **settings: Any) -> Method:
    """The method on a tiny backbone, in training mode, for ten classes."""
    torch.manual_seed(seed)
    return cls(tiny_backbone(), cls.Settings(**settings), num_classes=CLASSES, num_images=1000).train()


def _loss(method: Method, views: Sequence[Tensor], labels: Tensor, *, step: int = 0) -> Step:
    torch.manual_seed(1000 + step)
    return method.loss(views, labels)


def _fit(
    method: Method, optimizer: torch.optim.Optimizer, batch: tuple[list[Tensor], Tensor], steps: int, *, first: int = 0
) -> list[float]:
    """Losses of `steps` steps on one batch, as the training loop takes them."""
    losses = []
    for step in range(first, first + steps):
        loss = _loss(method, *batch, step=step).loss
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        answer: object = method.after_step(min(1.0, (step + 1) / 100))  # type: ignore[func-returns-value]
        assert answer is None, "after_step() must return nothing"
        losses.append(loss.item())
    return losses


def _equal(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def _refuses_unknown_settings(settings: type[Settings]) -> bool:
    try:
        settings(**{"no such option": 0})
    except ValidationError:
        return True
    return False
