"""SwAV, step by step: codes of the large views, predicted from all others; prototypes, queue and what is frozen."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from lightly.loss import SwaVLoss
from torch.nn import functional as F

from selfsup.methods import Method, Progress, method_class
from selfsup.methods.parts.sinkhorn import sinkhorn
from selfsup.testing.digit_batches import BATCH
from selfsup.testing.methods import batch_for, build
from selfsup.training.optimizers import build_optimizer

SwAV = method_class("swav")
SMALL = {"hidden_dim": 16, "output_dim": 8, "prototypes": 6, "local_crops": 3}
EARLY, LATE = Progress(1, 100, 10), Progress(20, 100, 10)


def swav(**settings: object) -> Method:
    return build(SwAV, **{**SMALL, **settings})


def features_of(method: Method) -> torch.Tensor:
    """Unit features of all views, in one pass of the projector, shape (5, n, d)."""
    views = batch_for(method).views
    sides = [method.backbone(torch.cat(views[name])) for name in ("global", "local")]
    return F.normalize(method.projector(torch.cat(sides)), dim=1).unflatten(0, (5, -1))


def codes_by_hand(scores: np.ndarray) -> np.ndarray:
    """Three rounds of equal shares for prototypes, then for images (Caron et al. 2020, eq. 5)."""
    q = np.exp(scores / 0.05)
    for _ in range(3):
        q /= q.sum(axis=0, keepdims=True) * q.shape[1]
        q /= q.sum(axis=1, keepdims=True) * q.shape[0]
    return q * len(q)


def loss_by_hand(method: Method, queues: list[np.ndarray] | None = None) -> float:
    features = features_of(copy.deepcopy(method)).detach().double().numpy()
    prototypes = method.prototypes.detach().double().numpy()
    losses = []
    for s in range(2):
        among = features[s] if queues is None else np.concatenate([features[s], queues[s]])
        codes = codes_by_hand(among @ prototypes.T)[:BATCH]
        for t in range(5):
            if t != s:
                p = np.exp(features[t] @ prototypes.T / 0.1)
                losses.append(-(codes * np.log(p / p.sum(axis=1, keepdims=True))).sum(axis=1).mean())
    assert len(losses) == 2 * 4
    return float(np.mean(losses))


def test_the_loss_is_the_papers() -> None:
    method = swav()
    expected = loss_by_hand(method)
    assert method.loss(batch_for(method)._replace(progress=EARLY)).loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("queue_size", [0, 10])
def test_loss_and_gradients_are_lightlys(queue_size: int) -> None:
    method = swav(queue_size=queue_size, queue_epochs=1)
    other = copy.deepcopy(method)
    scores = [view @ other.prototypes.T for view in features_of(other)]
    queues = [queue.keys @ other.prototypes.T for queue in other.queues] or None
    expected = SwaVLoss()(scores[:2], scores[2:], queues)
    expected.backward()
    loss = method.loss(batch_for(method)._replace(progress=LATE)).loss
    loss.backward()
    torch.testing.assert_close(loss, expected.squeeze(), atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(method.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-3)


def test_codes_take_no_gradient() -> None:
    """That of the loss in the prototypes is the gradient of a cross entropy with targets held fixed."""
    method = swav()
    other = copy.deepcopy(method)
    method.loss(batch_for(method)._replace(progress=EARLY)).loss.backward()
    features = features_of(other)
    codes = [torch.tensor(codes_by_hand((f @ other.prototypes.T).detach().double().numpy())) for f in features[:2]]
    logs = (features @ other.prototypes.T / 0.1).log_softmax(dim=2)
    pairs = [-(codes[s].float() * logs[t]).sum(dim=1).mean() for s in range(2) for t in range(5) if s != t]
    torch.stack(pairs).mean().backward()
    torch.testing.assert_close(method.prototypes.grad, other.prototypes.grad, atol=1e-6, rtol=1e-3)


def test_the_queue_waits_and_then_stands_beside_the_batch() -> None:
    method = swav(queue_epochs=2)
    batch = batch_for(method)
    before = loss_by_hand(method)
    assert method.loss(batch._replace(progress=EARLY)).loss.item() == pytest.approx(before, rel=1e-5)
    queues = [queue.keys.double().numpy() for queue in method.queues]
    after = loss_by_hand(method, queues)
    assert abs(after - before) > 1e-4
    assert method.loss(batch._replace(progress=LATE)).loss.item() == pytest.approx(after, rel=1e-4)


def test_the_queue_stands_beside_the_batch_once_no_random_vector_is_left_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = []

    def divided(scores: torch.Tensor, *rest: float) -> torch.Tensor:
        rows.append(len(scores))
        return sinkhorn(scores, *rest)

    monkeypatch.setattr("selfsup.methods.swav.sinkhorn", divided)
    method = swav(queue_epochs=1, queue_size=3 * BATCH)
    random, left = method.queues[0].keys.clone(), []
    for step in range(6):  # epochs of a step
        left.append((method.queues[0].keys == random).all(dim=1).sum().item())
        method.loss(batch_for(method)._replace(progress=Progress(step, 6, 1)))
    assert left == [3 * BATCH, 2 * BATCH, BATCH, 0, 0, 0]
    assert set(rows[: 2 * 3]) == {BATCH}
    assert set(rows[-2:]) == {4 * BATCH}


def test_each_large_view_has_its_queue_of_the_newest_features() -> None:
    method = swav(queue_size=BATCH + 5)
    features = features_of(copy.deepcopy(method)).detach()
    kept = [queue.keys.clone() for queue in method.queues]
    method.loss(batch_for(method))
    for queue, before, mine in zip(method.queues, kept, features, strict=False):
        torch.testing.assert_close(queue.keys[:BATCH], mine)
        assert torch.equal(queue.keys[BATCH:], before[BATCH:])


def test_prototypes_are_of_unit_length_after_every_step_and_frozen_in_the_first_epoch() -> None:
    method = swav()
    optimizer = build_optimizer(method, 0.1)
    moved = []
    for step in (0, 9, 10):  # of an epoch of 10 steps
        before = method.prototypes.detach().clone()
        progress = Progress(step, 100, 10)
        method.loss(batch_for(method)._replace(progress=progress)).loss.backward()
        method.after_backward(progress)
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(progress._replace(step=step + 1))
        moved.append(not torch.allclose(before, method.prototypes))
        torch.testing.assert_close(method.prototypes.norm(dim=1), torch.ones(6))
    assert moved == [False, False, True]


@pytest.mark.parametrize(("images", "count"), [(0, 3000), (50, 32), (500, 62), (2000, 250), (50_000, 3000)])
def test_prototypes_and_queue_follow_the_number_of_images(images: int, count: int) -> None:
    backbone = swav().backbone
    method = SwAV(backbone, SwAV.Settings(hidden_dim=8, output_dim=4), num_images=images)
    assert len(method.prototypes) == count
    assert [len(queue.keys) for queue in method.queues] == [count, count]


def test_two_large_crops_and_six_small_ones() -> None:
    large, small = build(SwAV, hidden_dim=8, output_dim=4, prototypes=4).view_groups()
    assert (large.count, large.scale, small.count, small.scale) == (2, (0.14, 1.0), 6, (0.05, 0.14))
    assert small.pixels(224) == 96
    assert [group.name for group in swav(local_crops=0).view_groups()] == ["global"]
