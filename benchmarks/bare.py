"""The bare work of a training's step: what its networks do with its crops, forward and backward, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from selfsup.backbones.backbone import Backbone, replaced_calls
from selfsup.backbones.tiny_convolution import TinyConv2d
from selfsup.training.loop import Training


def use_plain_convolutions(network: torch.nn.Module) -> None:
    """Turn selfsup's convolutions of `network` into torch's own; names and values stay."""
    for module in network.modules():
        if type(module) is TinyConv2d:
            module.__class__ = torch.nn.Conv2d  # type: ignore[assignment]


@dataclass(frozen=True)
class Call:
    """A call of a backbone or decoder by a method's loss: which, with what, and whether to learn."""

    network: torch.nn.Module
    name: str
    arguments: tuple[Tensor, ...]
    keep: dict[str, Tensor]
    learns: bool

    def again(self) -> Tensor:
        """The embeddings, or tokens, once more."""
        with torch.set_grad_enabled(self.learns):
            found = getattr(self.network, self.name)(*self.arguments, **self.keep)
        return found if isinstance(found, Tensor) else found.patches


class BarePass:
    """Every call that the loss of a training's first step makes of a backbone or a decoder, to be made again and again.

    No views are made; no head, no loss of the method, no optimizer.
    """

    def __init__(self, training: Training) -> None:
        self.training = training
        batch = training.batch(training.batches.request(0))
        with training.fabric.autocast(), _recorded(training.method) as self.calls:
            training.method.loss(batch)
        self._parameters = list(training.method.parameters())

    def take(self) -> None:
        """One pass."""
        with self.training.fabric.autocast():
            outputs = [call.again() for call in self.calls]
            losses = [output.float().square().mean() for output in outputs if output.requires_grad]
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        for parameter in self._parameters:
            parameter.grad = None


@contextmanager
def _recorded(method: torch.nn.Module) -> Iterator[list[Call]]:
    """Within, the calls of every backbone of a method are noted."""
    calls: list[Call] = []

    def noted(backbone: Backbone, name: str) -> Any:
        call = getattr(backbone, name)

        def note(*arguments: Tensor, **keep: Tensor) -> Any:
            calls.append(Call(backbone, name, arguments, keep, torch.is_grad_enabled()))
            return call(*arguments, **keep)

        return note

    def note_decoder(decoder: torch.nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        arguments = tuple(x.detach().requires_grad_(x.requires_grad) for x in arguments)
        calls.append(Call(decoder, "forward", arguments, {}, torch.is_grad_enabled()))

    decoder = getattr(method, "decoder", torch.nn.Module())
    hook = decoder.register_forward_hook(note_decoder)
    with replaced_calls(method, noted):
        yield calls
    hook.remove()
