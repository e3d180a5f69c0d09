"""Gaussian blur with a sigma per image, as torchvision's on float tensors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from selfsup.views.base import to_device
from selfsup.views.batch_parts import change_some_

# Share of a Gaussian's weight that may be cut off at both ends together: 1/8 of a grey level.
TAIL = 5e-4
RADIUS_PER_SIGMA = 3.4808  # where the two tails of the normal distribution hold TAIL


def blur_(images: Tensor, sigma: Tensor, radius: int) -> None:
    """Blur in place; borders are mirrored without repeating the edge.

    Parameters
    ----------
    images : Tensor
        Shape (n, channels, side, side), float in [0, 1].
    sigma : Tensor
        In pixels, shape (n,), float32, on the CPU; 0 leaves an image as it is.
    radius : int
        The kernel has 2 radius + 1 taps. Of an image's, those that together weigh less than ``TAIL`` are left out.
    """
    chosen = sigma.nonzero().flatten()
    if len(chosen):
        taps = gaussian(sigma[chosen], radius)
        cut = int(taps.any(dim=0).int().argmax())  # those before are 0 in all images
        taps = to_device(taps[:, cut : 2 * radius + 1 - cut].contiguous(), images.device)
        # Rounding carries some sums of white pixels beyond 1.
        change_some_(images, chosen, lambda some: torch.clamp(_convolve(some, taps), max=1, out=some))


def gaussian(sigma: Tensor, radius: int) -> Tensor:
    """Normalised taps at -radius, …, radius for each sigma, shape (n, 2 radius + 1); 0 in the two tails."""
    x, spread = torch.arange(-radius, radius + 1), sigma[:, None]
    exponents = (x / spread).square_().mul_(-0.5)
    return exponents.masked_fill_(x.abs() - 0.5 >= RADIUS_PER_SIGMA * spread, -torch.inf).softmax(1)


def _convolve(images: Tensor, taps: Tensor) -> Tensor:
    """Down the columns, then along the rows, as sums of shifted copies.

    An image with its borders is one long row of pixels: a shift by its width is a step down. What
    wraps around at the ends of lines falls on the borders, which are cut away.
    """
    n, _, height, width = images.shape
    radius = taps.shape[1] // 2
    padded = F.pad(images, (radius, radius, radius, radius), mode="reflect")
    pixels = padded.view(n, -1)
    down = _sum_shifted(pixels, taps, padded.shape[3])
    along = _sum_shifted(down, taps, 1)
    pixels[:, : along.shape[1]] = along
    return padded[:, :, :height, :width]


def _sum_shifted(pixels: Tensor, taps: Tensor, step: int) -> Tensor:
    length = pixels.shape[1] - step * (taps.shape[1] - 1)
    total = pixels[:, :length] * taps[:, :1]
    for tap in range(1, taps.shape[1]):
        total.addcmul_(pixels[:, step * tap : step * tap + length], taps[:, tap : tap + 1])
    return total
