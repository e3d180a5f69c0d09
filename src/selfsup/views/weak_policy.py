"""Crop to 80-100% of the area, flip, rotation by up to 90 degrees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from selfsup.views.base import FIRST_VIEW, PerImage, Policy, View
from selfsup.views.batch_parts import in_parts
from selfsup.views.resample import Crop, crop_to_view, resample
from selfsup.views.rotate import rotate
from selfsup.views.sampling import crop_boxes, happens, uniform


@dataclass(frozen=True)
class WeakParameters(PerImage):
    """`degrees`, counter-clockwise, has shape (n,)."""

    crop: Crop
    degrees: Tensor


class WeakPolicy(Policy):
    """Changes of framing and orientation only; colours stay."""

    def draw(self, sizes: Tensor, out_size: int, generator: torch.Generator, view: View = FIRST_VIEW) -> WeakParameters:
        n = len(sizes)
        box = crop_boxes(sizes, view.scale or (0.8, 1.0), generator)
        return WeakParameters(
            crop=crop_to_view(sizes, box, happens(n, 0.5, generator), out_size),
            degrees=uniform(n, -90, 90, generator),
        )

    def apply(self, images: Tensor, sizes: Tensor, params: WeakParameters, out_size: int) -> Tensor:
        return in_parts(images, params, out_size, lambda some, p, side: rotate(resample(some, p.crop, side), p.degrees))


policy = WeakPolicy()
