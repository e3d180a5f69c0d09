"""The shorter side resized, the centre cropped: nothing random; the view that evaluation uses."""

from __future__ import annotations

import torch
from torch import Tensor

from selfsup.views.base import FIRST_VIEW, Policy, View
from selfsup.views.batch_parts import in_parts
from selfsup.views.resample import Crop, resample


class CentrePolicy(Policy):
    """``torchvision.transforms.Resize`` and ``CenterCrop``; draws nothing from the generator."""

    def draw(self, sizes: Tensor, out_size: int, generator: torch.Generator, view: View = FIRST_VIEW) -> Crop:
        shorter = sizes.min(1, keepdim=True).values
        resized = torch.div(out_size * sizes, shorter, rounding_mode="floor")
        # round() as torchvision has it: halves to even.
        offset = ((resized - out_size) / 2).round().long()
        box = torch.cat([torch.zeros_like(sizes), sizes], 1)
        return Crop(sizes, box, resized, offset, flip=torch.zeros(len(sizes), dtype=torch.bool))

    def apply(self, images: Tensor, sizes: Tensor, params: Crop, out_size: int) -> Tensor:
        if images.shape[2:] == (out_size, out_size) and bool((sizes == out_size).all()):
            return images.contiguous(memory_format=torch.channels_last).float().mul_(1 / 255)  # each is its own view
        return in_parts(images, params, out_size, resample)


policy = CentrePolicy()
