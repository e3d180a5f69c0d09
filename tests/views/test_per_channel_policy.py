"""Brightness and contrast of each channel by itself, for images whose channels are no colours."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from selfsup.views import View, load_policy
from selfsup.views.per_channel_policy import CHANNELS, STRENGTH

SIDE = 16


def noise(count: int, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    pixels = torch.randint(0, 256, (count, SIDE, SIDE, channels), generator=torch.Generator().manual_seed(1))
    return pixels.to(torch.uint8).permute(0, 3, 1, 2), torch.full((count, 2), SIDE)


@pytest.mark.parametrize("channels", [1, 2, 5, CHANNELS + 3])
def test_a_view_is_brightness_then_contrast_of_each_channel(channels: int) -> None:
    policy, (images, sizes) = load_policy("per-channel"), noise(8, channels)
    params = policy.draw(sizes, SIDE, torch.Generator().manual_seed(0), View(scale=(1.0, 1.0)))
    plain = replace(params, brightness=torch.ones(8, CHANNELS), contrast=torch.ones(8, CHANNELS))
    framed, views = (policy.apply(images, sizes, given, SIDE) for given in (plain, params))
    for image in range(8):
        for channel in range(channels):
            bright = (framed[image, channel] * params.brightness[image, channel % CHANNELS]).clamp(0, 1)
            factor = params.contrast[image, channel % CHANNELS]
            expected = (factor * bright + (1 - factor) * bright.mean()).clamp(0, 1)
            assert torch.allclose(views[image, channel], expected, atol=1e-5)


def test_channels_are_changed_independently_of_each_other() -> None:
    params = load_policy("per-channel").draw(torch.full((4000, 2), SIDE), SIDE, torch.Generator().manual_seed(0))
    changed = params.brightness[(params.brightness != 1).any(1)]
    assert 0.77 < len(changed) / 4000 < 0.83
    assert changed.min() < 1 - 0.95 * STRENGTH
    assert changed.max() > 1 + 0.95 * STRENGTH
    correlation = torch.corrcoef(torch.cat([changed[:, :3], params.contrast[(params.brightness != 1).any(1), :3]], 1).T)
    assert (correlation - torch.eye(6)).abs().max() < 0.06
