"""The batches of a training: a function of the step alone, so that they can be made before they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from selfsup.seeding import derive_seed
from selfsup.training.distributed import Shards
from selfsup.training.plan import TrainingPlan
from selfsup.views import Policy, View, ViewGroup
from selfsup.views.base import to_device

#: Images that are read at once when all are brought to the device.
CHUNK = 512
#: Most that they may take of the device's free memory: others train there too.
MOST_MEMORY = 1 / 8


class Images(Protocol):
    """What a training needs of the store."""

    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        """Pixels uint8 (n, channels, H, W) and true sizes int64 (n, 2) of the images at `indices`."""
        ...


class Request(NamedTuple):
    """A step that a training wants: its epoch and number, from 0, and the rows of its batch among the images."""

    epoch: int
    step: int
    rows: np.ndarray


class Inputs(NamedTuple):
    """What a step is computed from, on the device: views and masks by group, labels (-1 unknown), places."""

    views: dict[str, list[Tensor]]
    masks: dict[str, list[Tensor]]
    labels: Tensor
    places: Tensor


@dataclass(frozen=True)
class Loading:
    """How images come to the device; what they are does not depend on it.

    Attributes
    ----------
    resident : bool
        The training's images stay in the device's memory, where they fit.
    ahead : bool
        A thread makes the next batch while the device trains on this one. Not with several devices per cell, whose
        processes must exchange in one order.
    """

    resident: bool = False
    ahead: bool = False


#: How they come to a CUDA device unless a training is told otherwise.
ON_CUDA = Loading(resident=True, ahead=True)


class Batches:
    """Which images come in which step, and their views.

    Parameters
    ----------
    images, indices, labels, plan
        As for :class:`selfsup.training.loop.Training`.
    view_groups : sequence of (ViewGroup, Policy)
    shards : Shards
        Which rows of a batch this process makes.
    device : torch.device
    loading : Loading
    """

    def __init__(
        self,
        images: Images,
        indices: np.ndarray,
        labels: np.ndarray,
        view_groups: Sequence[tuple[ViewGroup, Policy]],
        plan: TrainingPlan,
        shards: Shards,
        device: torch.device,
        loading: Loading,
    ) -> None:
        self.steps_per_epoch = plan.steps_per_epoch(len(indices))
        self._steps = plan.epochs * self.steps_per_epoch
        self._images, self._indices, self._labels = images, indices, labels
        self._view_groups, self._plan, self._shards, self._device = view_groups, plan, shards, device
        self._resident = loading.resident
        self._order: tuple[int, list[np.ndarray]] = (-1, [])
        self._ahead = _Ahead(self._make, device) if loading.ahead and shards.count == 1 else None

    def request(self, step: int) -> Request:
        """The step's images: every image once per epoch, in batches of equal size ± 1.

        Equal batches, rather than a short last one that is dropped or trained on as it is: every
        image counts in every epoch, and the number of negatives does not jump.
        """
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._order[0] != epoch:
            rng = np.random.default_rng(derive_seed(self._plan.seed, "order", epoch))
            self._order = epoch, np.array_split(rng.permutation(len(self._indices)), self.steps_per_epoch)
        return Request(epoch, step, self._order[1][place])

    def get(self, request: Request) -> Inputs:
        """The batch of a step."""
        if self._ahead is None:
            return self._make(request)
        following = request.step + 1
        return self._ahead.get(request, self.request(following) if following < self._steps else None)

    def pause(self) -> None:
        """Wait until nothing is being made ahead; the next :meth:`get` goes on."""
        if self._ahead is not None:
            self._ahead.pause()

    def _make(self, request: Request) -> Inputs:
        count = len(request.rows)
        mine = self._shards.rows(count)
        images, indices = self._source
        pixels, sizes = images.batch(indices[request.rows[mine]])
        pixels, sizes = to_device(pixels, self._device), sizes.cpu()
        all_sizes = self._shards.gather(sizes, count)
        full_side = self._plan.side(request.epoch)
        generator = torch.Generator().manual_seed(derive_seed(self._plan.seed, "views", request.step))
        views: dict[str, list[Tensor]] = {}
        masks: dict[str, list[Tensor]] = {}
        index = 0
        for group, policy in self._view_groups:
            side = group.pixels(full_side, self._plan.side_step)
            drawn = []
            for _ in range(group.count):
                # Drawn for the whole batch, so that a view does not depend on how the batch is divided.
                drawn.append(policy.draw(all_sizes, side, generator, View(index, group.scale))[mine])
                if group.mask is not None:
                    hidden = to_device(group.mask.draw(count, side, generator), self._device)
                    masks.setdefault(group.name, []).append(hidden)
                index += 1
            # A GPU computes them faster than the host can ask for them; on a CPU those of one view fit the cache.
            made = views_of(policy, pixels, sizes, drawn, side, at_once=self._device.type == "cuda")
            views.setdefault(group.name, []).extend(self._shards.gather(view, count) for view in made)
        labels, places = (torch.from_numpy(rows) for rows in (self._labels[request.rows], request.rows))
        return Inputs(views, masks, to_device(labels, self._device), to_device(places, self._device))

    @cached_property
    def _source(self) -> tuple[Images, np.ndarray]:
        """Where images are read from, and their indices there; of fused trainings, one alone comes to this."""
        kept = keep_on(self._device, self._images, self._indices) if self._resident else None
        return (self._images, self._indices) if kept is None else (kept, np.arange(len(self._indices)))


def views_of(
    policy: Policy, pixels: Tensor, sizes: Tensor, drawn: Sequence[Any], side: int, *, at_once: bool
) -> Sequence[Tensor]:
    """A view of each image for each of the parameters `drawn`, one after another or all of them `at_once`."""
    if not at_once or len(drawn) == 1:
        return [policy.apply(pixels, sizes, parameters, side) for parameters in drawn]
    number, joined = len(drawn), type(drawn[0]).join(drawn)
    return policy.apply(torch.cat([pixels] * number), torch.cat([sizes] * number), joined, side).split(len(pixels))


class _Ahead:
    """Makes every batch while the one before it is used: in a thread, and on a stream, of its own."""

    def __init__(self, make: Callable[[Request], Inputs], device: torch.device) -> None:
        self._make_batch, self._device = make, device
        self._thread = ThreadPoolExecutor(1, "batches")
        self._begun: dict[int, Future[tuple[Inputs, Any]]] = {}
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def get(self, request: Request, following: Request | None) -> Inputs:
        """The batch of a step; that of the `following` one is begun."""
        begun = self._begun.pop(request.step, None) or self._thread.submit(self._make, request)
        self._begun = {} if following is None else {following.step: self._thread.submit(self._make, following)}
        inputs, ready = begun.result()
        if ready is not None:
            using = torch.cuda.current_stream(self._device)
            using.wait_event(ready)
            views_and_masks = [*inputs.views.values(), *inputs.masks.values()]
            for tensor in [inputs.labels, inputs.places, *(tensor for group in views_and_masks for tensor in group)]:
                tensor.record_stream(using)  # its memory is not given to the next batch before this one is used
        return inputs

    def pause(self) -> None:
        """Wait until what is begun is done."""
        wait(self._begun.values())

    def _make(self, request: Request) -> tuple[Inputs, Any]:
        with torch.cuda.stream(self._stream):  # of None, nothing
            inputs = self._make_batch(request)
            return inputs, self._stream.record_event() if self._stream else None


class KeptImages:
    """Images in a device's memory, side by side; one is asked for by its place among them."""

    def __init__(self, pixels: Tensor, sizes: Tensor) -> None:
        self.pixels, self.sizes = pixels, sizes

    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        rows = torch.from_numpy(indices)
        return self.pixels.index_select(0, to_device(rows, self.pixels.device)), self.sizes[rows]


def keep_on(device: torch.device, images: Images, indices: np.ndarray) -> KeptImages | None:
    """The images at `indices` in the device's memory, or None where they would take too much of it."""
    free = free_memory(device)
    chunks: list[Tensor] = []
    all_sizes: list[Tensor] = []
    for start in range(0, len(indices), CHUNK):
        pixels, sizes = images.batch(indices[start : start + CHUNK])
        if pixels[0].numel() * len(indices) > free:
            return None
        chunks.append(to_device(pixels, device))
        all_sizes.append(sizes.cpu())
    sizes = torch.cat(all_sizes)
    height, width = sizes.amax(0).tolist()
    padded = [F.pad(chunk, (0, width - chunk.shape[3], 0, height - chunk.shape[2])) for chunk in chunks]
    return KeptImages(torch.cat(padded).contiguous(memory_format=torch.channels_last), sizes)


def free_memory(device: torch.device) -> float:
    """Bytes that images may take of a device's memory; as many as there are, where it is not known."""
    return torch.cuda.mem_get_info(device)[0] * MOST_MEMORY if device.type == "cuda" else float("inf")
