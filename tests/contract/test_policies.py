"""What every augmentation policy must keep, whoever wrote it."""

from __future__ import annotations

import importlib

import pytest
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor

from selfsup import registry
from selfsup import views as augment

SIZES = [(28, 20), (15, 28), (28, 28), (28, 28), (3, 27), (1, 1)]

every_policy = pytest.mark.parametrize("name", augment.policy_names())
every_out_size = pytest.mark.parametrize("out_size", [8, 31, 64])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Pieces of a photograph, uint8 in channels-last memory, zeros for padding."""
    photo = torch.from_numpy(load_sample_images().images[1].copy())
    images = torch.zeros(len(SIZES), 28, 28, 3, dtype=torch.uint8)
    for index, (height, width) in enumerate(SIZES):
        images[index, :height, :width] = photo[100 + 30 * index :, 200 + 30 * index :][:height, :width]
    return images.permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def sizes() -> Tensor:
    return torch.tensor(SIZES)


@every_policy
@every_out_size
def test_views_have_the_promised_form(name, out_size, images, sizes):
    views = augment.load_policy(name)(images, sizes, out_size, seeded())
    assert views.shape == (len(images), 3, out_size, out_size)
    assert views.dtype == torch.float32
    assert views.device == images.device
    assert views.is_contiguous(memory_format=torch.channels_last)
    assert not views.requires_grad
    assert views.min() >= 0
    assert views.max() <= 1
    assert (views.flatten(1).std(1)[:-1] > 1e-3).all()  # not blank; the last is of one pixel


@every_policy
@every_out_size
def test_the_generator_alone_decides(name, out_size, images, sizes):
    policy = augment.load_policy(name)
    views = policy(images, sizes, out_size, seeded())
    assert torch.equal(policy(images, sizes, out_size, seeded()), views)
    torch.manual_seed(123)
    assert torch.equal(policy(images, sizes, out_size, seeded()), views)
    params = policy.draw(sizes, out_size, seeded())
    assert torch.equal(policy.apply(images, sizes, params, out_size), views)
    if name != "none":
        assert not torch.equal(policy(images, sizes, out_size, seeded(1)), views)


@every_policy
@every_out_size
def test_an_image_has_the_same_view_in_a_batch_and_alone(name, out_size, images, sizes):
    policy = augment.load_policy(name)
    params = policy.draw(sizes, out_size, seeded())
    views = policy.apply(images, sizes, params, out_size)
    for index in range(len(images)):
        one = slice(index, index + 1)
        alone = policy.apply(images[one], sizes[one], params[one], out_size)
        torch.testing.assert_close(alone, views[one], atol=2e-4, rtol=0)


@every_policy
@every_out_size
def test_padding_never_enters_a_view(name, out_size, images, sizes):
    policy = augment.load_policy(name)
    padding = torch.ones_like(images, dtype=torch.bool)
    for mask, (height, width) in zip(padding, SIZES, strict=True):
        mask[:, :height, :width] = False
    noisy = torch.where(padding, 255, images)
    assert torch.equal(policy(noisy, sizes, out_size, seeded()), policy(images, sizes, out_size, seeded()))


@every_policy
def test_the_stored_images_are_left_as_they_are(name, images, sizes):
    before = images.clone()
    augment.load_policy(name)(images, sizes, 32, seeded())
    assert torch.equal(images, before)


@every_policy
def test_memory_layout_of_the_images_does_not_matter(name, images, sizes):
    policy = augment.load_policy(name)
    planar = policy(images.contiguous(), sizes, 32, seeded())
    torch.testing.assert_close(planar, policy(images, sizes, 32, seeded()), atol=1e-6, rtol=0)


@every_policy
def test_views_keep_full_precision_under_autocast(name, images, sizes):
    policy = augment.load_policy(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        views = policy(images, sizes, 32, seeded())
    assert torch.equal(views, policy(images, sizes, 32, seeded()))


@every_policy
def test_the_first_docstring_line_says_what_the_policy_does(name):
    module = importlib.import_module(registry.module_name("selfsup.views", name))
    first = (module.__doc__ or "").splitlines()[0]
    assert first.endswith(".")
    assert len(first) > 20


def test_the_policies_of_the_presets_are_there():
    assert {"none", "weak", "simclr"} <= set(augment.policy_names())
