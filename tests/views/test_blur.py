from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import functional as TF

from selfsup.views.blur import TAIL, blur_


@pytest.mark.parametrize("radius", [1, 3, 11])
def test_blur_gives_torchvisions_pixels(floats, radius):
    sigma = torch.linspace(0.1, 2.0, len(floats))
    blurred = floats.clone()
    blur_(blurred, sigma, radius)
    pairs = zip(floats, sigma.tolist(), strict=True)
    expected = [TF.gaussian_blur(image, 2 * radius + 1, spread) for image, spread in pairs]
    assert (blurred - torch.stack(expected)).abs().max() < TAIL
    assert (blurred - floats).abs().max() > 0.1


@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.5, 0.8, 1.0, 1.3, 1.7, 2.0])
def test_the_taps_left_out_weigh_next_to_nothing(sigma):
    side = 224
    dot = torch.zeros(1, 3, side, side)
    dot[:, :, side // 2, side // 2] = 1
    blur_(dot, torch.tensor([sigma]), radius=11)
    row = dot[0, 0].sum(0)
    radius = int(row.nonzero().max()) - side // 2
    whole = (torch.arange(-11, 12) / sigma).square().mul(-0.5).softmax(0)
    assert whole[: 11 - radius].sum() + whole[12 + radius :].sum() <= TAIL


def test_sigma_zero_leaves_an_image_as_it_is(floats):
    sigma = torch.arange(len(floats)) % 2 * 1.0
    blurred = floats.clone()
    blur_(blurred, sigma, 3)
    assert torch.equal(blurred[::2], floats[::2])
    assert not torch.equal(blurred[11], floats[11])


def test_each_image_gets_its_own_sigma(floats):
    sigma = torch.linspace(0.1, 2.0, len(floats))
    together = floats.clone()
    blur_(together, sigma, 3)
    alone = floats[20:21].clone()
    blur_(alone, sigma[20:21], 3)
    assert torch.equal(together[20], alone[0])
