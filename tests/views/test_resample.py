from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as TF

import selfsup.views.resample as resampling
from selfsup.views.resample import crop_to_view, resample
from selfsup.views.sampling import crop_boxes

ONE_LEVEL = 1 / 255 + 1e-5
SQUARE_28, SQUARE_256 = [(28, 28)] * 12, [(256, 256)] * 6
RAGGED = [(40, 60), (61, 33), (5, 90), (17, 17), (90, 5), (1, 1), (2, 64)]
CASES = [(SQUARE_28, 32), (SQUARE_28, 12), (SQUARE_256, 224), (SQUARE_256, 64), (RAGGED, 32), (RAGGED, 80)]


def crops_of(batch, sizes, out_size, generator):
    images, sizes = batch(sizes)
    flip = torch.arange(len(sizes)) % 2 == 0
    return images, crop_to_view(sizes, crop_boxes(sizes, (0.08, 1.0), generator), flip, out_size)


def torchvision_views(images, crop, out_size):
    views = []
    for image, box, flip in zip(images, crop.box.tolist(), crop.flip, strict=True):
        view = TF.resized_crop(image, *box, [out_size, out_size], antialias=True)
        views.append(TF.horizontal_flip(view) if flip else view)
    return torch.stack(views)


@pytest.mark.parametrize(("sizes", "out_size"), CASES)
def test_matrices_give_torchvisions_pixels(batch, sizes, out_size, generator):
    images, crop = crops_of(batch, sizes, out_size, generator)
    expected = torchvision_views(images.float() / 255, crop, out_size)
    assert (resampling._resample_batch(images, crop, out_size) - expected).abs().max() < 1e-5


@pytest.mark.parametrize(("sizes", "out_size"), CASES)
def test_8_bit_kernel_gives_torchvisions_pixels_to_one_level(batch, sizes, out_size, generator):
    images, crop = crops_of(batch, sizes, out_size, generator)
    views = resampling._resample_each(images, crop, out_size)
    assert (views - torchvision_views(images.float() / 255, crop, out_size)).abs().max() < ONE_LEVEL
    assert torch.equal(views.mul(255).round().byte(), torchvision_views(images, crop, out_size))


@pytest.mark.parametrize(("sizes", "out_size"), CASES)
def test_pillow_agrees_to_one_level(batch, sizes, out_size, generator):
    images, crop = crops_of(batch, sizes, out_size, generator)
    views = resample(images, crop, out_size)
    for view, image, box, flip in zip(views, images, crop.box.tolist(), crop.flip, strict=True):
        top, left, height, width = box
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        picture = picture.crop((left, top, left + width, top + height))
        picture = picture.resize((out_size, out_size), Image.Resampling.BILINEAR)
        expected = np.asarray(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else picture)
        assert np.abs(view.permute(1, 2, 0).numpy() * 255 - expected).max() < 1.01


def test_size_decides_between_matrices_and_8_bit_kernel(batch, generator):
    for sizes, out_size, chosen in [
        (SQUARE_28, 32, resampling._resample_batch),
        (SQUARE_256, 64, resampling._resample_each),
    ]:
        images, crop = crops_of(batch, sizes, out_size, generator)
        assert torch.equal(resample(images, crop, out_size), chosen(images, crop, out_size))


@pytest.mark.parametrize("out_size", [16, 80])
def test_nothing_outside_the_box_enters_the_view(batch, out_size, generator):
    images, crop = crops_of(batch, RAGGED, out_size, generator)
    outside = torch.ones_like(images, dtype=torch.bool)
    for mask, (top, left, height, width) in zip(outside, crop.box.tolist(), strict=True):
        mask[:, top : top + height, left : left + width] = False
    changed = torch.where(outside, 255 - images, images)
    assert not torch.equal(changed, images)
    assert torch.equal(resample(changed, crop, out_size), resample(images, crop, out_size))
