"""Images with several labels: sides and subsets in which every label has its share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfsup.data.items import UNKNOWN, Item, ItemTable
from selfsup.data.split import draw_subset, split_images

SIDES = ("train", "val", "test")
SEEDS = st.integers(0, 2**20)


def label_sets(images: int, rates: list[float], seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of label sets, the sets, and which labels each image has: each label at its own rate, at least one."""
    rng = np.random.default_rng(seed)
    has = rng.random((images, len(rates))) < rates
    has[np.arange(images), rng.integers(0, len(rates), images)] |= ~has.any(axis=1)
    sets, labels = np.unique(has, axis=0, return_inverse=True)
    return labels.astype(np.int64), sets, has


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.lists(st.floats(0.02, 0.6), min_size=2, max_size=8))
def test_every_label_has_its_share_of_every_side(seed: int, rates: list[float]) -> None:
    labels, sets, has = label_sets(400, rates, seed)
    split = split_images(labels, val_fraction=0.15, test_fraction=0.2, seed=seed, sets=sets)
    parts = [getattr(split, side) for side in SIDES]
    assert sorted(np.concatenate(parts).tolist()) == list(range(400))
    found, images = np.stack([has[part].sum(axis=0) for part in parts]), has.sum(axis=0)
    # What labels that come together cost; by chance alone the test would miss by up to a third of its share.
    assert (abs(found - np.outer([0.65, 0.15, 0.2], images)) <= 4 + 0.03 * images).all()


@given(SEEDS)
@settings(deadline=None, max_examples=40)
def test_a_rare_label_is_on_every_side_and_a_label_of_one_image_in_train(seed: int) -> None:
    has = np.zeros((60, 4), bool)
    has[:, 0] = True
    has[:20, 1] = has[20:23, 2] = has[59, 3] = True
    sets, labels = np.unique(has, axis=0, return_inverse=True)
    split = split_images(labels.astype(np.int64), val_fraction=0.1, test_fraction=0.2, seed=seed, sets=sets)
    assert [int(has[getattr(split, side), 2].sum()) for side in SIDES] == [1, 1, 1]
    assert 59 in split.train


def test_a_side_that_is_given_gets_no_further_image() -> None:
    labels, sets, _ = label_sets(300, [0.5, 0.3, 0.1], seed=0)
    sides = np.where(np.arange(300) < 60, 2, -1)  # test
    split = split_images(labels, val_fraction=0.1, test_fraction=0.2, seed=0, given=sides, sets=sets)
    assert split.test.tolist() == list(range(60))
    assert len(split.val) == pytest.approx(24, abs=3)


def test_copies_and_groups_stay_on_one_side() -> None:
    labels, sets, has = label_sets(300, [0.5, 0.3, 0.1], seed=1)
    pairs = np.arange(300) // 2
    for keys in ({"originals": pairs * 2}, {"groups": [str(pair) for pair in pairs]}):
        split = split_images(labels, val_fraction=0.15, test_fraction=0.2, seed=0, sets=sets, **keys)  # type: ignore[arg-type]
        for side in SIDES:
            part = getattr(split, side)
            assert (np.bincount(pairs[part], minlength=150) % 2 == 0).all()
            assert (has[part].sum(axis=0) > 0).all()


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.lists(st.floats(0.02, 0.7), min_size=2, max_size=8))
def test_a_subset_has_so_many_images_of_every_label_and_smaller_ones_are_parts_of_it(
    seed: int, rates: list[float]
) -> None:
    labels, sets, has = label_sets(120, rates, seed)
    train = np.arange(0, 120, 2)
    available = has[train].sum(axis=0)
    for sizes in ((1, 3, 5, 20, "all"), ("1%", "10%", "30%", "all")):
        before = np.zeros(0, np.int64)
        for size in sizes:
            drawn = draw_subset(labels, train, per_class=size, seed=seed, sets=sets)  # type: ignore[arg-type]
            assert set(before.tolist()) <= set(drawn.tolist()) <= set(train.tolist())
            if isinstance(size, int):
                wanted = np.minimum(size, available)
                assert (has[drawn].sum(axis=0) >= wanted).all()
                assert len(drawn) <= wanted.sum()
            before = drawn


def test_images_of_one_label_each_are_drawn_as_classes_are() -> None:
    labels = np.random.default_rng(0).integers(0, 4, 80)
    one_each = np.eye(4, dtype=bool)
    for size in (1, 7, "30%"):
        as_classes = draw_subset(labels, np.arange(80), per_class=size, seed=3)  # type: ignore[arg-type]
        as_sets = draw_subset(labels, np.arange(80), per_class=size, seed=3, sets=one_each)  # type: ignore[arg-type]
        assert as_classes.tolist() == as_sets.tolist()


def test_items_with_several_labels_are_a_matrix_of_labels() -> None:
    table = ItemTable.of([Item("a", ("cow", "grass")), Item("b"), Item("c", ("grass",)), Item("d", ("cow", "grass"))])
    assert table.classes == ("cow", "grass")
    assert table.targets(np.arange(4)).tolist() == [[True, True], [False, False], [False, True], [True, True]]
    assert table.labels.tolist() == [0, UNKNOWN, 1, 0]
    assert table.count(np.array([0, 1, 2])).tolist() == [1, 2]
    assert [table.class_of(index) for index in range(4)] == ["cow;grass", None, "grass", "cow;grass"]
    assert table.has_pool and table.several


def test_items_with_one_label_each_are_classes() -> None:
    table = ItemTable.of([Item("a", "b;c"), Item("b"), Item("c", "a")])
    assert table.classes == ("a", "b;c")
    assert table.targets(np.arange(3)).tolist() == [1, UNKNOWN, 0]
    assert not table.several


def test_of_items_that_are_taken_sets_and_labels_that_none_has_are_gone() -> None:
    items = [Item("a", ("cow", "grass")), Item("b"), Item("c", ("grass",)), Item("d", ("yeti",)), Item("e", ("sky",))]
    for places in ([0, 1, 2], [4, 3, 2], [1], [0, 1, 2, 3, 4]):
        kept, anew = ItemTable.of(items).take(np.array(places)), ItemTable.of([items[place] for place in places])
        assert kept.classes == anew.classes and kept.labels.tolist() == anew.labels.tolist()
        assert kept.sets.tolist() == anew.sets.tolist()
        assert [kept.item(index) for index in range(len(places))] == [items[place] for place in places]
