"""Crop to 8-100% of the area, flip, strong colour jitter, grey; blur from 64 pixels on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from selfsup.views.base import PerImage, Policy
from selfsup.views.batch_parts import empty_views, parts
from selfsup.views.blur import blur_
from selfsup.views.colour import Jitter, draw_jitter, grey_, jitter_
from selfsup.views.resample import Crop, crop_to_view, resample
from selfsup.views.sampling import crop_boxes, happens, uniform

# Smallest view that is blurred. The paper blurs ImageNet's views, and not CIFAR's (appendix B.9):
# 10% of a side of 32 pixels is a kernel that does nothing.
BLUR_FROM = 64


@dataclass(frozen=True)
class SimCLRParameters(PerImage):
    """`grey` is bool; `sigma` of the blur is in pixels, 0 where there is none; shapes (n,)."""

    crop: Crop
    jitter: Jitter
    grey: Tensor
    sigma: Tensor


class SimCLRPolicy(Policy):
    """Chen et al. 2020, appendix A, with colour strength 1."""

    def draw(self, sizes: Tensor, out_size: int, generator: torch.Generator) -> SimCLRParameters:
        n = len(sizes)
        box = crop_boxes(sizes, (0.08, 1.0), generator)
        return SimCLRParameters(
            crop=crop_to_view(box, happens(n, 0.5, generator), out_size),
            jitter=draw_jitter(n, (0.8, 0.8, 0.8, 0.2), 0.8, generator),
            grey=happens(n, 0.2, generator),
            sigma=uniform(n, 0.1, 2.0, generator) * happens(n, 0.5, generator),
        )

    def apply(self, images: Tensor, sizes: Tensor, params: SimCLRParameters, out_size: int) -> Tensor:
        views = empty_views(images, out_size)
        for part in parts(images, out_size):
            view = resample(images[part], params.crop[part], out_size)
            jitter_(view, params.jitter[part])
            grey_(view, params.grey[part])
            if out_size >= BLUR_FROM:
                blur_(view, params.sigma[part], radius=out_size // 10 // 2)
            views[part] = view
        return views


policy = SimCLRPolicy()
