"""Optimizers: what the recipe and the settings name, and LARS as the published recipes use it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from selfsup.backbones import Backbone, build_backbone
from selfsup.methods import Method, MethodSettings, ParameterGroup, Recipe
from selfsup.training.optimizers import build_optimizer, recipe_of, set_rates


class Layer(Method):
    """One linear layer of ones."""

    recipe = Recipe(lr=0.5, weight_decay=0.1, final_weight_decay=0.3)

    def __init__(self, **settings: Any) -> None:
        layer = nn.Linear(4, 4)
        for parameter in layer.parameters():
            nn.init.ones_(parameter)
        super().__init__(Backbone(layer, 4, (0.0,) * 3, (1.0,) * 3, image_size=4), MethodSettings(**settings))
        self.layer = layer


def moved(gradient: float, weight_decay: float, lr: float = 0.5) -> tuple[Tensor, Tensor]:
    """How far one LARS step moves a weight matrix of ones and a bias of ones."""
    method = Layer(optimizer="lars", weight_decay=weight_decay)
    optimizer = build_optimizer(method, lr)
    for parameter in method.layer.parameters():
        parameter.grad = torch.full_like(parameter, gradient)
    optimizer.step()
    return 1 - method.layer.weight.detach(), 1 - method.layer.bias.detach()


@pytest.mark.parametrize("gradient", [0.5, 1.0, 100.0])
def test_lars_scales_the_step_of_a_weight_matrix_to_its_norm(gradient: float) -> None:
    """You et al. 2017: min(eta |w| / (|g| + beta |w|), lr) * (g + beta w), eta = 0.02, |w| = 4, |g| = 4 g."""
    weight, _ = moved(gradient, 0.02)
    trust = 0.02 * 4 / (4 * gradient + 0.02 * 4)
    assert trust < 0.5
    torch.testing.assert_close(weight, torch.full((4, 4), trust * (gradient + 0.02)), rtol=1e-3, atol=1e-8)


def test_lars_never_exceeds_the_learning_rate_itself() -> None:
    weight, _ = moved(0.1, 0.0, lr=0.01)  # eta |w| / |g| = 0.2
    torch.testing.assert_close(weight, torch.full((4, 4), 0.01 * 0.1), rtol=1e-3, atol=0)


@pytest.mark.parametrize("gradient", [0.01, 1.0])
def test_lars_takes_plain_steps_without_decay_on_biases(gradient: float) -> None:
    """Grill et al. 2020, section 3.3."""
    _, bias = moved(gradient, 0.02)
    torch.testing.assert_close(bias, torch.full((4,), 0.5 * gradient))


@pytest.mark.parametrize(
    ("name", "cls"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_the_optimizer_is_the_one_that_the_settings_name(name: str, cls: type) -> None:
    optimizer = build_optimizer(Layer(optimizer=name, optimizer_momentum=0.7, weight_decay=0.01), 0.3)
    assert type(optimizer) is cls
    weights, biases = optimizer.param_groups
    assert (weights["lr"], weights["weight_decay"]) == (0.3, 0.01)
    assert (biases["lr"], biases["weight_decay"]) == (0.3, 0.0)
    assert weights.get("momentum", 0.7) == 0.7


def test_only_parameters_with_a_gradient_are_optimized() -> None:
    method = Layer()
    method.layer.weight.requires_grad_(False)
    (group,) = build_optimizer(method, 0.1).param_groups
    assert [id(parameter) for parameter in group["params"]] == [id(method.layer.bias)]


def test_what_is_set_wins_over_the_recipe_and_a_set_decay_is_constant() -> None:
    assert recipe_of(Layer()) == Layer.recipe
    assert recipe_of(Layer(weight_decay=0.2, clip=1.0)) == Recipe(lr=0.5, weight_decay=0.2, clip=1.0)


def test_the_weight_decay_follows_half_a_cosine_and_vectors_have_none() -> None:
    method = Layer()
    optimizer = build_optimizer(method, 0.5)
    found = []
    for share in (0.0, 0.5, 1.0):
        set_rates(optimizer, recipe_of(method), lr=0.1, base_lr=0.5, share=share)
        found.append([group["weight_decay"] for group in optimizer.param_groups])
    assert found == [[pytest.approx(decay), 0.0] for decay in (0.1, 0.2, 0.3)]


def test_a_group_may_keep_its_learning_rate() -> None:
    class Constant(Layer):
        def parameter_groups(self) -> list[ParameterGroup]:
            return [ParameterGroup([self.layer.weight]), ParameterGroup([self.layer.bias], constant_lr=True)]

    method = Constant()
    optimizer = build_optimizer(method, 0.5)
    set_rates(optimizer, recipe_of(method), lr=0.1, base_lr=0.5, share=0.0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.5]


@pytest.mark.parametrize(("scaling", "rate"), [("linear", 0.25), ("sqrt", 0.5 * 0.5**0.5), ("none", 0.5)])
def test_a_recipes_rate_is_quoted_at_256_and_scales_as_it_says(scaling: Any, rate: float) -> None:
    assert Recipe(lr=0.5, scaling=scaling).lr_at(256) == 0.5
    assert Recipe(lr=0.5, scaling=scaling).lr_at(128) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("name", "side", "embeddings"),
    [
        ("deit_tiny_distilled_patch16_224", 32, ("pos_embed", "cls_token", "dist_token")),
        ("vit_base_patch16_siglip_224", 32, ("pos_embed", "attn_pool.latent")),
        ("swin_tiny_patch4_window7_224", 224, ("layers.0.blocks.0.attn.relative_position_bias_table",)),
        ("efficientvit_m0", 224, ("stages.0.blocks.0.mixer.m.attn.attention_biases",)),  # by its authors' list
        ("fastvit_t8", 32, ("stages.0.blocks.0.token_mixer.layer_scale.gamma",)),  # shape (48, 1, 1)
    ],
)
def test_positions_special_tokens_and_scales_of_layers_take_no_decay(name: str, side: int, embeddings: Any) -> None:
    backbone = build_backbone(name, image_size=side)
    groups = Method(backbone, MethodSettings()).parameter_groups()
    decaying = {id(parameter) for group in groups if group.decays for parameter in group.parameters}
    assert not any(id(backbone.network.get_parameter(embedding)) in decaying for embedding in embeddings)
    assert id(next(p for p in backbone.parameters() if p.ndim == 4)) in decaying
