"""The check that several devices train a method as one does."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import torch
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from selfsup.methods.base import Method
from selfsup.testing.digit_batches import BATCH, SIDE, batch_of_digits
from selfsup.testing.methods import build
from selfsup.training.device import Hardware
from selfsup.training.loop import Training
from selfsup.training.plan import TrainingPlan
from selfsup.training.processes import joined_fabric
from selfsup.views import load_policy


def check_devices(
    *classes: type[Method], count: int = 2, settings: Mapping[type[Method], Mapping[str, Any]] = {}
) -> None:
    """Check that methods have the same loss, gradients and state on several devices as on one.

    Starts `count` processes on the CPU, for all the methods together; their batches do not divide evenly.

    Parameters
    ----------
    *classes : type of Method
        At the top of a module, where another process finds them.
    count : int
        At least 2.
    settings : mapping
        Of some of the methods, for example smaller heads.

    Raises
    ------
    AssertionError
        Names what differs, by rank.
    """
    tasks = [(cls, settings.get(cls, {})) for cls in classes]
    expected = _observe_trainings(Hardware("cpu", "fp32").fabric(), tasks)
    for rank, found in enumerate(in_processes(_observe_trainings, count, tasks)):
        for cls, one, many in zip(classes, expected, found, strict=True):
            assert one.keys() == many.keys(), f"{cls.__name__}: not the same values exist on {count} devices"
            for name, value in one.items():
                # As a whole: a few gradients jump where rounding takes an activation over the kink of its ReLU.
                bound = 1e-3 * float(value.double().norm()) + 1e-5
                error = float((value - many[name]).double().norm())
                assert error <= bound, f"{cls.__name__}: on rank {rank} of {count} {name} is off by {error:.2g}"


def in_processes(task: Callable[..., Any], count: int, *arguments: Any) -> list[Any]:
    """What ``task(fabric, *arguments)`` returns in each of `count` joined processes on the CPU.

    `task` and `arguments` must be what :mod:`pickle` can name, and the value what it can hold.
    """
    port = find_free_network_port()
    # Of a server that has imported this module they come within tenths of a second, and else within seconds.
    serving = "forkserver" in multiprocessing.get_all_start_methods()
    start = multiprocessing.get_context("forkserver" if serving else "spawn")
    start.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(count, mp_context=start) as pool:
        started = [pool.submit(_joined, task, rank, count, port, arguments) for rank in range(count)]
        return [future.result(timeout=120) for future in started]


def _joined(task: Callable[..., Any], rank: int, count: int, port: int, arguments: tuple[Any, ...]) -> Any:
    torch.set_num_threads(1)
    return task(joined_fabric(Hardware("cpu", "fp32"), rank, count, port), *arguments)


def _observe_trainings(fabric: Any, tasks: Sequence[tuple[type[Method], Mapping[str, Any]]]) -> list[dict[str, Tensor]]:
    return [_observe_training(cls, settings, fabric) for cls, settings in tasks]


def _observe_training(cls: type[Method], settings: Mapping[str, Any], fabric: Any) -> dict[str, Tensor]:
    """Loss, gradients of each step, and state after two steps on the digits."""
    # Plain steps: Adam would make a step of its own of gradients that are nothing but rounding.
    method = build(cls, optimizer="sgd", **settings)
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
        outcome = Training(method, _Digits(), np.arange(images), labels, load_policy("weak"), plan, fabric).run()
    finally:
        hook.remove()
    (line,) = outcome.state.log
    seen["loss"] = torch.tensor(line.loss)
    seen["embedding_std"] = torch.tensor(line.embedding_std)
    return seen | {f"state {name}": value.clone() for name, value in method.state_dict().items()}


class _Digits:
    """The digits as the training loop asks for images."""

    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        (view,), _ = batch_of_digits(1, size=int(indices.max()) + 1)
        return (view[indices] * 255).byte(), torch.full((len(indices), 2), SIDE)
