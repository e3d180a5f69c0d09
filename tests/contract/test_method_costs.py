"""What methods say that a step costs, against the operations that it makes."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from selfsup.backbones import build_backbone
from selfsup.methods import Batch, Progress, method_class, method_names, read_settings
from selfsup.testing.methods import teacher_for

TRAINED = [name for name in method_names() if method_class(name).tags.trains]
SIDE, IMAGES = 64, 2


@cache
def operations(name: str, network: str) -> int:
    """Of one step of a method with its default settings, forward and backward; of the optimizer, none."""
    cls = method_class(name)
    backbone = build_backbone(network, image_size=SIDE)
    method = cls(backbone, read_settings(name, {}), num_classes=10, num_images=1000, **teacher_for(cls, 1000)).train()
    views, masks = {}, {}
    for group in method.view_groups():
        side = group.pixels(SIDE, backbone.patch_size or 8)
        views[group.name] = [torch.rand(IMAGES, 3, side, side) for _ in range(group.count)]
        if group.mask is not None:
            masks[group.name] = [group.mask.draw(IMAGES, side, torch.Generator()) for _ in range(group.count)]
    with FlopCounterMode(display=False) as counter:
        order = torch.arange(IMAGES)
        method.loss(Batch(views, order, Progress(50, 100, 10), masks, order)).loss.backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("name", TRAINED)
def test_a_method_says_what_its_step_costs_beside_simclrs(name: str) -> None:
    cls = method_class(name)
    network = "vit_tiny_patch16_224" if cls.tags.needs_tokens else "resnet18"
    assert cls.cost == pytest.approx(operations(name, network) / operations("simclr", network), abs=0.02)
