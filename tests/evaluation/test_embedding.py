"""Embeddings are the backbone's answer, in evaluation mode, to the plain view of each image."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from selfsup.backbones import Backbone
from selfsup.evaluation.embedding import _ahead, batches, embed, embed_views
from selfsup.testing.backbones import tiny_backbone
from selfsup.testing.digit_batches import SIDE, batch_of_digits
from selfsup.views import Policy, View, load_policy
from selfsup.views.base import FIRST_VIEW


class Digits:
    """The first digits, 16 x 16 pixels, as the store gives them."""

    def __init__(self, n: int = 40) -> None:
        (view,), _ = batch_of_digits(1, size=n)
        self.pixels = (view * 255).byte()

    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        return self.pixels[indices], torch.full((len(indices), 2), SIDE)


@pytest.fixture
def backbone() -> Backbone:
    """With running statistics that differ from those of any batch."""
    network = tiny_backbone()
    network.train()
    with torch.no_grad():
        network(torch.rand(8, 3, SIDE, SIDE))
    return network


def embed_digits(backbone: Backbone, indices: list[int]) -> np.ndarray:
    return embed(backbone, Digits(), np.array(indices), image_size=SIDE, device="cpu")


def test_embeddings_are_the_networks_answer_to_the_plain_images(backbone: Backbone) -> None:
    images = Digits()
    backbone.eval()
    with torch.no_grad():
        expected = backbone(images.pixels.float() / 255).numpy()
    found = embed_digits(backbone, list(range(40)))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_batches_are_read_ahead_in_order_and_an_error_comes_through() -> None:
    begun = [threading.Event() for _ in range(3)]

    def read() -> Iterator[int]:
        for number, event in enumerate(begun):
            event.set()
            yield number
        raise OSError("a torn image")

    ahead = _ahead(read())
    assert [next(ahead) for _ in range(2)] == [0, 1]
    assert begun[2].wait(10)  # while the second is in use
    assert next(ahead) == 2
    with pytest.raises(OSError, match="torn"):
        next(ahead)


def test_an_embedding_does_not_depend_on_its_batch_mates_or_its_place(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = embed_digits(backbone, list(range(40)))
    np.testing.assert_allclose(embed_digits(backbone, [31, 2, 17]), whole[[31, 2, 17]], atol=1e-5)
    monkeypatch.setattr("selfsup.evaluation.embedding.BATCH", 7)
    np.testing.assert_allclose(embed_digits(backbone, list(range(40))), whole, atol=1e-5)


def test_two_calls_give_the_same_numbers_to_the_last_bit(backbone: Backbone) -> None:
    assert (embed_digits(backbone, [3, 1, 4]) == embed_digits(backbone, [3, 1, 4])).all()


@pytest.mark.parametrize("training", [True, False])
def test_embedding_leaves_the_backbone_as_it_was(backbone: Backbone, training: bool) -> None:
    backbone.train(training)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    embed_digits(backbone, list(range(40)))
    assert backbone.training is training
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def some_views(backbone: Backbone, policy: str, count: int) -> np.ndarray:
    return embed_views(backbone, Digits(), np.arange(40), load_policy(policy), count, image_size=SIDE, device="cpu")


def test_views_are_random_views_and_the_same_at_every_call(backbone: Backbone) -> None:
    torch.manual_seed(1)
    first, second = some_views(backbone, "weak", 2)
    torch.manual_seed(2)
    again = some_views(backbone, "weak", 3)
    assert again.shape == (3, 40, backbone.num_features)
    assert (first == again[0]).all()
    assert (second == again[1]).all()
    assert not np.allclose(first, second)
    assert not np.allclose(again[2], second)
    assert not np.allclose(first, embed_digits(backbone, list(range(40))))


def test_views_of_every_size_are_drawn_alike_and_large_ones_computed_in_smaller_batches() -> None:
    weak = load_policy("weak")
    drawn: dict[int, list[Tensor]] = {}
    computed: dict[int, list[int]] = {}

    class Noting(Policy):
        def draw(self, sizes: Tensor, out_size: int, generator: torch.Generator, view: View = FIRST_VIEW) -> Any:
            return weak.draw(sizes, out_size, generator, view)

        def apply(self, images: Tensor, sizes: Tensor, params: Any, out_size: int) -> Tensor:
            drawn.setdefault(out_size, []).append(params.degrees)
            computed.setdefault(out_size, []).append(len(images))
            return images.float()

    for side in (SIDE, 448):
        views = list(batches(Digits(200), np.arange(200), Noting(), image_size=side, device="cpu", stream=1))
        assert torch.equal(torch.cat(views), Digits(200).pixels.float())
    assert torch.equal(torch.cat(drawn[SIDE]), torch.cat(drawn[448]))
    assert computed == {SIDE: [128, 72], 448: [32, 32, 32, 32, 32, 32, 8]}


def test_views_of_the_plain_policy_are_the_plain_embedding(backbone: Backbone) -> None:
    first, second = some_views(backbone, "none", 2)
    np.testing.assert_allclose(first, embed_digits(backbone, list(range(40))), atol=1e-6)
    assert (first == second).all()
