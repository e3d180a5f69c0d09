"""Colour jitter and grey, as torchvision's functional operations on float tensors define them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor

from selfsup.views.base import PerImage, to_device
from selfsup.views.batch_parts import change_some_
from selfsup.views.sampling import happens, permutations, uniform

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
LUMA = (0.2989, 0.587, 0.114)
MAX_HUE = 1 / 3  # the closed form of shift_hue_ goes once around the circle and no further


@dataclass(frozen=True)
class Jitter(PerImage):
    """Parameters of ``torchvision.transforms.ColorJitter``, per image.

    Three of the four operations blend the image with black (brightness), its mean grey (contrast)
    or its grey version (saturation). Their order, and the turn at which the hue comes between
    them, make up the order of the four.

    Attributes
    ----------
    applied : Tensor
        Whether the image is jittered at all, bool of shape (n,).
    blends : Tensor
        ``BRIGHTNESS``, ``CONTRAST`` and ``SATURATION`` in the order in which they are done, shape
        (n, 3), int64.
    hue_turn : Tensor
        Number of blends that are done before the hue turns, shape (n,), int64.
    factors : Tensor
        Factors of brightness, contrast and saturation, at least 0; and shift of the hue as a
        fraction of the full turn, in [-1/3, 1/3]. Shape (n, 4), float32.
    """

    applied: Tensor
    blends: Tensor
    hue_turn: Tensor
    factors: Tensor


def draw_jitter(count: int, strength: tuple[float, float, float, float], p: float, generator: Generator) -> Jitter:
    """Jitter whose factors are uniform around 1 (brightness, contrast, saturation) and 0 (hue).

    Parameters
    ----------
    count : int
        Number of images.
    strength : tuple of float
        Half-widths of the four intervals: the first three in [0, 1], hue in [0, 1/3].
    p : float
        Probability that an image is jittered.
    generator : torch.Generator

    Raises
    ------
    ValueError
        If hue is greater than 1/3.
    """
    if strength[3] > MAX_HUE:
        raise ValueError(f"Hue can be jittered by up to 1/3 of the full turn, not by {strength[3]}.")
    centre = torch.tensor([1.0, 1.0, 1.0, 0.0])
    return Jitter(
        applied=happens(count, p, generator),
        blends=permutations(count, 3, generator),
        hue_turn=torch.randint(4, (count,), generator=generator),
        factors=uniform((count, 4), -1, 1, generator) * torch.tensor(strength) + centre,
    )


def jitter_(images: Tensor, jitter: Jitter) -> None:
    """Jitter the colours of `images`, shape (n, 3, height, width), float in [0, 1], in place."""
    # Images whose hue turns at the same time stand together, so that each group is a slice.
    order = torch.where(jitter.applied, jitter.hue_turn, 4).argsort(stable=True)
    chosen = order[: int(jitter.applied.sum())]
    change_some_(images, chosen, lambda some: _jitter_grouped_(some, jitter[chosen]))


def _jitter_grouped_(images: Tensor, jitter: Jitter) -> None:
    rest = 1 - jitter.factors.gather(1, jitter.blends)
    weights = torch.stack([1 - rest, rest * (jitter.blends == CONTRAST), rest * (jitter.blends == SATURATION)])
    of_image, of_mean, of_grey = to_device(weights, images.device)[..., None, None, None]
    ends = jitter.hue_turn.bincount(minlength=4).cumsum(0).tolist()
    for turn, (start, end) in enumerate(pairwise([0, *ends])):
        if start < end:
            shift_hue_(images[start:end], jitter.factors[start:end, HUE])
        if turn < 3:
            blend_(images, of_image[:, turn], of_mean[:, turn], of_grey[:, turn])


def blend_(images: Tensor, of_image: Tensor, of_mean: Tensor, of_grey: Tensor) -> None:
    """Weighted sum of each image, its mean grey and its grey version, clamped to [0, 1].

    Parameters
    ----------
    images : Tensor
        Shape (n, 3, height, width), float in [0, 1]; changed in place.
    of_image, of_mean, of_grey : Tensor
        Weights, shape (n, 1, 1, 1), on the images' device.
    """
    grey = greys(images)
    mean = grey.mean((2, 3), keepdim=True).mul_(of_mean)
    grey.mul_(of_grey).add_(mean)
    torch.addcmul(grey, images, of_image, out=images).clamp_(0, 1)


def shift_hue_(images: Tensor, shift: Tensor) -> None:
    """Turn the hue; value and saturation of the HSV model stay.

    Without going through HSV: with chroma C = max - min, the hue of a pixel (in sixths of a turn,
    times C, so that nothing is divided) is H = ±(C - min - R + G + B), negative where G < B, and
    the channel whose own hue is h has the value min + clamp(2C - |H - hC|, 0, C), where the
    distance is taken around the circle: |x| becomes 3C - ||x| - 3C|.

    Parameters
    ----------
    images : Tensor
        Shape (n, 3, height, width), float in [0, 1]; changed in place.
    shift : Tensor
        Fraction of the full turn, in [-1/3, 1/3], shape (n,), float32, on the CPU.
    """
    red, green, blue = images.split(1, dim=1)
    top = torch.maximum(red, green).maximum(blue)
    low = torch.minimum(red, green).minimum(blue)
    chroma = top - low
    base = low - chroma
    hue = (green + blue).sub_(red).sub_(base).copysign_(green - blue)
    turn = 6 * shift[:, None] - torch.tensor([0.0, 2.0, -2.0])
    torch.addcmul(hue, chroma, to_device(turn, images.device)[:, :, None, None], out=images)
    chroma *= 3
    images.abs_().sub_(chroma).abs_().add_(base)
    torch.clamp(images, low, top, out=images)


def grey_(images: Tensor, chosen: Tensor) -> None:
    """Make the `chosen` (bool of shape (n,)) of the images grey, in place."""
    change_some_(images, chosen.nonzero().flatten(), lambda some: some.copy_(greys(some)))


def greys(images: Tensor) -> Tensor:
    """Luma of each pixel, shape (n, 1, height, width)."""
    red, green, blue = images.split(1, dim=1)
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])
