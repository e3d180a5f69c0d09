"""Groups of views and masks, by their promises."""

from __future__ import annotations

import pytest
import torch

from selfsup.views import RandomMask, ViewGroup


def drawn(mask: RandomMask, count: int, side: int, seed: int = 0) -> torch.Tensor:
    return mask.draw(count, side, torch.Generator().manual_seed(seed))


def test_a_mask_hides_the_same_number_of_patches_in_every_view():
    hidden = drawn(RandomMask(0.75, 16), 500, 64)
    assert hidden.shape == (500, 16)
    assert hidden.dtype == torch.bool
    assert (hidden.sum(1) == 12).all()


def test_every_patch_is_hidden_equally_often_and_independently_of_the_others():
    hidden = drawn(RandomMask(0.75, 8), 20_000, 32).double()
    assert hidden.mean(0).sub(0.75).abs().max() < 0.015
    # Of 16 patches, 12 hidden without replacement: covariance -p(1-p)/15 between two of them.
    covariance = torch.cov(hidden.T)
    others = covariance[~torch.eye(16, dtype=torch.bool)]
    assert others.add(0.75 * 0.25 / 15).abs().max() < 0.008


def test_the_seed_alone_decides_what_is_hidden():
    mask = RandomMask(0.5, 4)
    assert torch.equal(drawn(mask, 9, 16), drawn(mask, 9, 16))
    assert not torch.equal(drawn(mask, 9, 16), drawn(mask, 9, 16, seed=1))


@pytest.mark.parametrize("ratio", [0.01, 0.99])
def test_something_is_hidden_and_something_stays(ratio: float):
    assert 0 < drawn(RandomMask(ratio, 8), 1, 16).sum() < 4


@pytest.mark.parametrize(
    ("share", "image_size", "step", "pixels"),
    [(3 / 7, 224, 16, 96), (3 / 7, 224, 14, 98), (0.5, 64, 16, 32), (0.1, 32, 16, 16), (1.0, 60, 16, 60)],
)
def test_a_side_is_a_whole_number_of_patches(share: float, image_size: int, step: int, pixels: int):
    assert ViewGroup("local", side=share).pixels(image_size, step) == pixels
