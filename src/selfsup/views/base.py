"""What a policy is: random parameters drawn once per image, then pixels computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor

#: Bytes up to which CUDA puts ordinary memory aside at once; of more, it waits for what it was given before.
PUT_ASIDE = 64 * 1024


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device, without waiting for what a CUDA device is doing."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return (tensor.pin_memory() if tensor.nbytes > PUT_ASIDE else tensor).to(device, non_blocking=True)


@dataclass(frozen=True)
class PerImage:
    """Base of parameters: every field is a tensor with one row per image, or a PerImage itself."""

    def __getitem__(self, images: Any) -> Self:
        """The parameters of some of the images; `images` is whatever indexes a tensor's rows."""
        return type(self)(**{field.name: getattr(self, field.name)[images] for field in fields(self)})

    def to(self, device: torch.device) -> Self:
        """The same parameters on another device."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {k: to_device(v, device) if isinstance(v, Tensor) else v.to(device) for k, v in values.items()}
        return type(self)(**moved)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The parameters of all parts, one part after the other."""
        columns = {field.name: [getattr(part, field.name) for part in parts] for field in fields(cls)}
        joined = {k: torch.cat(v) if isinstance(v[0], Tensor) else type(v[0]).join(v) for k, v in columns.items()}
        return cls(**joined)


@dataclass(frozen=True)
class View:
    """Which of an image's views a policy is to make.

    Attributes
    ----------
    index : int
        Its number among all views of the image in a step, from 0. An asymmetric policy treats the
        second view otherwise than the first.
    scale : (float, float) or None
        Least and greatest share of the image's area that a crop holds, in (0, 1]; None for the policy's own.
    """

    index: int = 0
    scale: tuple[float, float] | None = None


#: The view of a method that asks for nothing in particular.
FIRST_VIEW = View()


class Policy(Protocol):
    """Turns a batch of stored images into views.

    Parameters are drawn on the CPU, so that one generator gives the same views on every device.
    The number of calls to the generator depends on neither the images nor what is drawn.

    Attributes
    ----------
    channels : int or None
        Channels that an image must have: 3 for a policy that changes colours; None for any.
    """

    channels: ClassVar[int | None] = None

    def draw(self, sizes: Tensor, out_size: int, generator: torch.Generator, view: View = FIRST_VIEW) -> Any:
        """Random parameters of one view of each image.

        Parameters
        ----------
        sizes : Tensor
            True (height, width) of each image, shape (n, 2), int64.
        out_size : int
            Side of the view in pixels, at least 1.
        generator : torch.Generator
            On the CPU; advanced by the draw.
        view : View
            Which view of the images this is. A policy that crops at random keeps to its scale.

        Returns
        -------
        PerImage
            On the CPU.
        """

    def apply(self, images: Tensor, sizes: Tensor, params: Any, out_size: int) -> Tensor:
        """Views of `images` with given parameters.

        Parameters
        ----------
        images : Tensor
            Shape (n, channels, height, width), uint8, padded at the right and the bottom to a common
            size. Fastest in channels-last memory.
        sizes : Tensor
            As for :meth:`draw`; nothing outside the true size enters a view.
        params : PerImage
            What :meth:`draw` gave for these sizes and this `out_size`.
        out_size : int
            Side of the view in pixels.

        Returns
        -------
        Tensor
            Shape (n, channels, out_size, out_size), float32 in [0, 1], channels-last memory, on the
            device of `images`.
        """

    def __call__(
        self, images: Tensor, sizes: Tensor, out_size: int, generator: torch.Generator, view: View = FIRST_VIEW
    ) -> Tensor:
        """One random view of each image: :meth:`apply` of :meth:`draw`."""
        sizes = sizes.cpu()
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            return self.apply(images, sizes, self.draw(sizes, out_size, generator, view), out_size)
