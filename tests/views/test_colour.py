from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torchvision.transforms.v2 import functional as TF

from selfsup.views.colour import HUE, Jitter, draw_jitter, grey_, jitter_, shift_hue_

SIMCLR = (0.8, 0.8, 0.8, 0.2)
ADJUST = [TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue]


def jitter_in_order(order, factors, count):
    """Every image jittered with the same order of the four operations and its own factors."""
    blends = [operation for operation in order if operation != HUE]
    return Jitter(
        applied=torch.ones(count, dtype=torch.bool),
        blends=torch.tensor([blends] * count),
        hue_turn=torch.full((count,), order.index(HUE)),
        factors=factors,
    )


def torchvision_jitter(image, order, factors):
    for operation in order:
        image = ADJUST[operation](image, float(factors[operation]))
    return image


@pytest.mark.parametrize("order", permutations(range(4)))
def test_every_order_of_operations_gives_torchvisions_pixels(floats, order, generator):
    factors = draw_jitter(len(floats), SIMCLR, 1.0, generator).factors
    jittered = floats.clone()
    jitter_(jittered, jitter_in_order(order, factors, len(floats)))
    expected = torch.stack([torchvision_jitter(*each) for each in zip(floats, [order] * 48, factors, strict=True)])
    assert (jittered - expected).abs().max() < 2e-5


@pytest.mark.parametrize("operation", range(4))
def test_each_operation_alone_gives_torchvisions_pixels(floats, operation, generator):
    factors = torch.tensor([1.0, 1.0, 1.0, 0.0]).repeat(len(floats), 1)
    factors[:, operation] = draw_jitter(len(floats), (1.0, 1.0, 1.0, 1 / 3), 1.0, generator).factors[:, operation]
    jittered = floats.clone()
    jitter_(jittered, jitter_in_order((0, 1, 2, 3), factors, len(floats)))
    expected = [ADJUST[operation](*each) for each in zip(floats, factors[:, operation].tolist(), strict=True)]
    assert (jittered - torch.stack(expected)).abs().max() < 1e-5
    assert (jittered - floats).abs().max() > 0.1


@pytest.mark.parametrize("shift", [-1 / 3, -0.2, -1 / 6, 0.0, 0.01, 1 / 6, 0.2, 1 / 3])
def test_hue_turns_as_through_hsv(floats, shift):
    turned = floats.clone()
    shift_hue_(turned, torch.full((len(floats),), shift))
    assert (turned - TF.adjust_hue(floats, shift)).abs().max() < 1e-5


def test_images_of_one_batch_keep_their_own_orders(floats, generator):
    jitter = draw_jitter(len(floats), SIMCLR, 0.8, generator)
    together = floats.clone()
    jitter_(together, jitter)
    assert len(jitter.hue_turn[jitter.applied].unique()) == 4
    for index, image in enumerate(floats):
        alone = image[None].clone()
        jitter_(alone, jitter[index : index + 1])
        torch.testing.assert_close(together[index], alone[0], atol=1e-6, rtol=0)


def test_an_image_that_is_not_chosen_keeps_its_pixels(floats, generator):
    jitter = draw_jitter(len(floats), SIMCLR, 0.5, generator)
    jittered = floats.clone()
    jitter_(jittered, jitter)
    unchanged = (jittered == floats).flatten(1).all(1)
    assert unchanged[~jitter.applied].all()
    assert not unchanged[10:][jitter.applied[10:]].any()


def test_grey_gives_torchvisions_pixels(floats):
    chosen = torch.arange(len(floats)) % 3 == 0
    mixed = floats.clone()
    grey_(mixed, chosen)
    expected = torch.where(chosen[:, None, None, None], TF.rgb_to_grayscale(floats, 3), floats)
    assert (mixed - expected).abs().max() < 1e-6


def test_a_hue_beyond_a_third_of_the_turn_is_refused(generator):
    with pytest.raises(ValueError, match="up to 1/3"):
        draw_jitter(4, (0.4, 0.4, 0.4, 0.5), 0.8, generator)
