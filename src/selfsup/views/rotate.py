"""Rotation about the centre by an angle per image, as torchvision's with bilinear filter and fill 0."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from selfsup.views.base import to_device


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Rotate counter-clockwise; what comes from outside the image is black.

    Parameters
    ----------
    images : Tensor
        Shape (n, channels, side, side), float.
    degrees : Tensor
        Shape (n,), float32, on the CPU.
    """
    side = images.shape[-1]
    angle = degrees * (math.pi / 180)
    cos = to_device(angle.cos(), images.device).view(-1, 1, 1)
    sin = to_device(angle.sin(), images.device).view(-1, 1, 1)
    across = torch.arange(side, device=images.device) - (side - 1) / 2
    down = across.view(-1, 1)
    source = torch.stack([across * cos - down * sin, across * sin + down * cos], 3)
    rotated = F.grid_sample(images, source / (side / 2), align_corners=False)
    # torchvision also samples a mask of ones and multiplies by it, so edges fade twice.
    cover = (side / 2 + 0.5 - source.abs_()).clamp_(0, 1).prod(3)
    return rotated.mul_(cover.unsqueeze(1)).clamp_(max=1)  # rounding carries some white pixels beyond 1
