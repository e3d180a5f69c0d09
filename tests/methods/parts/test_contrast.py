"""Contrastive losses are the formulas of the papers, and their gradients go where the papers let them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from lightly.loss import DCLLoss, NTXentLoss
from tests.methods.parts.vectors import cosine, differences, double, draw
from torch import Tensor
from torch.nn import functional as F

from selfsup.methods.parts.contrast import (
    decoupled_contrast,
    info_nce,
    info_nce_in_batch,
    nt_xent,
    supervised_contrast,
)

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


# -- InfoNCE within the batch ----------------------------------------------------------------------


def info_nce_in_batch_by_loops(q: np.ndarray, k: np.ndarray, temperature: float) -> float:
    """Chen et al. 2021, equation 1, with the factor 2 tau of algorithm 1: the negatives are the other images' keys."""
    total = 0.0
    for i in range(len(q)):
        each = [math.exp(cosine(q[i], key) / temperature) for key in k]
        total -= math.log(each[i] / sum(each))
    return 2 * temperature * total / len(q)


@pytest.mark.parametrize("temperature", [0.1, 0.2, 1.0])
@pytest.mark.parametrize("n", [2, 7])
def test_info_nce_in_batch_and_its_gradient_are_equation_1(n: int, temperature: float) -> None:
    q, k = draw(n, 5, scale=2.0).requires_grad_(), draw(n, 5, seed=1)
    keys = k.double().numpy()
    loss = info_nce_in_batch(q, k, temperature)
    assert loss.item() == pytest.approx(
        info_nce_in_batch_by_loops(q.detach().double().numpy(), keys, temperature), rel=1e-5, abs=1e-6
    )
    loss.backward()
    expected = differences(lambda x: info_nce_in_batch_by_loops(x, keys, temperature), q)
    torch.testing.assert_close(q.grad, expected, rtol=1e-3, atol=1e-5)


def test_info_nce_in_batch_gives_no_gradient_to_keys() -> None:
    q, k = draw(4, 3).requires_grad_(), draw(4, 3, seed=1).requires_grad_()
    info_nce_in_batch(q, k, 0.2).backward()
    assert k.grad is None
    assert q.grad.abs().sum() > 0


# -- decoupled contrast ----------------------------------------------------------------------------


def decoupled_by_loops(z: np.ndarray, temperature: float) -> float:
    """Yeh et al. 2022, equation 6: the denominator holds both views of all other images, and not the positive."""
    n = len(z) // 2
    total = 0.0
    for i in range(2 * n):
        others = [k for k in range(2 * n) if k % n != i % n]
        total -= cosine(z[i], z[(i + n) % (2 * n)]) / temperature
        total += math.log(sum(math.exp(cosine(z[i], z[k]) / temperature) for k in others))
    return total / (2 * n)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
@pytest.mark.parametrize("n", [2, 6])
def test_decoupled_contrast_and_its_gradient_are_equation_6(n: int, temperature: float) -> None:
    z = draw(2 * n, 5, scale=3.0).requires_grad_()
    loss = decoupled_contrast(z, temperature)
    assert loss.item() == pytest.approx(decoupled_by_loops(z.detach().double().numpy(), temperature), rel=1e-5)
    loss.backward()
    expected = differences(lambda x: decoupled_by_loops(x, temperature), z)
    torch.testing.assert_close(z.grad, expected, rtol=1e-3, atol=1e-5)


def test_decoupled_contrast_and_its_gradient_agree_with_lightly() -> None:
    ours, theirs = (draw(24, 16).requires_grad_() for _ in range(2))
    loss, reference = decoupled_contrast(ours, 0.2), DCLLoss(temperature=0.2)(theirs[:12], theirs[12:])
    torch.testing.assert_close(loss, reference, rtol=0, atol=1e-5)
    (gradient,), (expected,) = torch.autograd.grad(loss, ours), torch.autograd.grad(reference, theirs)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-5)
    assert expected.abs().max() > 1e-3


def test_a_perfect_pair_still_pulls_where_nt_xent_has_let_go() -> None:
    """The coupling that the paper removes: NT-Xent multiplies the gradient by what is left of the positive's share."""
    z = torch.eye(4).repeat(2, 1) + 0.05 * draw(8, 4)
    pulls = []
    for loss in (nt_xent, decoupled_contrast):
        ours = z.clone().requires_grad_()
        loss(ours, 0.05).backward()
        pulls.append(float(ours.grad.norm()))
    assert pulls[1] > 100 * pulls[0]


# -- supervised contrast ---------------------------------------------------------------------------


def supervised_by_loops(z: np.ndarray, labels: list[int], temperature: float) -> float:
    """Khosla et al. 2020, equation 2, over P(i), all other views of the anchor's class, and the mean over anchors."""
    classes = labels * (len(z) // len(labels))
    total = 0.0
    for i in range(len(z)):
        denominator = sum(math.exp(cosine(z[i], z[a]) / temperature) for a in range(len(z)) if a != i)
        positives = [p for p in range(len(z)) if p != i and classes[p] == classes[i]]
        for p in positives:
            total -= math.log(math.exp(cosine(z[i], z[p]) / temperature) / denominator) / len(positives)
    return total / len(z)


@pytest.mark.parametrize("labels", [[0, 1, 2], [3, 1, 3, 1, 3], [2, 2, 2, 2]])
@pytest.mark.parametrize("views", [2, 3])
def test_supervised_contrast_and_its_gradient_are_equation_2(labels: list[int], views: int) -> None:
    z = draw(views * len(labels), 5, scale=2.0).requires_grad_()
    loss = supervised_contrast(z, torch.tensor(labels), 0.2)
    assert loss.item() == pytest.approx(supervised_by_loops(z.detach().double().numpy(), labels, 0.2), rel=1e-5)
    loss.backward()
    expected = differences(lambda x: supervised_by_loops(x, labels, 0.2), z)
    torch.testing.assert_close(z.grad, expected, rtol=1e-3, atol=1e-5)


def test_supervised_contrast_of_images_each_of_its_own_class_is_nt_xent() -> None:
    z = draw(16, 6)
    torch.testing.assert_close(supervised_contrast(z, torch.arange(8), 0.1), nt_xent(z, 0.1))


def test_contrasts_within_the_batch_are_computed_in_float32_under_autocast_and_from_half_precision() -> None:
    z, labels = draw(64, 32), torch.arange(32) % 5

    def losses(z: Tensor) -> Tensor:
        first, second = z.chunk(2)
        contrasts = [decoupled_contrast(z, 0.1), supervised_contrast(z, labels, 0.1)]
        return torch.stack([*contrasts, info_nce_in_batch(first, second, 0.1)])

    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = losses(z)
    assert under_autocast.dtype == torch.float32
    assert torch.equal(under_autocast, losses(z))
    assert torch.equal(losses(z.bfloat16()), losses(z.bfloat16().float()))
