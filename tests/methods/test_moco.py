"""MoCo: keys from the momentum encoder, shuffled batch normalisation, the queue after the logits."""

from __future__ import annotations

import copy
from itertools import chain

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from selfsup.methods import Progress, method_class
from selfsup.methods.moco import _encode_shuffled
from selfsup.methods.parts.contrast import info_nce
from selfsup.testing.methods import BATCH, batch_of, batch_of_digits, build

MoCo = method_class("moco")


class Recorder(nn.Module):
    """Stands where the encoder does: gives each image's first pixel, and notes the groups it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[list[float]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.groups.append(images[:, 0].tolist())
        return images * 10


def numbered(n: int) -> Tensor:
    return torch.arange(n, dtype=torch.float32)[:, None]


@pytest.mark.parametrize("n", [1, 2, 16, 31, 64, 100])
def test_keys_come_back_in_the_order_of_the_images(n: int) -> None:
    assert torch.equal(_encode_shuffled(Recorder(), numbered(n), 4), numbered(n) * 10)


def test_every_image_is_normalised_in_one_random_group() -> None:
    recorder = Recorder()
    _encode_shuffled(recorder, numbered(64), 4)
    assert [len(group) for group in recorder.groups] == [16, 16, 16, 16]
    assert sorted(chain(*recorder.groups)) == list(range(64))
    assert sorted(recorder.groups[0]) != list(range(16))
    first = recorder.groups
    recorder.groups = []
    _encode_shuffled(recorder, numbered(64), 4)
    assert recorder.groups != first  # another step, another shuffle


@pytest.mark.parametrize("most", [4, 17])
@pytest.mark.parametrize("n", [2, 15, 16, 17, 31, 32, 33, 47, 63, 65, 100, 128, 273])
def test_no_group_has_fewer_than_sixteen_images_unless_the_batch_has(n: int, most: int) -> None:
    recorder = Recorder()
    _encode_shuffled(recorder, numbered(n), most)
    assert min(map(len, recorder.groups)) >= min(n, 16)
    assert len(recorder.groups) <= most


def test_a_key_does_not_share_its_batch_statistics_with_its_query() -> None:
    """Were both normalised over the whole batch, group by group would be the same as all at once."""
    norm = nn.BatchNorm1d(1, affine=False)
    images = numbered(64)
    shuffled = _encode_shuffled(norm, images, 4)
    whole = nn.BatchNorm1d(1, affine=False)(images)
    assert (shuffled - whole).abs().max() > 0.01


def test_loss_is_info_nce_of_queries_against_momentum_keys_and_the_old_queue() -> None:
    method = build(MoCo, queue_size=50, temperature=0.3)
    with torch.no_grad():  # so that the two encoders differ
        for parameter in method.backbone.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    by_hand = copy.deepcopy(method)
    (first, second), labels = batch_of_digits(2)
    torch.manual_seed(7)
    step = method.loss(batch_of([first, second], labels))
    torch.manual_seed(7)
    order = torch.randperm(BATCH)
    keys = torch.empty(BATCH, 128)
    for group in order.chunk(2):  # 32 images make two groups of 16
        keys[group] = by_hand.momentum_encoder.network(second[group])
    embedding = by_hand.backbone(first)
    expected = info_nce(by_hand.projector(embedding), keys, by_hand.queue.keys, 0.3)
    torch.testing.assert_close(step.loss, expected)
    assert torch.equal(step.embedding, embedding)
    torch.testing.assert_close(method.queue.keys[:BATCH], F.normalize(keys, dim=1))
    assert torch.equal(method.queue.keys[BATCH:], by_hand.queue.keys[BATCH:])


def test_keys_enter_the_queue_only_after_the_logits() -> None:
    """With a queue no larger than the batch, keys that entered first would be all its negatives.

    Negatives orthogonal to everything give the loss of equation 1 with cosines 1 and 0; were the
    positive among them too, each query would face another cosine of 1.
    """
    method = build(MoCo, queue_size=1, temperature=1.0, output_dim=3)
    away = torch.tensor([[0.0, 0.0, 1.0]])
    method.queue.keys.copy_(away)

    class Plane(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.tensor([[1.0, 0.0, 0.0]]).expand(len(images), 3).clone().requires_grad_()

    method.projector = method.momentum_encoder.network = Plane()
    views, labels = batch_of_digits(2)
    loss = method.loss(batch_of(views, labels)).loss.item()
    assert loss == pytest.approx(torch.log1p(torch.exp(torch.tensor(-1.0))).item(), rel=1e-5)
    assert method.queue.keys.tolist() == [[1.0, 0.0, 0.0]]


def test_the_queue_holds_the_last_batches_in_order() -> None:
    method = build(MoCo, queue_size=2 * BATCH + 8)
    views, labels = batch_of_digits(2)
    newest: list[Tensor] = []
    for _ in range(4):
        position = int(method.queue.position)
        method.loss(batch_of(views, labels))
        slots = (position + torch.arange(BATCH)) % len(method.queue.keys)
        newest.append(method.queue.keys[slots].clone())
        method.after_step(Progress(50, 100, 10))
    rolled = method.queue.keys.roll(-int(method.queue.position), dims=0)
    assert torch.equal(rolled, torch.cat(newest)[-len(rolled) :])


def test_gradient_reaches_the_query_encoder_alone() -> None:
    method = build(MoCo)
    method.loss(batch_of(*batch_of_digits(2))).loss.backward()
    assert all(p.grad is not None for p in [*method.backbone.parameters(), *method.projector.parameters()])
    assert all(p.grad is None for p in method.momentum_encoder.parameters())
    assert method.queue.keys.grad is None


def test_the_head_is_the_mlp_of_version_2_without_normalisation() -> None:
    head = build(MoCo, hidden_dim=40, output_dim=7).projector
    assert [type(layer) for layer in head] == [nn.Linear, nn.ReLU, nn.Linear]
    assert (head[0].out_features, head[2].out_features) == (40, 7)
