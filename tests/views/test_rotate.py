from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from selfsup.views.rotate import rotate


@pytest.mark.parametrize("side", [36, 37])
def test_rotation_gives_torchvisions_pixels(floats, side):
    images = floats[:, :, :side, :side].contiguous()
    degrees = torch.linspace(-90, 90, len(images))
    degrees[:4] = torch.tensor([0.0, 90.0, -90.0, 45.0])
    expected = [
        TF.rotate(image, angle, interpolation=InterpolationMode.BILINEAR, fill=0)
        for image, angle in zip(images, degrees.tolist(), strict=True)
    ]
    assert (rotate(images, degrees) - torch.stack(expected)).abs().max() < 5e-5


def test_rotation_is_counter_clockwise_and_black_outside():
    image = torch.zeros(1, 3, 9, 9)
    image[:, :, 4, 8] = 1  # at the right
    assert rotate(image, torch.tensor([90.0]))[0, 0, 0, 4] > 0.99  # at the top
    corners = rotate(torch.ones(1, 3, 9, 9), torch.tensor([45.0]))[0, :, [0, 0, 8, 8], [0, 8, 0, 8]]
    assert (corners == 0).all()
