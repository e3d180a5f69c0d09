"""The losses on correlations are the papers' formulas, with their gradients, in float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lightly.loss import BarlowTwinsLoss, VICRegLoss
from tests.methods.parts.vectors import differences, draw
from torch import Tensor
from torch.nn import functional as F

from selfsup.methods.parts.correlation import barlow_twins, missing_variance, squared_covariance


def barlow_twins_by_loops(first: np.ndarray, second: np.ndarray, redundancy: float) -> float:
    """Zbontar et al. 2021, equations 1 and 2, of dimensions centred over the batch; 1e-5 as in the authors' norm."""
    a, b = first - first.mean(axis=0), second - second.mean(axis=0)
    total = 0.0
    for i in range(a.shape[1]):
        for j in range(b.shape[1]):
            lengths = np.sqrt((a[:, i] ** 2).mean() + 1e-5) * np.sqrt((b[:, j] ** 2).mean() + 1e-5)
            correlation = (a[:, i] * b[:, j]).mean() / lengths
            total += (1 - correlation) ** 2 if i == j else redundancy * correlation**2
    return float(total)


@pytest.mark.parametrize("n", [2, 9])
@pytest.mark.parametrize("redundancy", [0.0, 5e-3, 1.0])
def test_barlow_twins_and_its_gradient_are_equations_1_and_2(n: int, redundancy: float) -> None:
    first, second = draw(n, 4, scale=3.0).requires_grad_(), draw(n, 4, seed=1)
    other = second.double().numpy()
    loss = barlow_twins(first, second, redundancy)
    expected = barlow_twins_by_loops(first.detach().double().numpy(), other, redundancy)
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    loss.backward()
    gradient = differences(lambda x: barlow_twins_by_loops(x, other, redundancy), first)
    torch.testing.assert_close(first.grad, gradient, rtol=1e-3, atol=1e-4)


def test_barlow_twins_and_its_gradient_agree_with_lightly() -> None:
    (first, second), theirs = ((draw(24, 8), draw(24, 8, seed=1)) for _ in range(2))
    for z in (first, second, *theirs):
        z.requires_grad_()
    loss, reference = barlow_twins(first, second, 5e-3), BarlowTwinsLoss(lambda_param=5e-3)(*theirs)
    torch.testing.assert_close(loss, reference, rtol=1e-5, atol=1e-5)
    gradients = torch.autograd.grad(loss, (first, second))
    for gradient, expected in zip(gradients, torch.autograd.grad(reference, theirs), strict=True):
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-5)
        assert expected.abs().max() > 1e-3


def test_views_that_agree_in_dimensions_that_do_not_repeat_leave_nothing_to_barlow_twins() -> None:
    whitened, _ = torch.linalg.qr(draw(32, 6) - draw(32, 6).mean(dim=0))
    centred = whitened - whitened.mean(dim=0)
    whitened = torch.linalg.qr(centred)[0] * 50
    assert barlow_twins(whitened, 7 * whitened + 2, 1.0).item() == pytest.approx(0, abs=1e-4)
    repeated = whitened[:, [0, 0, 1, 1]]
    assert barlow_twins(repeated, repeated, 1.0).item() == pytest.approx(4, rel=1e-3)  # two pairs, both orders


def vicreg_by_loops(first: np.ndarray, second: np.ndarray, weights: tuple[float, float, float]) -> float:
    """Bardes et al. 2022, algorithm 1: as the authors' code, and lightly's, and not as equation 6 has it.

    There, squared differences are summed over dimensions, and the variance terms of the views are not halved.
    """
    n, d = first.shape
    invariance = sum((first[i, j] - second[i, j]) ** 2 for i in range(n) for j in range(d)) / (n * d)
    variance = covariance = 0.0
    for z in (first, second):
        centred = z - z.mean(axis=0)
        for i in range(d):
            deviation = np.sqrt((centred[:, i] ** 2).sum() / (n - 1) + 1e-4)
            variance += max(0.0, 1 - deviation) / d / 2
            for j in range(d):
                if i != j:
                    covariance += ((centred[:, i] * centred[:, j]).sum() / (n - 1)) ** 2 / d
    return float(weights[0] * invariance + weights[1] * variance + weights[2] * covariance)


def vicreg(first: Tensor, second: Tensor, weights: tuple[float, float, float]) -> Tensor:
    """Of the parts, as the method puts them together."""
    variance = (missing_variance(first) + missing_variance(second)) / 2
    covariance = squared_covariance(first) + squared_covariance(second)
    return weights[0] * F.mse_loss(first, second) + weights[1] * variance + weights[2] * covariance


@pytest.mark.parametrize("weights", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (25.0, 25.0, 1.0)])
@pytest.mark.parametrize("n", [2, 9])
def test_vicreg_and_its_gradient_are_algorithm_1(n: int, weights: tuple[float, float, float]) -> None:
    first, second = draw(n, 4).requires_grad_(), draw(n, 4, seed=1)
    other = second.double().numpy()
    loss = vicreg(first, second, weights)
    expected = vicreg_by_loops(first.detach().double().numpy(), other, weights)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    gradient = differences(lambda x: vicreg_by_loops(x, other, weights), first)
    torch.testing.assert_close(first.grad, gradient, rtol=1e-3, atol=1e-4)


def test_vicreg_and_its_gradient_agree_with_lightly() -> None:
    (first, second), theirs = ((draw(24, 8, scale=0.8), draw(24, 8, seed=1)) for _ in range(2))
    for z in (first, second, *theirs):
        z.requires_grad_()
    loss, reference = vicreg(first, second, (25.0, 25.0, 1.0)), VICRegLoss()(*theirs)
    torch.testing.assert_close(loss, reference, rtol=1e-5, atol=1e-5)
    gradients = torch.autograd.grad(loss, (first, second))
    for gradient, expected in zip(gradients, torch.autograd.grad(reference, theirs), strict=True):
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-5)
        assert expected.abs().max() > 1e-3


def test_a_collapsed_dimension_lacks_all_but_a_hundredth_of_its_variance() -> None:
    assert missing_variance(torch.ones(8, 3)).item() == pytest.approx(0.99)
    assert missing_variance(5 * draw(64, 3)).item() == 0


def test_they_are_computed_in_float32_under_autocast_and_from_half_precision() -> None:
    z = draw(64, 32)

    def losses(z: Tensor) -> Tensor:
        return torch.stack([barlow_twins(z, z.flip(1), 0.1), missing_variance(z / 2), squared_covariance(z)])

    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = losses(z)
    assert under_autocast.dtype == torch.float32
    assert torch.equal(under_autocast, losses(z))
    half = z.bfloat16()
    torch.testing.assert_close(losses(half), losses(half.float()), rtol=1e-2, atol=1e-2)
    assert losses(half).dtype == torch.float32
