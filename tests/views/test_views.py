"""Whole policies against the same steps of torchvision with the same parameters."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from selfsup.views import View, load_policy
from selfsup.views.crop_and_colour import BLUR_FROM
from selfsup.views.resample import resample

TOLERANCE = 1e-3
ONE_LEVEL = 1 / 255
CASES = {
    "28 to 32": ([(28, 28)] * 40, 32),
    "256 to 64": ([(256, 256)] * 16, 64),
    "256 to 224": ([(256, 256)] * 8, 224),
    "ragged to 32": ([(28, 20), (15, 28), (28, 28), (9, 25)] * 8, 32),
    "ragged to 96": ([(256, 120), (90, 200), (64, 64), (40, 180)] * 4, 96),
}
BY_CASE = pytest.mark.parametrize(("sizes", "out_size"), CASES.values(), ids=CASES.keys())


def framed(image: Tensor, box: list[int], flip: bool, out_size: int) -> Tensor:
    """Crop, resize and flip; large images in 8 bits, as decoded images go through torchvision."""
    if max(image.shape[1:]) <= 28:
        image = image / 255
    view = TF.resized_crop(image, *box, [out_size, out_size], antialias=True)
    view = TF.horizontal_flip(view) if flip else view
    return view if view.is_floating_point() else view / 255


def colour_view(image: Tensor, params, out_size: int) -> Tensor:
    view = framed(image, params.crop.box.tolist(), bool(params.crop.flip), out_size)
    if params.jitter.applied:
        order = params.jitter.blends.tolist()
        order.insert(int(params.jitter.hue_turn), 3)
        for operation in order:
            adjust = [TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue][operation]
            view = adjust(view, float(params.jitter.factors[operation]))
    if params.grey:
        view = TF.rgb_to_grayscale(view, 3)
    if out_size >= BLUR_FROM and params.sigma > 0:
        view = TF.gaussian_blur(view, 2 * (out_size // 10 // 2) + 1, float(params.sigma))
    return TF.solarize(view, 0.5) if params.solarised else view


def crop_view(image: Tensor, params, out_size: int) -> Tensor:
    return framed(image, params.box.tolist(), bool(params.flip), out_size)


def weak_view(image: Tensor, params, out_size: int) -> Tensor:
    view = framed(image, params.crop.box.tolist(), bool(params.crop.flip), out_size)
    return TF.rotate(view, float(params.degrees), interpolation=InterpolationMode.BILINEAR, fill=0)


@BY_CASE
@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("name", ["weak", "crop", "simclr", "byol"])
def test_views_are_torchvisions_for_the_same_parameters(batch, name, index, sizes, out_size, generator):
    images, sizes = batch(sizes)
    policy = load_policy(name)
    params = policy.draw(sizes, out_size, generator, View(index))
    reference = {"weak": weak_view, "crop": crop_view, "simclr": colour_view, "byol": colour_view}[name]
    expected = torch.stack([reference(image, params[place], out_size) for place, image in enumerate(images)])
    assert (policy.apply(images, sizes, params, out_size) - expected).abs().max() < TOLERANCE


@pytest.mark.parametrize("out_size", [8, 32, 96])
@pytest.mark.parametrize("name", ["none", "weak", "crop", "simclr", "byol", "per-channel"])
def test_a_view_is_the_same_to_the_last_digit_whatever_stands_beside_its_image(batch, name, out_size, generator):
    images, sizes = batch([(28, 20), (300, 200), (28, 28), (28, 28), (1, 1), (72, 3), (64, 64), (28, 28), (3, 90)] * 3)
    images[::3] = images[::3] // 200 * 255  # black and white: what rounding could carry beyond [0, 1]
    policy = load_policy(name)
    params = policy.draw(sizes, out_size, generator, View(1))
    together = policy.apply(images, sizes, params, out_size)
    for place, (height, width) in enumerate(sizes.tolist()):
        one = slice(place, place + 1)
        alone = policy.apply(images[one, :, :height, :width], sizes[one], params[one], out_size)
        assert torch.equal(alone, together[one])
    order = torch.randperm(len(sizes), generator=generator)
    assert torch.equal(policy.apply(images[order], sizes[order], params[order], out_size), together[order])
    assert together.min() >= 0
    assert together.max() <= 1


@BY_CASE
def test_evaluation_sees_torchvisions_resize_and_centre_crop(batch, sizes, out_size, generator):
    images, sizes = batch(sizes)
    views = load_policy("none")(images, sizes, out_size, generator)
    for view, image, (height, width) in zip(views, images, sizes.tolist(), strict=True):
        resized = TF.resize(image[:, :height, :width] / 255, [out_size], antialias=True)
        assert (view - TF.center_crop(resized, [out_size])).abs().max() < ONE_LEVEL + 1e-5


@pytest.mark.parametrize("side", [16, 64])  # by matrices, and by torch's kernel
def test_an_image_of_the_views_size_is_its_own_view(side, generator):
    pixels = torch.arange(2 * side * side * 3).remainder(256).byte().view(2, side, side, 3).permute(0, 3, 1, 2)
    sizes = torch.full((2, 2), side)
    view = load_policy("none")(pixels, sizes, side, generator)
    resampled = resample(pixels, load_policy("none").draw(sizes, side, generator), side)
    assert torch.equal(view, resampled)
    assert view.is_contiguous(memory_format=torch.channels_last)


def test_evaluation_draws_nothing(batch, generator):
    images, sizes = batch([(28, 20), (15, 28)])
    before = generator.get_state()
    load_policy("none")(images, sizes, 32, generator)
    assert torch.equal(generator.get_state(), before)


def test_small_views_are_not_blurred(batch, generator):
    images, sizes = batch([(28, 28)] * 16)
    policy = load_policy("simclr")
    params = policy.draw(sizes, BLUR_FROM, generator)
    assert (params.sigma > 0).any()
    sharp = torch.zeros_like(params.sigma)

    def blurs(out_size: int) -> bool:
        params = policy.draw(sizes, out_size, torch.Generator().manual_seed(0))
        unblurred = replace(params, sigma=sharp)
        views = [policy.apply(images, sizes, each, out_size) for each in (params, unblurred)]
        return not torch.equal(*views)

    assert blurs(BLUR_FROM)
    assert not blurs(BLUR_FROM - 1)


def test_a_policy_that_does_not_exist_is_refused_with_those_that_do():
    from selfsup.errors import UserError

    with pytest.raises(UserError, match=r"Unknown augmentation 'simclrr'. Did you mean 'simclr'\?"):
        load_policy("simclrr")


class TestUnequalViews:
    """Grill et al. 2020, appendix B, table 6, counted over 20,000 images."""

    sizes = torch.full((20_000, 2), 64)

    def share(self, index: int, name: str) -> float:
        params = load_policy("byol").draw(self.sizes, 64, torch.Generator().manual_seed(1), View(index))
        return float({"blurred": params.sigma > 0, "solarised": params.solarised}[name].float().mean())

    @pytest.mark.parametrize(
        ("index", "blurred", "solarised"), [(0, 1.0, 0.0), (1, 0.1, 0.2), (2, 0.5, 0.0), (7, 0.5, 0.0)]
    )
    def test_blur_and_solarisation_by_view(self, index, blurred, solarised):
        assert self.share(index, "blurred") == pytest.approx(blurred, abs=0.015)
        assert self.share(index, "solarised") == pytest.approx(solarised, abs=0.015)

    def test_jitter_has_the_distribution_of_torchvisions(self):
        from torchvision.transforms import ColorJitter

        params = load_policy("byol").draw(self.sizes, 64, torch.Generator().manual_seed(1))
        torch.manual_seed(0)
        jitter = ColorJitter(0.4, 0.4, 0.2, 0.1)
        theirs = [
            ColorJitter.get_params(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)[1:]
            for _ in range(5_000)
        ]
        quantiles = torch.linspace(0.02, 0.98, 9)
        found = params.jitter.factors.quantile(quantiles, dim=0)
        assert (found - torch.tensor(theirs).quantile(quantiles, dim=0)).abs().max() < 0.02
        assert float(params.jitter.applied.float().mean()) == pytest.approx(0.8, abs=0.015)
        assert float(params.grey.float().mean()) == pytest.approx(0.2, abs=0.015)


@pytest.mark.parametrize("name", ["weak", "crop", "simclr", "byol"])
def test_a_group_of_views_may_ask_for_crops_of_another_size(name, generator):
    sizes = torch.full((2_000, 2), 200)
    params = load_policy(name).draw(sizes, 32, generator, View(scale=(0.05, 0.1)))
    box = params.box if name == "crop" else params.crop.box
    area = box[:, 2:].prod(1) / 200**2
    assert 0.045 < area.min() < 0.06
    assert 0.09 < area.max() < 0.105
