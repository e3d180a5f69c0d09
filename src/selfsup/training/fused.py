"""Trainings that differ only in learning rate, computed as one batched network.

Small views leave a GPU mostly waiting: the work of one training is too little for it. Horizontally
fused training (Wang et al. 2021, "HFTA: Horizontally Fused Training Array for Novel Deep Learning
Accelerators", MLSys) gives every tensor of the network a further axis, one place per training, and
computes all of them at once. The views do not depend on the learning rate and are made once for all.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from selfsup.errors import Interrupted
from selfsup.methods.base import Batch, Method, Step
from selfsup.training.batches import Request
from selfsup.training.loop import Training
from selfsup.training.state import Outcome


class CannotFuseError(Exception):
    """The networks of the trainings cannot be computed as one; each of them can be trained alone."""


def train_together(trainings: Sequence[Training]) -> list[Outcome]:
    """Run trainings of one method on the same images, views and seed in step with each other.

    Each ends as it would alone, up to rounding: when it diverges, pauses or has levelled off, its
    checkpoint is saved and the others go on. One that was interrupted earlier than the others catches up
    with them first.

    Returns
    -------
    list of Outcome
        In the order of `trainings`.

    Raises
    ------
    CannotFuseError
        If the method does something that cannot be batched, or the device has too little memory.
    Interrupted
        If their callbacks asked to stop; all checkpoints are saved.
    """
    if not trainings[0].method.tags.can_fuse:
        raise CannotFuseError("by its tag can_fuse")
    running = [_Running(training, number) for number, training in enumerate(trainings)]
    outcomes: dict[int, Outcome] = {}
    together: _Together | None = None
    for one in running:
        one.advance(None)
    while True:
        outcomes |= {one.number: one.outcome for one in running if one.outcome is not None}
        running = [one for one in running if one.outcome is None]
        if not running:
            return [outcomes[number] for number in range(len(trainings))]
        first = min(one.request.step for one in running)
        group = [one for one in running if one.request.step == first]
        if together is None or together.numbers != [one.number for one in group]:
            together = _Together(group)
        _advance(group, together.take(group[0].request))


def _advance(group: Sequence[_Running], steps: Sequence[Step]) -> None:
    """Send everyone its step; when they are asked to stop, all save their checkpoints."""
    stopped = False
    for one, step in zip(group, steps, strict=True):
        try:
            one.advance(step)
        except Interrupted:
            stopped = True
    if stopped:
        raise Interrupted


class _Running:
    """A training and the step that it waits for, or how it ended."""

    request: Request

    def __init__(self, training: Training, number: int) -> None:
        self.training, self.number = training, number
        self.outcome: Outcome | None = None
        self._steps: Generator[Request, Step, Outcome] = training.steps()

    def advance(self, step: Step | None) -> None:
        try:
            self.request = self._steps.send(step)  # type: ignore[arg-type]
        except StopIteration as end:
            self.outcome = end.value
            # While the others go on, all may be stopped: what it had left to do again, it would do alone.
            self.training.save_checkpoint()


class _Together:
    """The networks of some trainings as one: every parameter and buffer stacked along a first axis.

    The networks' own tensors become views of the stacked ones, so that whatever works on one of them
    (its optimizer, its momentum encoder, a checkpoint, an embedding) goes on as if it were alone.
    """

    def __init__(self, group: Sequence[_Running]) -> None:
        self.numbers = [one.number for one in group]
        self.trainings = [one.training for one in group]
        for training in self.trainings:
            training.sharing = len(group)
        self._network = _Loss(self.trainings[0].method)
        if len(group) > 1:
            networks = [_Loss(training.method) for training in self.trainings]
            self._parameters, self._buffers = stack_module_state(networks)  # type: ignore[arg-type]
            for number, network in enumerate(networks):
                for name, parameter in network.named_parameters():
                    parameter.data = self._parameters[name].data[number]
                for name, buffer in network.named_buffers():
                    buffer.data = self._buffers[name][number]

    def take(self, request: Request) -> list[Step]:
        """One step of every training."""
        if len(self.trainings) == 1:
            return [self.trainings[0].take(request)]
        first = self.trainings[0]
        batch = first.batch(request)
        try:
            # The views are the same for all, so that nothing of the batch is batched once more.
            losses, embeddings, scalars, *pairs = vmap(partial(self._loss, batch), randomness="same")(
                self._parameters, self._buffers
            )
            first.fabric.backward(losses.sum())
        except (RuntimeError, NotImplementedError, ValueError, TypeError) as error:
            raise CannotFuseError(str(error).splitlines()[0] if str(error) else type(error).__name__) from error
        self._hand_out_gradients()
        for training in self.trainings:
            training.update(request)
        return [
            Step(
                losses[k],
                embeddings[k],
                (pairs[0][k], pairs[1][k]) if pairs else None,
                {name: values[k] for name, values in scalars.items()},
            )
            for k in range(len(self.trainings))
        ]

    def _loss(self, batch: Batch, parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> tuple[Any, ...]:
        # Within, for vmap does not see a precision that was chosen around it.
        with self.trainings[0].fabric.autocast(), _AsAlone():
            step: Step = functional_call(self._network, (parameters, buffers), (batch,))
        scalars = {name: value.detach() for name, value in step.scalars.items()}
        return (step.loss, step.embedding.detach(), scalars, *(side.detach() for side in step.pair or ()))

    def _hand_out_gradients(self) -> None:
        for name, stacked in self._parameters.items():
            gradients, stacked.grad = stacked.grad, None
            if gradients is not None:
                for training, gradient in zip(self.trainings, gradients, strict=True):
                    training.method.get_parameter(name.removeprefix("method.")).grad = gradient


class _AsAlone(TorchFunctionMode):
    """Within, layers do what they do where nothing is batched.

    vmap turns a convolution into one that autocast does not know on every device, and takes running
    statistics of the input's kind alone. On a GPU, batch norm asks of images whose channels come last
    what vmap cannot say; contiguous() would leave those of one pixel, which are both.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.batch_norm and args[0].dim() == 4:
            args = (args[0].clone(memory_format=torch.contiguous_format), *args[1:])
        kind = args[0].device.type if func in (F.conv2d, F.batch_norm) else ""
        if not kind or not torch.is_autocast_enabled(kind):
            return func(*args, **(kwargs or {}))
        lower = torch.get_autocast_dtype(kind)
        if func is F.conv2d:
            tensors: Any = [part.to(lower) if isinstance(part, Tensor) else part for part in args]
            return func(*tensors, **(kwargs or {}))
        return func(args[0].float(), *args[1:], **(kwargs or {})).to(args[0].dtype)


class _Loss(nn.Module):
    """A method whose call is its loss."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: Batch) -> Any:
        return self.method.loss(batch)
