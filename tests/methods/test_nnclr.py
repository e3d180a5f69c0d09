"""NNCLR: neighbours from a support set, found before the batch enters it, and the loss of equation 3."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from lightly.models.modules import NNMemoryBankModule

from selfsup.methods import Method, method_class
from selfsup.methods.nnclr import nearest, neighbour_nce
from selfsup.testing.digit_batches import BATCH
from selfsup.testing.methods import batch_for, build

NNCLR = method_class("nnclr")
SMALL = {"hidden_dim": 16, "output_dim": 6, "predictor_dim": 12, "support_size": 40}


def nnclr(**settings: object) -> Method:
    return build(NNCLR, **{**SMALL, **settings})


def outputs(method: Method) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Unit projections and predictions of both views; both views pass the network together."""
    with torch.no_grad():
        z = method.projector(method.backbone(torch.cat(batch_for(method).views["global"])))
        p = method.predictor(z)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (z.double().numpy(), p.double().numpy())]
    return np.split(unit[0], 2), np.split(unit[1], 2)


def by_loops(neighbours: np.ndarray, predictions: np.ndarray, temperature: float) -> float:
    """Dwibedi et al. 2021, equation 3, image by image."""
    total = 0.0
    for i, neighbour in enumerate(neighbours):
        scores = [math.exp(neighbour @ p / temperature) for p in predictions]
        total -= math.log(scores[i] / sum(scores))
    return total / len(neighbours)


def test_the_loss_is_equation_3_in_both_directions() -> None:
    method = nnclr(temperature=0.3)
    z, p = outputs(copy.deepcopy(method))
    support = method.support.keys.double().numpy()
    found = [support[[int(np.argmax([s @ row for s in support])) for row in view]] for view in z]
    expected = (by_loops(found[0], p[1], 0.3) + by_loops(found[1], p[0], 0.3)) / 2
    assert method.loss(batch_for(method)).loss.item() == pytest.approx(expected, rel=1e-5)


def test_neighbours_are_those_of_lightlys_memory_bank() -> None:
    bank = NNMemoryBankModule(size=(20, 6))
    projections = torch.randn(9, 6)
    expected = bank(projections, update=False)
    torch.testing.assert_close(nearest(projections, bank.bank), expected, atol=1e-5, rtol=1e-5)


def test_the_gradient_is_that_of_softmax_regression() -> None:
    neighbours = torch.nn.functional.normalize(torch.randn(5, 4), dim=1).double()
    predictions = torch.nn.functional.normalize(torch.randn(5, 4), dim=1).double().requires_grad_()
    (gradient,) = torch.autograd.grad(neighbour_nce(neighbours.float(), predictions, 0.5), predictions)
    p = predictions.detach()
    residual = (neighbours @ p.T / 0.5).softmax(dim=1) - torch.eye(5, dtype=torch.float64)
    along = residual.T @ neighbours / 0.5 / 5
    expected = along - (along * p).sum(dim=1, keepdim=True) * p  # what changes a unit vector's length is lost
    torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=1e-4)


def test_the_batch_enters_the_support_after_the_search_and_by_its_first_view() -> None:
    """Else each image of the first view would be its own nearest neighbour."""
    method = nnclr()
    z, _ = outputs(copy.deepcopy(method))
    before = method.support.keys.clone()
    method.loss(batch_for(method))
    torch.testing.assert_close(method.support.keys[:BATCH], torch.tensor(z[0]).float(), atol=1e-5, rtol=1e-4)
    assert torch.equal(method.support.keys[BATCH:], before[BATCH:])


def test_gradient_reaches_the_network_through_predictions_alone() -> None:
    """With predictions that hold no gradient, none is left: neighbours give none."""
    method = nnclr()
    method.predictor.register_forward_hook(lambda module, given, made: made.detach().requires_grad_())
    method.loss(batch_for(method)).loss.backward()
    assert all(p.grad is None for p in [*method.backbone.parameters(), *method.projector.parameters()])
    assert method.support.keys.grad is None


@pytest.mark.parametrize(("images", "size"), [(0, 4096), (1, 1), (500, 250), (50_000, 25_000), (10**6, 65_536)])
def test_the_support_set_follows_the_number_of_images(images: int, size: int) -> None:
    method = NNCLR(nnclr().backbone, NNCLR.Settings(hidden_dim=8, output_dim=2, predictor_dim=4), num_images=images)
    assert len(method.support.keys) == size
