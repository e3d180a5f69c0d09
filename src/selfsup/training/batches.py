"""The batches of a training: a function of the step alone, so that they can be made before they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cached_property, lru_cache
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
#: Batches that the disk reads ahead of those that are made at once.
ANNOUNCED = 2


class Images(Protocol):
    """What a training needs of the store; one on a disk has `will_need(indices)` too, which is told what comes soon."""

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
    steps : int
        Steps of an epoch, at least 1, whose views are made at once, where they are small: a GPU computes them faster
        than the host can ask for them. Not with several devices per cell either.
    """

    resident: bool = False
    ahead: bool = False
    steps: int = 1


#: How they come to a CUDA device unless a training is told otherwise: plainly, until more was measured there.
ON_CUDA = Loading()
#: Bytes of the views that are made at once, unless those of one step are more.
AT_ONCE = 128 * 1024**2


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
        self._order = lru_cache(ANNOUNCED + 2)(self._draw_order)  # of as many epochs as are asked for by turns
        self._announced = 0
        self._ahead = _Ahead(self._make, device) if loading.ahead and shards.count == 1 else None
        self._at_once = max(1, min(loading.steps, AT_ONCE // self._bytes())) if shards.count == 1 else 1
        self._made: tuple[int, list[Inputs]] = (-1, [])

    def request(self, step: int) -> Request:
        """The step's images: every image once per pass of an epoch, in batches of equal size ± 1.

        Equal batches, rather than a short last one that is dropped or trained on as it is: every
        image counts in every epoch, and the number of negatives does not jump.
        """
        epoch, place = divmod(step, self.steps_per_epoch)
        return Request(epoch, step, self._order(epoch)[place])

    def _draw_order(self, epoch: int) -> list[np.ndarray]:
        rng = np.random.default_rng(derive_seed(self._plan.seed, "order", epoch))
        count, steps = len(self._indices), self._plan.steps_per_pass(len(self._indices))
        passes = (np.array_split(rng.permutation(count), steps) for _ in range(self._plan.passes(count)))
        return [rows for of_pass in passes for rows in of_pass]

    def get(self, request: Request) -> Inputs:
        """The batch of a step."""
        # From the same step on, whichever is asked for: a training that goes on computes what it would have.
        first = request.step - request.step % self.steps_per_epoch % self._at_once
        if self._made[0] != first:
            requests = self._requests(first)
            self._announce(first)
            if self._ahead is None:
                self._made = first, self._make(requests)
            else:
                self._made = first, self._ahead.get(requests, self._requests(requests[-1].step + 1))
        return self._made[1][request.step - first]

    def _requests(self, first: int) -> list[Request]:
        """The steps that are made at once, from the `first` on: none after the last epoch."""
        end = min(first + self._at_once, (first // self.steps_per_epoch + 1) * self.steps_per_epoch, self._steps)
        return [self.request(step) for step in range(first, end)]

    def _announce(self, first: int) -> None:
        """Tell a store on a disk which images come: those that are made at once, and as many twice after them."""
        will_need = getattr(self._images, "will_need", None)
        end = min(first + (1 + ANNOUNCED) * self._at_once, self._steps)
        first = max(first, self._announced)
        if will_need is None or self._resident or first >= end:
            return
        rows = (self.request(step).rows for step in range(first, end))
        will_need(self._indices[np.concatenate([mine[self._shards.rows(len(mine))] for mine in rows])])
        self._announced = end

    def _bytes(self) -> int:
        """Of the views of a step."""
        sides = [
            group.pixels(self._plan.image_size, self._plan.side_step)
            for group, _ in self._view_groups
            for _ in range(group.count)
        ]
        return sum(side**2 for side in sides) * 3 * 4 * self._plan.batch_size

    def pause(self) -> None:
        """Wait until nothing is being made ahead; the next :meth:`get` goes on."""
        if self._ahead is not None:
            self._ahead.pause()

    def _make(self, requests: Sequence[Request]) -> list[Inputs]:
        """The batches of some steps of an epoch: views as of one large batch, of which each step draws its part."""
        images, indices = self._source
        shares = [self._shards.rows(len(request.rows)) for request in requests]
        rows = [request.rows[share] for request, share in zip(requests, shares, strict=True)]
        lengths = [len(mine) for mine in rows]
        pixels, sizes = images.batch(indices[np.concatenate(rows)])
        pixels, sizes = to_device(pixels, self._device), sizes.cpu()
        drawn = [
            self._draw(request, self._shards.gather(of_step, len(request.rows)))
            for request, of_step in zip(requests, sizes.split(lengths), strict=True)
        ]
        found = [self._without_views(request) for request in requests]
        for number, (group, policy) in enumerate(self._view_groups):
            parameters = [
                _joined([of_step[share] for of_step, share in zip(of_view, shares, strict=True)])
                for of_view in zip(*(of_groups[number].views for of_groups in drawn), strict=True)
            ]
            # A GPU computes them faster than the host can ask for them; on a CPU those of one view fit the cache.
            at_once = self._device.type == "cuda" and self._at_once > 1
            for view in views_of(policy, pixels, sizes, parameters, self._side(group, requests[0]), at_once=at_once):
                for inputs, request, part in zip(found, requests, view.split(lengths), strict=True):
                    inputs.views.setdefault(group.name, []).append(self._shards.gather(part, len(request.rows)))
            for inputs, of_groups in zip(found, drawn, strict=True):
                if group.mask is not None:
                    inputs.masks.setdefault(group.name, []).extend(of_groups[number].masks)
        return found

    def _draw(self, request: Request, sizes: Tensor) -> list[_Drawn]:
        """What is random in a step, by group; for the whole batch, so that no view depends on how it is divided."""
        generator = torch.Generator().manual_seed(derive_seed(self._plan.seed, "views", request.step))
        found: list[_Drawn] = []
        index = 0
        for group, policy in self._view_groups:
            side, drawn = self._side(group, request), _Drawn([], [])
            for _ in range(group.count):
                drawn.views.append(policy.draw(sizes, side, generator, View(index, group.scale)))
                if group.mask is not None:
                    drawn.masks.append(to_device(group.mask.draw(len(sizes), side, generator), self._device))
                index += 1
            found.append(drawn)
        return found

    def _side(self, group: ViewGroup, request: Request) -> int:
        return group.pixels(self._plan.side(request.epoch), self._plan.side_step)

    def _without_views(self, request: Request) -> Inputs:
        labels, places = (torch.from_numpy(rows) for rows in (self._labels[request.rows], request.rows))
        return Inputs({}, {}, to_device(labels, self._device), to_device(places, self._device))

    @cached_property
    def _source(self) -> tuple[Images, np.ndarray]:
        """Where images are read from, and their indices there; of fused trainings, one alone comes to this."""
        kept = keep_on(self._device, self._images, self._indices) if self._resident else None
        return (self._images, self._indices) if kept is None else (kept, np.arange(len(self._indices)))


class _Drawn(NamedTuple):
    """Parameters of each view of a group, and its masks on the device."""

    views: list[Any]
    masks: list[Tensor]


def views_of(
    policy: Policy, pixels: Tensor, sizes: Tensor, drawn: Sequence[Any], side: int, *, at_once: bool
) -> Sequence[Tensor]:
    """A view of each image for each of the parameters `drawn`, one after another or all of them `at_once`."""
    if not at_once:
        return [policy.apply(pixels, sizes, parameters, side) for parameters in drawn]
    every, every_size = (torch.cat([one] * len(drawn)) if len(drawn) > 1 else one for one in (pixels, sizes))
    return policy.apply(every, every_size, _joined(drawn), side).split(len(pixels))


def _joined(parameters: Sequence[Any]) -> Any:
    return parameters[0] if len(parameters) == 1 else type(parameters[0]).join(parameters)


class _Ahead:
    """Makes the batches of the next steps while those of these are used: in a thread, and on a stream, of its own."""

    def __init__(self, make: Callable[[Sequence[Request]], list[Inputs]], device: torch.device) -> None:
        self._make_batches, self._device = make, device
        self._thread = ThreadPoolExecutor(1, "batches")
        self._begun: dict[int, Future[tuple[list[Inputs], Any]]] = {}
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def get(self, requests: Sequence[Request], following: Sequence[Request]) -> list[Inputs]:
        """The batches of some steps; those of the `following` ones are begun."""
        begun = self._begun.pop(requests[0].step, None) or self._thread.submit(self._make, requests)
        self._begun = {following[0].step: self._thread.submit(self._make, following)} if following else {}
        batches, ready = begun.result()
        if ready is not None:
            using = torch.cuda.current_stream(self._device)
            using.wait_event(ready)
            for inputs in batches:
                views_and_masks = [*inputs.views.values(), *inputs.masks.values()]
                for tensor in [
                    inputs.labels,
                    inputs.places,
                    *(tensor for group in views_and_masks for tensor in group),
                ]:
                    tensor.record_stream(using)  # its memory is not given to other batches before this one is used
        return batches

    def pause(self) -> None:
        """Wait until what is begun is done."""
        wait(self._begun.values())

    def _make(self, requests: Sequence[Request]) -> tuple[list[Inputs], Any]:
        with torch.cuda.stream(self._stream):  # of None, nothing
            batches = self._make_batches(requests)
            return batches, self._stream.record_event() if self._stream else None


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
