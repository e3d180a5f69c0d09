"""The classical linear probe: stochastic gradient descent, several learning rates at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from selfsup.seeding import derive_seed


def descend(
    x: Tensor,
    y: Tensor,
    lrs: Tensor,
    *,
    num_classes: int,
    epochs: int = 100,
    batch_size: int = 256,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Train a linear layer on fixed embeddings by SGD with a cosine schedule, once for each learning rate.

    Epochs, batch size and the absence of weight decay are those of He et al. 2020 (section 4.1), the
    cosine that of Chen & He 2021 (appendix A), the choice among learning rates that of Grill et al.
    2020 (appendix C.1).

    Parameters
    ----------
    x : Tensor, floating, shape (n, width)
    y : Tensor of int64, shape (n,), or bool, shape (n, num_classes)
        Classes in [0, num_classes), or which labels each image has.
    lrs : Tensor, shape (b,)
        Learning rates, greater than 0.
    weight_decay : float
        Penalty weight_decay / 2 * |W|^2 beside the mean cross entropy; the biases are free.
    seed : int
        Draws the order of the images, the same for every learning rate.

    Returns
    -------
    weight : Tensor, shape (b, num_classes, width)
    bias : Tensor, shape (b, num_classes)
    """
    with_one = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
    decay = x.new_full((with_one.shape[1], 1), weight_decay)
    decay[-1] = 0
    theta = x.new_zeros(len(lrs), with_one.shape[1], num_classes)
    velocity = torch.zeros_like(theta)
    several = y.dtype == torch.bool
    wanted = (y if several else torch.nn.functional.one_hot(y, num_classes)).to(x.dtype)
    batches = math.ceil(len(x) / batch_size)
    for epoch in range(epochs):
        generator = torch.Generator().manual_seed(derive_seed(seed, "sgd probe", epoch))
        order = torch.randperm(len(x), generator=generator).to(x.device)
        for number, rows in enumerate(order.tensor_split(batches)):
            logits = with_one[rows] @ theta
            error = (torch.sigmoid(logits) if several else torch.softmax(logits, dim=-1)) - wanted[rows]
            gradient = with_one[rows].T @ error / len(rows) + decay * theta
            share = (epoch * batches + number) / (epochs * batches)
            velocity = momentum * velocity + gradient
            theta = theta - (lrs * (1 + math.cos(math.pi * share)) / 2)[:, None, None] * velocity
    return theta[:, :-1].mT.contiguous(), theta[:, -1]
