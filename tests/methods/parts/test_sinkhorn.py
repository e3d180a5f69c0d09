"""Sinkhorn's iterations against the matrix scaling of the paper, and what makes them codes of equal shares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lightly.loss.swav_loss import sinkhorn as lightlys

from selfsup.methods.parts.sinkhorn import sinkhorn


def scores(n: int = 12, k: int = 5) -> torch.Tensor:
    return torch.rand(n, k, generator=torch.Generator().manual_seed(0)) * 2 - 1


def by_scaling(values: np.ndarray, epsilon: float, iterations: int) -> np.ndarray:
    """diag(u) exp(C / epsilon) diag(v), the scales by turns (Cuturi 2013, algorithm 1), rows brought to sum 1."""
    kernel = np.exp(values / epsilon)
    n, k = values.shape
    u = np.ones(n)
    for _ in range(iterations):
        v = (1 / k) / (kernel.T @ u)
        u = (1 / n) / (kernel @ v)
    return n * u[:, None] * kernel * v[None, :]


@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_codes_are_the_kernel_scaled_by_turns(iterations: int) -> None:
    expected = by_scaling(scores().double().numpy(), 0.1, iterations)
    np.testing.assert_allclose(sinkhorn(scores(), 0.1, iterations).numpy(), expected, rtol=1e-4, atol=1e-7)


def test_codes_are_lightlys() -> None:
    torch.testing.assert_close(
        sinkhorn(scores(), 0.05, 3), lightlys(scores(), iterations=3, epsilon=0.05), atol=1e-5, rtol=1e-5
    )


def test_every_image_is_whole_and_every_prototype_gets_the_same_share() -> None:
    codes = sinkhorn(scores(), 0.2, 100)
    torch.testing.assert_close(codes.sum(dim=1), torch.ones(12))
    torch.testing.assert_close(codes.sum(dim=0), torch.full((5,), 12 / 5), rtol=1e-4, atol=1e-4)


def test_a_small_epsilon_neither_overflows_nor_leaves_an_image_out() -> None:
    codes = sinkhorn(scores(), 1e-3, 3)
    torch.testing.assert_close(codes.sum(dim=1), torch.ones(12))


def test_no_gradient_flows_and_half_precision_does_no_harm() -> None:
    given = scores().requires_grad_()
    assert not sinkhorn(given, 0.05, 3).requires_grad
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(sinkhorn(scores(), 0.05, 3), sinkhorn(given, 0.05, 3))
