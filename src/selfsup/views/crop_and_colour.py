"""Crop, flip, colour jitter, grey, blur, solarisation: what contrastive methods and their kin distort images by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from selfsup.views.base import FIRST_VIEW, PerImage, Policy, View
from selfsup.views.batch_parts import change_some_, in_parts
from selfsup.views.blur import blur_
from selfsup.views.colour import Jitter, draw_jitter, grey_, jitter_
from selfsup.views.resample import Crop, crop_to_view, resample
from selfsup.views.sampling import crop_boxes, happens, uniform

# Smallest view that is blurred. SimCLR's paper blurs ImageNet's views, and not CIFAR's (appendix B.9):
# 10% of a side of 32 pixels is a kernel that does nothing.
BLUR_FROM = 64
#: A pixel at least so bright is inverted by solarisation.
SOLARISED_FROM = 0.5


@dataclass(frozen=True)
class CropAndColourParameters(PerImage):
    """`grey` and `solarised` are bool; `sigma` of the blur is in pixels, 0 where there is none; shapes (n,)."""

    crop: Crop
    jitter: Jitter
    grey: Tensor
    sigma: Tensor
    solarised: Tensor


@dataclass(frozen=True)
class CropAndColour(Policy):
    """A policy of this family, by its numbers.

    Attributes
    ----------
    jitter : tuple of float
        Strength of brightness, contrast, saturation and hue.
    blur, solarise : tuple of float
        Probabilities by the number of the view; views beyond the last have that of the last.
    """

    channels: ClassVar[int | None] = 3

    jitter: tuple[float, float, float, float]
    blur: tuple[float, ...] = (0.5,)
    solarise: tuple[float, ...] = (0.0,)

    def draw(
        self, sizes: Tensor, out_size: int, generator: torch.Generator, view: View = FIRST_VIEW
    ) -> CropAndColourParameters:
        n = len(sizes)
        box = crop_boxes(sizes, view.scale or (0.08, 1.0), generator)
        crop = crop_to_view(sizes, box, happens(n, 0.5, generator), out_size)
        jitter = draw_jitter(n, self.jitter, 0.8, generator)
        grey = happens(n, 0.2, generator)
        sigma = uniform(n, 0.1, 2.0, generator) * happens(n, _of_view(self.blur, view), generator)
        solarised = torch.zeros(n, dtype=torch.bool)
        if any(self.solarise):
            solarised = happens(n, _of_view(self.solarise, view), generator)
        return CropAndColourParameters(crop, jitter, grey, sigma, solarised)

    def apply(self, images: Tensor, sizes: Tensor, params: CropAndColourParameters, out_size: int) -> Tensor:
        return in_parts(images, params, out_size, _compute)


def _compute(images: Tensor, params: CropAndColourParameters, out_size: int) -> Tensor:
    views = resample(images, params.crop, out_size)
    jitter_(views, params.jitter)
    grey_(views, params.grey)
    if out_size >= BLUR_FROM:
        blur_(views, params.sigma, radius=out_size // 10 // 2)
    solarise_(views, params.solarised)
    return views


def solarise_(images: Tensor, chosen: Tensor) -> None:
    """Invert the bright pixels of the `chosen` (bool of shape (n,)) of the images, in place."""
    change_some_(
        images,
        chosen.nonzero().flatten(),
        lambda some: some.copy_(torch.where(some >= SOLARISED_FROM, 1 - some, some)),
    )


def _of_view(probabilities: tuple[float, ...], view: View) -> float:
    return probabilities[min(view.index, len(probabilities) - 1)]
