"""The batches of a training are a function of the step alone, however the images come to the device."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from torch import Tensor

from selfsup.methods import method_class
from selfsup.testing.methods import build
from selfsup.training.batches import Images, Loading, keep_on, views_of
from selfsup.training.device import Hardware
from selfsup.training.loop import Training
from selfsup.training.plan import TrainingPlan
from selfsup.views import View, load_policy

CPU = torch.device("cpu")
LOADINGS = [Loading(resident=True), Loading(ahead=True), Loading(resident=True, ahead=True), Loading(True, True, 2)]


class Ragged:
    """Noise images of 9 to 24 pixels a side, padded as the store pads them; notes who asked for which."""

    def __init__(self, count: int = 700) -> None:
        rng = np.random.default_rng(0)
        self.images = [torch.from_numpy(rng.integers(0, 256, (3, *side), np.uint8)) for side in sizes_of(rng, count)]
        self.asked: list[tuple[str, list[int]]] = []

    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        self.asked.append((threading.current_thread().name, indices.tolist()))
        sizes = torch.tensor([self.images[index].shape[1:] for index in indices])
        pixels = torch.zeros(len(indices), 3, *sizes.amax(0).tolist(), dtype=torch.uint8)
        for place, index in enumerate(indices):
            pixels[place, :, : sizes[place, 0], : sizes[place, 1]] = self.images[index]
        return pixels, sizes


def sizes_of(rng: np.random.Generator, count: int) -> list[list[int]]:
    found: list[list[int]] = rng.integers(9, 25, (count, 2)).tolist()
    return found


def training_of(name: str, images: Images, indices: np.ndarray, loading: Loading | None) -> Training:
    plan = TrainingPlan(epochs=3, batch_size=16, image_size=16, lr=0.05, seed=0, grow_from=0.5)
    fabric = Hardware("cpu", "fp32").fabric()
    method = build(method_class(name))
    return Training(method, images, indices, indices % 10, load_policy("simclr"), plan, fabric, loading=loading)


@pytest.mark.parametrize("side", [16, 64])
@pytest.mark.parametrize("name", ["byol", "crop", "none", "per-channel", "simclr", "weak"])
def test_views_made_at_once_are_those_made_one_after_another(name: str, side: int) -> None:
    policy, (pixels, sizes) = load_policy(name), Ragged().batch(np.arange(20))
    drawn = [policy.draw(sizes, side, torch.Generator().manual_seed(7 + i), View(i)) for i in range(3)]
    expected = views_of(policy, pixels, sizes, drawn, side, at_once=False)
    found = views_of(policy, pixels, sizes, drawn, side, at_once=True)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=1e-6)
        assert other.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", ["simclr", "mae"])
@pytest.mark.parametrize("loading", LOADINGS, ids=str)
def test_no_digit_depends_on_how_the_images_come(loading: Loading, name: str) -> None:
    indices = np.arange(0, 700, 10)
    plain = training_of(name, Ragged(), indices, None)
    other = training_of(name, Ragged(), indices, loading)
    expected, found = plain.run(), other.run()
    assert [line.loss for line in found.state.log] == [line.loss for line in expected.state.log]
    for key, value in plain.method.state_dict().items():
        assert torch.equal(value, other.method.state_dict()[key]), key


def test_the_next_batch_is_begun_by_another_thread_before_it_is_asked_for() -> None:
    images, indices = Ragged(), np.arange(60)
    training = training_of("simclr", images, indices, Loading(ahead=True))
    requests = [training.batches.request(step) for step in range(2)]
    training.batch(requests[0])
    training.batches._ahead._thread.shutdown(wait=True)  # type: ignore[union-attr]  # until what was begun is done
    assert [rows for _, rows in images.asked] == [request.rows.tolist() for request in requests]
    assert threading.current_thread().name not in {thread for thread, _ in images.asked}


def test_after_the_last_step_nothing_is_begun() -> None:
    images, indices = Ragged(), np.arange(60)
    training_of("simclr", images, indices, Loading(ahead=True)).run()
    assert len(images.asked) == 3 * 4


class OnDisk(Ragged):
    """Images that note when they are announced, among what is asked for."""

    def will_need(self, indices: np.ndarray) -> None:
        self.asked.append(("announced", indices.tolist()))


@pytest.mark.parametrize("loading", [None, Loading(steps=2)], ids=str)
def test_a_store_is_told_of_every_image_once_two_batches_before_it_is_asked_for(loading: Loading | None) -> None:
    images = OnDisk()
    training = training_of("simclr", images, np.arange(3, 63), loading)
    training.run()
    announced, asked = [], []
    for who, indices in images.asked:
        if who == "announced":
            announced += indices
            continue
        asked += indices
        assert announced[: len(asked)] == asked
        assert len(announced) >= min(len(asked) + 2 * 15, 3 * 60)  # of 12 batches of 15
    assert announced == asked and len(asked) == 3 * 60


def test_images_on_the_device_are_not_announced() -> None:
    images = OnDisk()
    training_of("simclr", images, np.arange(60), Loading(resident=True)).run()
    assert "announced" not in {who for who, _ in images.asked}


def test_what_goes_wrong_in_the_thread_ends_the_training() -> None:
    class Broken:
        def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        training_of("simclr", Broken(), np.arange(60), Loading(ahead=True)).run()


def test_images_on_the_device_are_read_once_and_are_those_of_the_store() -> None:
    images, indices = Ragged(), np.arange(3, 700)
    kept = keep_on(CPU, images, indices)
    assert kept is not None
    assert [index for _, asked in images.asked for index in asked] == indices.tolist()
    pixels, sizes = kept.batch(np.array([600, 2, 2]))
    for image, size, index in zip(pixels, sizes.tolist(), (603, 5, 5), strict=True):
        assert torch.equal(image[:, : size[0], : size[1]], images.images[index])
        assert image.sum() == images.images[index].sum()  # nothing but zeros around it


def test_images_that_take_too_much_of_the_memory_stay_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selfsup.training.batches.free_memory", lambda device: 3 * 24 * 24 * 699)
    assert keep_on(CPU, Ragged(), np.arange(700)) is None
    assert keep_on(CPU, Ragged(), np.arange(600)) is not None
