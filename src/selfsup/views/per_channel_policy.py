"""Crop to 8-100% of the area, flip, brightness and contrast of each channel by itself; blur from 64 pixels on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from selfsup.views.base import FIRST_VIEW, PerImage, Policy, View, to_device
from selfsup.views.batch_parts import in_parts
from selfsup.views.blur import blur_
from selfsup.views.crop_and_colour import BLUR_FROM
from selfsup.views.resample import Crop, crop_to_view, resample
from selfsup.views.sampling import crop_boxes, happens, uniform

#: Half-width of the intervals around 1 that the factors of brightness and contrast lie in, and how often they apply.
STRENGTH, PROBABILITY = 0.8, 0.8
#: Channels that have factors of their own; further ones have those of the first again.
CHANNELS = 64


@dataclass(frozen=True)
class PerChannelParameters(PerImage):
    """`brightness` and `contrast` are factors of each channel, shape (n, CHANNELS); `sigma` in pixels, shape (n,)."""

    crop: Crop
    brightness: Tensor
    contrast: Tensor
    sigma: Tensor


class PerChannelPolicy(Policy):
    """SimCLR's views of images whose channels are no colours: what saturation, hue and grey are, they have not."""

    def draw(
        self, sizes: Tensor, out_size: int, generator: torch.Generator, view: View = FIRST_VIEW
    ) -> PerChannelParameters:
        n = len(sizes)
        box = crop_boxes(sizes, view.scale or (0.08, 1.0), generator)
        crop = crop_to_view(sizes, box, happens(n, 0.5, generator), out_size)
        strength = STRENGTH * happens(n, PROBABILITY, generator)[:, None]
        brightness, contrast = (1 + strength * uniform((n, CHANNELS), -1, 1, generator) for _ in range(2))
        sigma = uniform(n, 0.1, 2.0, generator) * happens(n, 0.5, generator)
        return PerChannelParameters(crop, brightness, contrast, sigma)

    def apply(self, images: Tensor, sizes: Tensor, params: PerChannelParameters, out_size: int) -> Tensor:
        return in_parts(images, params, out_size, _compute)


def _compute(images: Tensor, params: PerChannelParameters, out_size: int) -> Tensor:
    views = resample(images, params.crop, out_size)
    of_channel = torch.arange(views.shape[1]) % CHANNELS
    views.mul_(_factors(params.brightness, of_channel, views.device)).clamp_(0, 1)
    mean = views.mean((2, 3), keepdim=True)
    views.sub_(mean).mul_(_factors(params.contrast, of_channel, views.device)).add_(mean).clamp_(0, 1)
    if out_size >= BLUR_FROM:
        blur_(views, params.sigma, radius=out_size // 10 // 2)
    return views


def _factors(values: Tensor, of_channel: Tensor, device: torch.device) -> Tensor:
    return to_device(values[:, of_channel], device)[:, :, None, None]


policy = PerChannelPolicy()
