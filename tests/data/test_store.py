"""Reading a store: single images, batches, and the same from every process."""

from __future__ import annotations

import mmap
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from pictures import labelled_folder, save_picture, smooth
from selfsup.data.build import prepare_store
from selfsup.data.items import UNKNOWN
from selfsup.data.sources import open_source
from selfsup.data.store import Store, open_store
from selfsup.errors import UserError


@pytest.fixture
def alike(tmp_path: Path) -> Store:
    source = open_source(str(labelled_folder(tmp_path / "alike", per_class=5)))
    return prepare_store(source, store_size=64, cache_dir=tmp_path / "cache")


@pytest.fixture
def ragged(tmp_path: Path) -> Store:
    for number, (height, width) in enumerate([(5, 9), (12, 4), (7, 7), (3, 20)]):
        save_picture(tmp_path / f"ragged/{number}.png", seed=number, height=height, width=width)
    return prepare_store(open_source(str(tmp_path / "ragged")), store_size=64, cache_dir=tmp_path / "cache")


def test_a_batch_of_equal_sizes_holds_the_images_asked_for(alike: Store) -> None:
    images, sizes = alike.batch([7, 0, 0, 3])
    assert images.dtype == torch.uint8
    assert images.shape == (4, 3, 24, 32)
    assert images.is_contiguous(memory_format=torch.channels_last)
    for place, index in enumerate([7, 0, 0, 3]):
        assert np.array_equal(images[place].permute(1, 2, 0).numpy(), alike.image(index))
    assert sizes.dtype == torch.int64
    assert sizes.tolist() == [[24, 32]] * 4


def test_a_batch_of_unequal_sizes_is_padded_right_and_below_with_zeros(ragged: Store) -> None:
    images, sizes = ragged.batch(np.array([3, 1]))
    assert images.shape == (2, 3, 12, 20)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert sizes.tolist() == [[3, 20], [12, 4]]
    expected = np.zeros((2, 12, 20, 3), np.uint8)
    expected[0, :3, :20] = smooth(3, height=3, width=20)
    expected[1, :12, :4] = smooth(1, height=12, width=4)
    assert np.array_equal(images.permute(0, 2, 3, 1).numpy(), expected)


def test_a_batch_is_padded_no_further_than_it_needs(ragged: Store) -> None:
    assert ragged.batch([0])[0].shape == (1, 3, 5, 9)


def test_a_batch_may_be_changed_without_changing_the_store(alike: Store, ragged: Store) -> None:
    for store in (alike, ragged):
        before = store.image(0).copy()
        store.batch([0])[0].zero_()
        assert np.array_equal(store.image(0), before)
        with pytest.raises(ValueError, match="read-only"):
            store.image(0)[:] = 0


def test_a_store_opened_by_path_is_the_same(alike: Store) -> None:
    again = open_store(alike.path)
    for name in ("names", "classes", "rendering", "name", "audit"):
        assert getattr(again, name) == getattr(alike, name)
    assert again.items.groups == alike.items.groups
    assert np.array_equal(again.items.sides, alike.items.sides)
    for name in ("labels", "sizes", "digests"):
        assert np.array_equal(getattr(again, name), getattr(alike, name))
    assert torch.equal(again.batch([2, 4])[0], alike.batch([2, 4])[0])


def test_pickling_a_store_hands_over_its_path_and_no_pixels(alike: Store) -> None:
    alike.batch([0])
    pickled = pickle.dumps(alike)
    assert len(pickled) < 1000
    assert torch.equal(pickle.loads(pickled).batch([1])[0], alike.batch([1])[0])


def test_labels_index_the_sorted_classes(alike: Store) -> None:
    assert alike.classes == ("class_0", "class_1")
    assert alike.labels.dtype == np.int64
    assert alike.labels.tolist() == [0] * 5 + [1] * 5


def test_an_unlabelled_store_has_no_classes(ragged: Store) -> None:
    assert ragged.labels.tolist() == [UNKNOWN] * len(ragged)
    assert ragged.classes == ()
    assert not ragged.items.has_labels


def test_a_place_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no complete store"):
        open_store(tmp_path)


class AdvisedFile:
    """A mapped file that notes which bytes it is told of."""

    def __init__(self, error: OSError | None = None) -> None:
        self.told: list[tuple[int, int]] = []
        self._error = error

    def madvise(self, option: int, start: int, length: int) -> None:
        assert option == mmap.MADV_WILLNEED
        self.told.append((start, start + length))
        if self._error:
            raise self._error


@pytest.mark.skipif(not hasattr(mmap, "MADV_WILLNEED"), reason="the system takes no advice")
def test_the_system_is_told_of_the_bytes_of_images_in_the_order_of_the_disk(tmp_path: Path) -> None:
    store = prepare_store(open_source(str(labelled_folder(tmp_path / "data"))), store_size=64, cache_dir=tmp_path)
    before = [store.image(index).copy() for index in range(len(store))]
    store.will_need(np.array([3, 0, 2]))  # for the system itself to take
    store.__dict__["_file"] = told = AdvisedFile()
    store.will_need(np.array([3, 0, 2]))
    ends = np.cumsum([0, *(image.size for image in before)])
    for (start, end), index in zip(told.told, (0, 2, 3), strict=True):
        assert start % mmap.PAGESIZE == 0 and 0 <= ends[index] - start < mmap.PAGESIZE and end == ends[index + 1]
    store.__dict__["_file"] = AdvisedFile(OSError("not on this file system"))
    store.will_need(np.array([1]))  # which is no error
    assert all(map(np.array_equal, before, map(store.image, range(len(store)))))


def test_where_the_system_takes_no_advice_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(mmap, "MADV_WILLNEED", raising=False)
    store = prepare_store(open_source(str(labelled_folder(tmp_path / "data"))), store_size=64, cache_dir=tmp_path)
    store.__dict__["_file"] = told = AdvisedFile()
    store.will_need(np.arange(2))
    assert not told.told
