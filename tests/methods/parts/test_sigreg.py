"""The Epps-Pulley statistic against a numerical integral and its closed form, and SIGReg against lightly's."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
import torch
from lightly.loss.lejepa_loss import SIGReg
from scipy.integrate import quad
from torch.nn import functional as F

from selfsup.methods.parts.sigreg import epps_pulley, sigreg


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_integral(x: np.ndarray) -> float:
    """Epps & Pulley 1983: the weighted distance of two characteristic functions, over the whole line."""

    def integrand(t: float) -> float:
        found = sum(cmath.exp(1j * t * value) for value in x) / len(x)
        return abs(found - math.exp(-t * t / 2)) ** 2 * math.exp(-t * t / 2)

    return len(x) * quad(integrand, -12, 12, limit=500)[0]


def by_closed_form(x: np.ndarray) -> float:
    """The same integral, solved: sums of Gaussians of the differences between samples, and of the samples."""
    pairs = np.exp(-((x[:, None] - x[None, :]) ** 2) / 2).mean() * math.sqrt(2 * math.pi)
    cross = np.exp(-(x**2) / 4).mean() * 2 * math.sqrt(math.pi)
    return len(x) * (pairs - cross + math.sqrt(2 * math.pi / 3))


SAMPLES = {
    "normal": drawn(20),
    "shifted": drawn(20) + 1.5,
    "wide": 3 * drawn(20),
    "collapsed": torch.zeros(20),
    "skewed": drawn(20).exp(),
    "one": torch.tensor([0.7]),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_statistic_is_the_integral(name: str) -> None:
    x = SAMPLES[name].double().numpy()
    assert by_closed_form(x) == pytest.approx(by_integral(x), rel=1e-6)
    assert epps_pulley(SAMPLES[name][:, None]).item() == pytest.approx(by_integral(x), rel=1e-3, abs=1e-4)


def test_its_gradient_is_that_of_the_closed_form() -> None:
    x = (2 * drawn(8)).requires_grad_()
    (gradient,) = torch.autograd.grad(epps_pulley(x[:, None]).sum(), x)
    for i in range(8):
        step = np.zeros(8)
        step[i] = 1e-5
        y = x.detach().double().numpy()
        slope = (by_closed_form(y + step) - by_closed_form(y - step)) / 2e-5
        assert gradient[i].item() == pytest.approx(slope, rel=1e-2, abs=1e-4)


def test_what_is_normal_has_the_least() -> None:
    values = {name: epps_pulley(samples[:, None]).item() for name, samples in SAMPLES.items() if len(samples) > 1}
    assert min(values, key=values.__getitem__) == "normal"


def test_sigreg_is_lightlys() -> None:
    """lightly's draws its directions from the same global state."""
    embeddings = drawn(3, 10, 6).requires_grad_()
    torch.manual_seed(5)
    expected = SIGReg(num_vectors=12)(embeddings)
    torch.manual_seed(5)
    ours = sigreg(embeddings, F.normalize(torch.randn(6, 12), dim=0), reach=3.0)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    (gradient,) = torch.autograd.grad(ours, embeddings)
    (reference,) = torch.autograd.grad(expected, embeddings)
    torch.testing.assert_close(gradient, reference, atol=1e-6, rtol=1e-4)


def test_sigreg_is_the_mean_over_views_and_directions() -> None:
    embeddings, directions = drawn(2, 10, 3), F.normalize(drawn(3, 4, seed=1), dim=0)
    each = [by_integral((view @ way).double().numpy()) for view in embeddings for way in directions.T]
    assert sigreg(embeddings, directions).item() == pytest.approx(np.mean(each), rel=1e-3)
