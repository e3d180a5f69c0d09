"""LeJEPA: agreement with the centre of the large views, SIGReg on directions that follow from seed and step."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from lightly.loss import LeJEPALoss
from tests.methods.parts.test_sigreg import by_closed_form

from selfsup.methods import Method, method_class
from selfsup.methods.lejepa import distance_to_centre
from selfsup.testing.methods import batch_for, build
from selfsup.training.device import Hardware
from selfsup.training.loop import Training
from selfsup.training.plan import TrainingPlan
from selfsup.views import load_policy

LeJEPA = method_class("lejepa")
SMALL = {"hidden_dim": 16, "output_dim": 4, "directions": 10, "local_crops": 3}


def lejepa(**settings: object) -> Method:
    return build(LeJEPA, **{**SMALL, **settings})


def projections(method: Method) -> torch.Tensor:
    """Shape (5, n, d): two large views, three small ones."""
    views = batch_for(method).views
    found = [method.projector(method.backbone(torch.cat(views[name]))) for name in ("global", "local")]
    return torch.cat(found).unflatten(0, (5, -1))


def test_the_loss_is_the_papers() -> None:
    method = lejepa(weight=0.2)
    z = projections(copy.deepcopy(method)).detach().double().numpy()
    centre = (z[0] + z[1]) / 2
    agreement = np.mean([((view - centre) ** 2).mean() for view in z])
    torch.manual_seed(3)
    directions = torch.randn(4, 10).double().numpy()
    directions /= np.linalg.norm(directions, axis=0)
    gaussian = np.mean([by_closed_form(view @ way) for view in z for way in directions.T])
    torch.manual_seed(3)
    step = method.loss(batch_for(method))
    assert step.loss.item() == pytest.approx(0.8 * agreement + 0.2 * gaussian, rel=1e-3)
    assert step.scalars["agreement"].item() == pytest.approx(agreement, rel=1e-5)


def test_agreement_and_its_gradient_are_lightlys() -> None:
    views = torch.randn(5, 7, 4, requires_grad=True)
    criterion = LeJEPALoss(lambda_param=1e-9)
    criterion.lambda_param = 0.0
    expected = criterion(local_proj=views[2:], global_proj=views[:2])
    ours = distance_to_centre(views, 2)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    gradients = [torch.autograd.grad(loss, views)[0] for loss in (ours, expected)]
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)


def test_gradient_flows_to_every_view() -> None:
    views = torch.randn(3, 6, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(distance_to_centre(views, 2), views)
    assert (gradient.abs().sum(dim=(1, 2)) > 0).all()


def test_directions_follow_from_seed_and_step_and_not_from_what_was_drawn_before() -> None:
    class Seen:
        def batch(self, indices: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
            pixels = np.random.default_rng(0).integers(0, 256, (20, 3, 16, 16), np.uint8)[indices]
            return torch.from_numpy(pixels), torch.full((len(indices), 2), 16)

    def losses(seed: int, drawn_before: int) -> list[float]:
        plan = TrainingPlan(epochs=2, batch_size=10, image_size=16, lr=0.001, seed=seed)
        training = Training(
            lejepa(), Seen(), np.arange(20), None, load_policy("weak"), plan, Hardware("cpu", "fp32").fabric()
        )
        torch.manual_seed(drawn_before)
        return [line.scalars["sigreg"] for line in training.run().state.log]

    assert losses(0, drawn_before=1) == losses(0, drawn_before=2) != losses(1, drawn_before=1)


def test_two_large_views_and_six_small_ones() -> None:
    large, small = build(LeJEPA, hidden_dim=8).view_groups()
    assert (large.count, large.scale, small.count, small.scale) == (2, (0.3, 1.0), 6, (0.05, 0.3))
    assert small.pixels(224, 14) == 98
    assert [group.name for group in lejepa(local_crops=0).view_groups()] == ["global"]
