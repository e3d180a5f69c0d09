"""What a step's backbones do as CUDA graphs: recorded once, then started as one, not operator by operator.

For small views a GPU computes an operator faster than the host can ask for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.backbones.backbone import Backbone, replaced_calls

#: Whether a training on a CUDA device does so unless it is told otherwise.
GRAPHS_ON_CUDA = False
#: Most calls that are recorded: each keeps the memory of its activations. Others are made as they were.
MOST_GRAPHS = 16


class Graphs:
    """Records each call of a backbone in a step, forward and backward, and replays it in later steps.

    A call is told by its place in the step and the shapes of what it is given: what two calls of a step give stands
    in two places of memory. Recording changes no weight, statistic or random number. In mixed precision the
    gradients of a network that learns from two calls, as DINO's, are summed in float32 and not in the lower
    precision: a training with graphs ends as without them up to that rounding, of other methods to the last digit.

    Parameters
    ----------
    pause : callable
        Waits until no other thread of this process uses the device: while a graph is recorded, none may.
    """

    def __init__(self, pause: Callable[[], None]) -> None:
        self._pause = pause
        self._recorded: dict[tuple[Any, ...], Callable[..., Any]] = {}

    @contextmanager
    def backbones(self, method: nn.Module) -> Iterator[None]:
        """Within, for one step, every backbone of `method` replays its calls."""
        places = count()

        def replace(backbone: Backbone, name: str) -> Callable[..., Any]:
            def replay(images: Tensor, **rest: Tensor) -> Any:
                call, arguments = _Call(backbone, name, tuple(rest)), (images, *rest.values())
                key = (next(places), name, *(argument.shape for argument in arguments))
                if key not in self._recorded and len(self._recorded) < MOST_GRAPHS:
                    self._recorded[key] = self._record(call, arguments)
                return self._recorded.get(key, call)(*arguments)

            return replay

        with replaced_calls(method, replace):
            yield

    def _record(self, call: _Call, arguments: tuple[Tensor, ...]) -> Callable[..., Any]:
        self._pause()
        kind = arguments[0].device.type
        before = [(buffer, buffer.clone()) for buffer in call.buffers()]  # running statistics
        # A graph may not use weights that were cast to a lower precision outside of it.
        precision = torch.autocast(
            kind, torch.get_autocast_dtype(kind), enabled=torch.is_autocast_enabled(kind), cache_enabled=False
        )
        with torch.random.fork_rng([arguments[0].device] if kind == "cuda" else []), precision:
            copies = tuple(argument.clone() for argument in arguments)
            recorded: Callable[..., Any] = torch.cuda.make_graphed_callables(call, copies, allow_unused_input=True)
        for buffer, value in before:
            buffer.data.copy_(value)  # unseen by a call of this step that is still to go backward
        return recorded


class _Call(nn.Module):
    """A backbone's call as a module of its own, which takes the images, and by place what the call takes by `names`."""

    def __init__(self, backbone: Backbone, name: str, names: tuple[str, ...]) -> None:
        super().__init__()
        self.backbone, self.name, self.names = backbone, name, names

    def forward(self, images: Tensor, *rest: Tensor) -> Any:
        # The class's own function: the instance's is replaced for the time of the step.
        function = getattr(type(self.backbone), self.name)
        return function(self.backbone, images, **dict(zip(self.names, rest, strict=True)))
