"""The losses are the formulas of the papers, and their gradients go where the papers let them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from lightly.loss import NegativeCosineSimilarity, NTXentLoss
from torch import Tensor
from torch.nn import functional as F

from selfsup.methods.parts.losses import cosine_regression, info_nce, nt_xent


def draw(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def double(*shape: int, seed: int) -> Tensor:
    return draw(*shape, seed=seed).double().requires_grad_()


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt(a @ a) / np.sqrt(b @ b))


# -- NT-Xent -------------------------------------------------------------------------------------


def nt_xent_by_loops(z: np.ndarray, temperature: float) -> float:
    """Chen et al. 2020, equation 1, for every positive pair (i, j), and the mean of algorithm 1."""
    two_n = len(z)
    total = 0.0
    for i in range(two_n):
        j = (i + two_n // 2) % two_n
        numerator = math.exp(cosine(z[i], z[j]) / temperature)
        denominator = sum(math.exp(cosine(z[i], z[k]) / temperature) for k in range(two_n) if k != i)
        total -= math.log(numerator / denominator)
    return total / two_n


@pytest.mark.parametrize("temperature", [0.07, 0.5, 1.0])
@pytest.mark.parametrize("n", [2, 3, 8])
def test_nt_xent_is_equation_1(n: int, temperature: float) -> None:
    z = draw(2 * n, 5, scale=3.0)
    expected = nt_xent_by_loops(z.double().numpy(), temperature)
    assert nt_xent(z, temperature).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_nt_xent_and_its_gradient_agree_with_lightly(temperature: float) -> None:
    ours, theirs = (draw(24, 16).requires_grad_() for _ in range(2))
    loss = nt_xent(ours, temperature)
    reference = NTXentLoss(temperature=temperature)(theirs[:12], theirs[12:])
    torch.testing.assert_close(loss, reference)
    (gradient,) = torch.autograd.grad(loss, ours)
    (expected,) = torch.autograd.grad(reference, theirs)
    torch.testing.assert_close(gradient, expected)
    assert expected.abs().max() > 1e-3


def test_nt_xent_depends_on_directions_and_not_on_lengths() -> None:
    z = draw(12, 6)
    torch.testing.assert_close(nt_xent(z, 0.5), nt_xent(z * draw(12, 1, seed=1).exp(), 0.5))


def test_nt_xent_of_perfect_pairs_is_its_lower_bound() -> None:
    """Orthogonal images, identical views: every anchor sees one cosine of 1 and 2n - 2 of 0."""
    n, temperature = 4, 0.5
    z = torch.eye(n).repeat(2, 1)
    bound = -math.log(math.exp(1 / temperature) / (math.exp(1 / temperature) + 2 * n - 2))
    assert nt_xent(z, temperature).item() == pytest.approx(bound, rel=1e-6)
    assert nt_xent(draw(2 * n, n), temperature).item() > bound


def test_nt_xent_of_collapsed_embeddings_is_the_log_of_the_candidates() -> None:
    assert nt_xent(torch.ones(10, 7), 0.1).item() == pytest.approx(math.log(9), rel=1e-5)


def test_nt_xent_survives_a_zero_embedding() -> None:
    z = draw(8, 4)
    z[3] = 0
    z.requires_grad_()
    loss = nt_xent(z, 0.1)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(z.grad).all()


# -- InfoNCE -------------------------------------------------------------------------------------


def info_nce_by_loops(q: np.ndarray, k: np.ndarray, negatives: np.ndarray, temperature: float) -> float:
    """He et al. 2020, equation 1: the sum is over one positive and all keys of the queue."""
    total = 0.0
    for query, key in zip(q, k, strict=True):
        positive = math.exp(cosine(query, key) / temperature)
        total -= math.log(positive / (positive + sum(math.exp(cosine(query, n) / temperature) for n in negatives)))
    return total / len(q)


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
@pytest.mark.parametrize("queue", [1, 9])
def test_info_nce_is_equation_1(queue: int, temperature: float) -> None:
    q, k, negatives = draw(6, 5, scale=2.0), draw(6, 5, seed=1), F.normalize(draw(queue, 5, seed=2), dim=1)
    expected = info_nce_by_loops(q.double().numpy(), k.double().numpy(), negatives.double().numpy(), temperature)
    assert info_nce(q, k, negatives, temperature).item() == pytest.approx(expected, rel=1e-5)


def test_info_nce_and_its_gradient_agree_with_lightlys_memory_bank() -> None:
    reference = NTXentLoss(temperature=0.2, memory_bank_size=(32, 8))
    theirs, ours = (draw(16, 8, seed=3).requires_grad_() for _ in range(2))
    keys = draw(16, 8, seed=4)
    reference(theirs, draw(16, 8, seed=2))  # enters half of lightly's bank
    bank = reference.memory_bank.bank.clone()
    expected = reference(theirs, keys)
    loss = info_nce(ours, keys, bank, 0.2)
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, ours)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, theirs)[0])
    assert gradient.abs().max() > 1e-3


def test_info_nce_gives_no_gradient_to_keys_or_queue() -> None:
    q, k, negatives = (draw(4, 3, seed=seed).requires_grad_() for seed in range(3))
    info_nce(q, k, negatives.detach(), 0.2).backward()
    assert k.grad is None
    assert q.grad.abs().sum() > 0


def test_info_nce_has_the_gradient_that_differences_give() -> None:
    keys, negatives = draw(4, 5, seed=1).double(), F.normalize(draw(7, 5, seed=2), dim=1)

    def loss(q: Tensor) -> Tensor:
        return info_nce(q, keys, negatives, 0.2)

    # The loss is computed in float32, so the differences are taken wide and compared loosely.
    assert torch.autograd.gradcheck(loss, double(4, 5, seed=0), eps=1e-2, atol=1e-2, rtol=1e-2)


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
