"""Random parameters with the distributions of torchvision's transforms, drawn for a batch at once."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

ATTEMPTS = 10
RATIO = (3 / 4, 4 / 3)


def uniform(shape: int | tuple[int, ...], low: float, high: float, generator: Generator) -> Tensor:
    """Uniform in [low, high), float32."""
    return torch.rand(shape, generator=generator).mul_(high - low).add_(low)


def happens(count: int, probability: float, generator: Generator) -> Tensor:
    """Bool of shape (count,), each true with `probability`."""
    return torch.rand(count, generator=generator) < probability


def crop_boxes(
    sizes: Tensor,
    scale: tuple[float, float],
    generator: Generator,
    ratio: tuple[float, float] = RATIO,
) -> Tensor:
    """Boxes of ``torchvision.transforms.RandomResizedCrop``.

    The box has a share of the image's area uniform in `scale` and an aspect ratio log-uniform in
    `ratio`, rounded to whole pixels. Of ten attempts the first that fits is taken; where none
    does, the largest centred box whose aspect ratio is in `ratio`.

    Parameters
    ----------
    sizes : Tensor
        (height, width) of each image, shape (n, 2), int64.
    scale : (float, float)
        Least and greatest share of the area, in (0, 1].
    generator : torch.Generator
    ratio : (float, float)
        Least and greatest width / height.

    Returns
    -------
    Tensor
        (top, left, height, width) of each box, shape (n, 4), int64.
    """
    rand = torch.rand(4, len(sizes), ATTEMPTS, generator=generator, dtype=torch.float64)
    image = sizes.double().unsqueeze(-1)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    area = image.prod(1) * (scale[0] + (scale[1] - scale[0]) * rand[0])
    aspect = (low + (high - low) * rand[1]).exp()
    box = torch.stack([(area / aspect).sqrt(), (area * aspect).sqrt()], 1).round()
    fits = ((box > 0) & (box <= image)).all(1)
    corner = (rand[2:].transpose(0, 1) * (image - box + 1)).floor()
    tried = torch.cat([corner, box], 1)
    first = fits.int().argmax(1)
    drawn = tried[torch.arange(len(sizes)), :, first].long()
    return torch.where(fits.any(1, keepdim=True), drawn, _central_boxes(sizes, ratio))


def permutations(count: int, length: int, generator: Generator) -> Tensor:
    """Random permutations of 0, …, length - 1, all equally likely, shape (count, length), int64."""
    return torch.rand(count, length, generator=generator, dtype=torch.float64).argsort(1)


def _central_boxes(sizes: Tensor, ratio: tuple[float, float]) -> Tensor:
    height, width = sizes.double().unbind(1)
    limit = torch.stack([width / min(ratio), height * max(ratio)], 1).round().long()
    box = torch.minimum(sizes, limit)
    corner = torch.div(sizes - box, 2, rounding_mode="floor")
    return torch.cat([corner, box], 1)
