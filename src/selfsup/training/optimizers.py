"""Optimizers, from the recipe of a method and its groups of parameters."""

from __future__ import annotations

from typing import Any

import torch

from selfsup.methods.base import Method
from selfsup.methods.parts.recipe import Recipe

#: LARS as the published recipes for small data use it: 20 times timm's own default, and the adapted rate never
#: above the rate itself.
LARS_TRUST_COEFFICIENT = 0.02


def recipe_of(method: Method) -> Recipe:
    """The recipe of a method on its backbone, with what its settings change."""
    found: Recipe = method.settings.over(method.recipe_for(method.backbone))
    return found


def build_optimizer(method: Method, lr: float, *, fused: bool = True) -> torch.optim.Optimizer:
    """The optimizer of the method's recipe, over its groups of parameters, beginning at the rate `lr`.

    `fused`: Adam's whole step as one kernel. Not with a scaler of gradients (fp16), whose scale it takes out
    itself, so that the gradients could not be clipped before.
    """
    recipe = recipe_of(method)
    groups: list[dict[str, Any]] = [
        {
            "params": group.parameters,
            "weight_decay": recipe.weight_decay if group.decays else 0.0,
            "decays": group.decays,
            "constant_lr": group.constant_lr,
        }
        for group in method.parameter_groups()
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=recipe.momentum)
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, lr=lr, betas=recipe.betas, fused=fused)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=recipe.betas, fused=fused)
    return _lars(groups, lr, recipe)


def _lars(groups: list[dict[str, Any]], lr: float, recipe: Recipe) -> torch.optim.Optimizer:
    """LARS (You et al. 2017); biases and norms take no decay and no adaptation (Grill et al. 2020, 3.3)."""
    from timm.optim.lars import Lars

    # timm adapts only what decays unless told otherwise, and without decay would be plain SGD.
    adapted = [{**group, "always_adapt": group["decays"]} for group in groups]
    return Lars(adapted, lr=lr, momentum=recipe.momentum, trust_coeff=LARS_TRUST_COEFFICIENT, trust_clip=True)


def set_rates(optimizer: torch.optim.Optimizer, recipe: Recipe, *, lr: float, base_lr: float, share: float) -> None:
    """Learning rate and weight decay of every group for the next step.

    Parameters
    ----------
    lr, base_lr : float
        The schedule's rate now, and the one that groups with a constant rate keep.
    share : float
        Share of the training done, in [0, 1].
    """
    for group in optimizer.param_groups:
        group["lr"] = base_lr if group["constant_lr"] else lr
        group["weight_decay"] = recipe.weight_decay_at(share) if group["decays"] else 0.0
