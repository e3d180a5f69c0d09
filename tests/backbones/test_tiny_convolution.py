"""Convolutions of tiny images: the same numbers as torch's, whatever the kernel, stride and padding."""

from __future__ import annotations

import copy
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from selfsup.backbones import build_backbone
from selfsup.backbones.tiny_convolution import TinyConv2d, quicken_tiny_convolutions

GEOMETRIES = [
    (kernel, stride, padding, height, width)
    for kernel, stride, padding, height, width in product((1, 2, 3, 5, 7), (1, 2, 3), (0, 1, 2, 3), (1, 2, 3), (1, 2))
    if padding <= kernel // 2 + 1 and min(height, width) + 2 * padding >= kernel
]


def gradients(layer: nn.Module, images: Tensor, weights: Tensor) -> list[Tensor]:
    """The result of the layer and the gradients of its weighted sum."""
    images = images.clone().requires_grad_()
    layer.zero_grad()
    result = layer(images)
    (result * weights[..., : result.shape[2], : result.shape[3]]).sum().backward()
    return [result, images.grad, *(p.grad for p in layer.parameters())]


@pytest.mark.parametrize(("kernel", "stride", "padding", "height", "width"), GEOMETRIES)
def test_result_and_gradients_are_those_of_torch(
    kernel: int, stride: int, padding: int, height: int, width: int
) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(3, 5, kernel, stride, padding).double()
    quick = copy.deepcopy(plain)
    quicken_tiny_convolutions(quick)
    assert type(quick) is TinyConv2d
    images, weights = torch.randn(4, 3, height, width).double(), torch.randn(4, 5, 9, 9).double()
    for ours, theirs in zip(gradients(quick, images, weights), gradients(plain, images, weights), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("options", [{"groups": 4}, {"dilation": 2, "padding": 2}, {"padding_mode": "circular"}])
def test_unusual_convolutions_are_left_to_torch(options: dict) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 4, 3, **{"padding": 1, **options})
    quick = copy.deepcopy(plain)
    quicken_tiny_convolutions(quick)
    images = torch.randn(2, 4, 2, 2)
    assert torch.equal(quick(images), plain(images))


def test_result_is_channels_last_for_channels_last_images() -> None:
    quick = nn.Conv2d(4, 8, 3, padding=1)
    quicken_tiny_convolutions(quick)
    result = quick(torch.randn(2, 4, 2, 2).to(memory_format=torch.channels_last))
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_a_resnet_keeps_its_weights_names_and_embeddings() -> None:
    torch.manual_seed(0)
    quick = build_backbone("resnet18", image_size=32).eval()
    plain = copy.deepcopy(quick)
    for module in plain.modules():
        if type(module) is TinyConv2d:
            module.__class__ = nn.Conv2d
    assert list(quick.state_dict()) == list(plain.state_dict())
    images = torch.rand(8, 3, 32, 32)
    torch.testing.assert_close(quick(images), plain(images), rtol=1e-4, atol=1e-5)
