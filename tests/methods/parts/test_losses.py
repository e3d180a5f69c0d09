"""The losses are the formulas of the papers, and their gradients go where the papers let them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lightly.loss import NegativeCosineSimilarity
from tests.methods.parts.vectors import cosine, draw
from torch import Tensor
from torch.nn import functional as F

from selfsup.methods.parts.contrast import info_nce, nt_xent
from selfsup.methods.parts.losses import cosine_regression

# -- BYOL's regression -------------------------------------------------------------------------------


def test_cosine_regression_is_two_minus_two_cosines() -> None:
    p, t = draw(9, 5, scale=4.0), draw(9, 5, seed=1)
    expected = np.mean([2 - 2 * cosine(a, b) for a, b in zip(p.double().numpy(), t.double().numpy(), strict=True)])
    assert cosine_regression(p, t).item() == pytest.approx(float(expected), rel=1e-5)


def test_cosine_regression_is_the_squared_distance_of_unit_vectors() -> None:
    p, t = draw(9, 5), draw(9, 5, seed=1)
    squared = (F.normalize(p, dim=1) - F.normalize(t, dim=1)).pow(2).sum(dim=1).mean()
    torch.testing.assert_close(cosine_regression(p, t), squared)


def test_cosine_regression_agrees_with_lightlys_negative_cosine() -> None:
    p, t = draw(9, 5), draw(9, 5, seed=1)
    torch.testing.assert_close(cosine_regression(p, t), 2 + 2 * NegativeCosineSimilarity()(p, t))


def test_cosine_regression_goes_from_zero_to_four() -> None:
    p = draw(5, 3)
    assert cosine_regression(p, 2 * p).item() == pytest.approx(0, abs=1e-6)
    assert cosine_regression(p, -p).item() == pytest.approx(4, abs=1e-6)


def test_cosine_regression_gives_the_gradient_by_hand_and_none_to_targets() -> None:
    """d(2 - 2 cos)/dp = -2 (t - cos p) / |p| for unit t and p/|p|, over n rows."""
    p, t = draw(6, 4).requires_grad_(), draw(6, 4, seed=1).requires_grad_()
    cosine_regression(p, t).backward()
    length = p.detach().norm(dim=1, keepdim=True)
    unit_p, unit_t = p.detach() / length, F.normalize(t.detach(), dim=1)
    by_hand = -2 * (unit_t - (unit_p * unit_t).sum(dim=1, keepdim=True) * unit_p) / length / len(p)
    torch.testing.assert_close(p.grad, by_hand)
    assert t.grad is None


# -- precision -----------------------------------------------------------------------------------


def all_losses(z: Tensor) -> Tensor:
    first, second = z.chunk(2)
    queue = F.normalize(z.float(), dim=1)
    return torch.stack([nt_xent(z, 0.1), info_nce(first, second, queue, 0.1), cosine_regression(z, -z)])


def test_losses_are_computed_in_float32_under_autocast() -> None:
    z = draw(64, 32)
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = all_losses(z)
    assert under_autocast.dtype == torch.float32
    assert torch.equal(under_autocast, all_losses(z))


def test_losses_take_half_precision_and_answer_in_float32() -> None:
    z = draw(64, 32).bfloat16()
    assert torch.equal(all_losses(z), all_losses(z.float()))
