"""Crop to 20-100% of the area, flip; colours stay."""

from __future__ import annotations

import torch
from torch import Tensor

from selfsup.views.base import FIRST_VIEW, Policy, View
from selfsup.views.batch_parts import in_parts
from selfsup.views.resample import Crop, crop_to_view, resample
from selfsup.views.sampling import crop_boxes, happens


class CropPolicy(Policy):
    """What masked autoencoders are trained with (He et al. 2022, appendix A.1)."""

    def draw(self, sizes: Tensor, out_size: int, generator: torch.Generator, view: View = FIRST_VIEW) -> Crop:
        box = crop_boxes(sizes, view.scale or (0.2, 1.0), generator)
        return crop_to_view(sizes, box, happens(len(sizes), 0.5, generator), out_size)

    def apply(self, images: Tensor, sizes: Tensor, params: Crop, out_size: int) -> Tensor:
        return in_parts(images, params, out_size, resample)


policy = CropPolicy()
