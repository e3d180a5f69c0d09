"""Split and subsets: what holds for every data set, and exact numbers for small ones."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfsup.data.items import NO_SIDE, TEST, TRAIN, UNKNOWN, VAL
from selfsup.data.split import Split, draw_subset, has_several, split_images
from selfsup.errors import UserError

SIDES = ("train", "val", "test")
FRACTIONS = st.floats(0.02, 0.49)
SEEDS = st.integers(0, 2**32)
CLASS_SIZES = st.lists(st.integers(0, 30), min_size=1, max_size=6).filter(any)


def labels_of(sizes: list[int], seed: int = 0) -> np.ndarray:
    """Shuffled labels with so many images of each class."""
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.int64)


def counts(split: Split, labels: np.ndarray) -> dict[str, list[int]]:
    return {side: np.bincount(labels[getattr(split, side)], minlength=labels.max() + 1).tolist() for side in SIDES}


def assert_is_a_partition(split: Split, count: int) -> None:
    for side in SIDES:
        indices = getattr(split, side)
        assert indices.dtype == np.int64
        assert (np.diff(indices) > 0).all()
    joined = np.concatenate([split.train, split.val, split.test])
    assert sorted(joined.tolist()) == list(range(count))


@given(CLASS_SIZES, FRACTIONS, FRACTIONS, SEEDS)
def test_every_class_is_divided_by_the_fractions(sizes: list[int], val: float, test: float, seed: int) -> None:
    labels = labels_of(sizes)
    split = split_images(labels, val_fraction=val, test_fraction=test, seed=seed)
    assert_is_a_partition(split, len(labels))
    found = counts(split, labels)
    for label in np.unique(labels):
        size = sizes[label]
        train, n_val, n_test = (found[side][label] for side in SIDES)
        if size == 1:
            assert (train, n_val, n_test) == (1, 0, 0)
        elif size == 2:
            assert (train, n_val, n_test) == (1, 0, 1)
        else:
            assert min(train, n_val, n_test) >= 1
            if train > 1:
                assert abs(n_val - size * val) <= max(0.5, 1 - size * val) + 1e-9
                assert abs(n_test - size * test) <= max(0.5, 1 - size * test) + 1e-9


@given(CLASS_SIZES, SEEDS)
def test_the_split_depends_on_nothing_but_labels_and_seed(sizes: list[int], seed: int) -> None:
    labels = labels_of(sizes)
    first, second = (split_images(labels, val_fraction=0.1, test_fraction=0.2, seed=seed) for _ in range(2))
    for side in SIDES:
        assert np.array_equal(getattr(first, side), getattr(second, side))


def test_the_split_of_a_seed_never_changes() -> None:
    # Written down once: a change would silently break the resumption of every study.
    labels = np.repeat([0, 1], [10, 5])
    split = split_images(labels, val_fraction=0.1, test_fraction=0.2, seed=0)
    assert split.val.tolist() == [1, 10]
    assert split.test.tolist() == [2, 8, 12]
    assert draw_subset(labels, split.train, per_class=2, seed=0).tolist() == [0, 5, 11, 14]


def test_seeds_give_different_splits() -> None:
    labels = labels_of([50, 50])
    tests = {
        tuple(split_images(labels, val_fraction=0.1, test_fraction=0.2, seed=seed).test.tolist()) for seed in range(20)
    }
    assert len(tests) == 20


def test_every_image_is_as_likely_as_any_other_to_be_tested() -> None:
    labels = np.zeros(20, np.int64)
    hits = np.zeros(20)
    for seed in range(1000):
        hits[split_images(labels, val_fraction=0.1, test_fraction=0.2, seed=seed).test] += 1
    # Binomial, p = 0.2, n = 1000: standard deviation 12.6.
    assert np.abs(hits - 200).max() < 5 * 12.6


def test_classes_are_divided_independently_of_each_other() -> None:
    labels = np.repeat([0, 1], 40)
    longer = np.repeat([0, 1, 2], [40, 40, 7])
    first = split_images(labels, val_fraction=0.1, test_fraction=0.2, seed=3)
    second = split_images(longer, val_fraction=0.1, test_fraction=0.2, seed=3)
    assert np.array_equal(first.test, second.test[second.test < 80])
    assert not np.array_equal(first.test[first.test < 40], first.test[first.test >= 40] - 40)


def with_copies(labels: np.ndarray, originals: np.ndarray, seed: int = 0, **more: Any) -> Split:
    return split_images(labels, val_fraction=0.1, test_fraction=0.2, seed=seed, originals=originals, **more)


@given(CLASS_SIZES, SEEDS)
def test_without_copies_the_split_is_the_same(sizes: list[int], seed: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    old = split_images(labels, val_fraction=0.1, test_fraction=0.2, seed=seed)
    new = with_copies(labels, np.arange(len(labels)), seed)
    assert all(np.array_equal(getattr(old, side), getattr(new, side)) for side in ("train", "val", "test"))


@given(CLASS_SIZES, SEEDS, st.integers(1, 12))
def test_copies_are_on_one_side_and_something_is_left_to_train(sizes: list[int], seed: int, reach: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    back = np.random.default_rng(seed).integers(0, reach, len(labels))
    originals = np.maximum(np.arange(len(labels)) - back, 0)
    found = with_copies(labels, originals, seed)
    assert_is_a_partition(found, len(labels))
    sides = np.select([np.isin(range(len(labels)), getattr(found, side)) for side in SIDES], range(3))
    for original in np.unique(originals):
        assert len(set(sides[originals == original])) == 1
        if len(set(labels[originals == original])) > 1:
            assert set(sides[originals == original]) == {0}
    assert all((sides[labels == label] == 0).any() for label in range(len(sizes)) if sizes[label])


def test_a_class_of_pairs_is_on_all_sides_in_nearly_its_shares() -> None:
    for pairs in (4, 5, 10, 50):
        found = with_copies(np.zeros(2 * pairs, np.int64), np.repeat(np.arange(pairs) * 2, 2))
        assert 2 <= len(found.test) <= max(2, 0.2 * 2 * pairs)
        assert 2 <= len(found.val) <= max(2, 0.1 * 2 * pairs)


def test_many_copies_of_one_image_are_for_training() -> None:
    originals = np.array([*range(20), *[20] * 80])
    found = with_copies(np.zeros(100, np.int64), originals)
    assert set(range(20, 100)) <= set(found.train.tolist())
    assert (len(found.val), len(found.test)) == (0, 20)


def test_images_of_conflicting_labels_are_not_evaluated_whatever_divides_them() -> None:
    labels = np.repeat([0, 1], 30)
    conflicts = np.zeros(60, bool)
    conflicts[[3, 40, 17, 55]] = True
    together = np.arange(60)
    together[[40, 55]] = 3, 17
    official = np.where(np.arange(60) % 5 == 0, TEST, TRAIN)
    assert conflicts[with_copies(labels, together, conflicts=conflicts).train].sum() == 4
    for more in ({}, {"groups": [str(place // 2) for place in range(60)]}, {"given": official}):
        for seed in range(5):
            found = with_copies(labels, np.arange(60), seed, conflicts=conflicts, **more)
            assert not conflicts[found.val].any()
            assert not conflicts[found.test].any()


def test_labels_of_equal_keys_are_several_where_they_differ() -> None:
    keys, labels = np.array([b"x", b"y", b"x", b"z", b"y"]), np.array([2, 1, 0, 2, 1])
    assert has_several(labels, keys).tolist() == [True, False, True, False, False]


def test_without_labels_everything_is_for_training() -> None:
    split = split_images(np.full(7, UNKNOWN), val_fraction=0.1, test_fraction=0.2, seed=0)
    assert split.train.tolist() == list(range(7))
    assert len(split.val) == len(split.test) == 0


@given(CLASS_SIZES, FRACTIONS, SEEDS, st.data())
def test_official_test_images_are_the_test_and_val_comes_from_the_rest(
    sizes: list[int], val: float, seed: int, data: st.DataObject
) -> None:
    labels = labels_of(sizes)
    wanted = st.lists(st.booleans(), min_size=len(labels), max_size=len(labels)).filter(any)
    official = np.array(data.draw(wanted))
    split = split_images(
        labels, val_fraction=val, test_fraction=0.2, seed=seed, given=np.where(official, TEST, NO_SIDE)
    )
    same = split_images(labels, val_fraction=val, test_fraction=0.2, seed=seed, given=np.where(official, TEST, TRAIN))
    assert all(np.array_equal(getattr(split, side), getattr(same, side)) for side in SIDES)
    assert_is_a_partition(split, len(labels))
    assert split.test.tolist() == np.flatnonzero(official).tolist()
    for label in np.unique(labels):
        rest = int(((labels == label) & ~official).sum())
        n_val = int((labels[split.val] == label).sum())
        assert n_val == (0 if rest < 2 else min(rest - 1, max(1, int(rest * val + 0.5))))


def test_given_sides_stay_and_the_missing_one_is_drawn_from_what_is_given_for_none() -> None:
    labels = np.repeat([0, 1], 20)
    given = np.tile([TRAIN, TRAIN, VAL, NO_SIDE], 10)
    split = split_images(labels, val_fraction=0.1, test_fraction=0.2, seed=0, given=given)
    assert split.val.tolist() == np.flatnonzero(given == VAL).tolist()
    assert set(split.test.tolist()) < set(np.flatnonzero(given == NO_SIDE).tolist())
    assert counts(split, labels) == {"train": [14, 14], "val": [5, 5], "test": [1, 1]}  # 0.2 of the 5 of each class


def test_where_all_sides_are_given_nothing_is_drawn() -> None:
    given = np.array([TRAIN, VAL, TEST, NO_SIDE, TRAIN])
    split = split_images(np.zeros(5, int), val_fraction=0.1, test_fraction=0.2, seed=0, given=given)
    assert (split.train.tolist(), split.val.tolist(), split.test.tolist()) == ([0, 3, 4], [1], [2])


def test_open_images_follow_the_given_ones_of_their_group() -> None:
    given = np.full(40, NO_SIDE)
    given[:12:4] = TRAIN, VAL, TEST
    groups = [f"g{number // 4}" for number in range(40)]
    split = split_images(np.zeros(40, int), val_fraction=0.1, test_fraction=0.2, seed=0, groups=groups, given=given)
    assert split.val.tolist() == [4, 5, 6, 7]
    assert split.test.tolist() == [8, 9, 10, 11]
    assert_is_a_partition(split, 40)


@pytest.mark.parametrize("side", [VAL, TEST])
def test_open_copies_of_given_images_never_train_what_is_evaluated(side: int) -> None:
    given = np.repeat([side, TRAIN, NO_SIDE], [10, 10, 40])
    originals = np.concatenate([np.arange(40), np.arange(20)])  # the last twenty are copies of the first
    split = split_images(
        np.tile([0, 1], 30), val_fraction=0.1, test_fraction=0.2, seed=0, given=given, originals=originals
    )
    held_out, drawn = (split.val, split.test) if side == VAL else (split.test, split.val)
    assert held_out.tolist() == list(range(10))
    assert len(drawn) >= 2
    assert set(drawn.tolist()) < set(range(20, 40))  # and never what training has a copy of
    assert set(split.train.tolist()) == {*range(10, 60)} - {*range(40, 50)} - {*drawn.tolist()}


def few_labels() -> np.ndarray:
    """Ten labelled images of each of two classes, and thirty without a label."""
    return np.repeat([0, UNKNOWN, 1, UNKNOWN], [10, 10, 10, 20])


def test_images_without_a_label_are_for_training_and_change_nothing_for_the_others() -> None:
    labels, known = few_labels(), np.flatnonzero(few_labels() != UNKNOWN)
    split = split_images(labels, val_fraction=0.1, test_fraction=0.2, seed=0)
    alone = split_images(labels[known], val_fraction=0.1, test_fraction=0.2, seed=0)
    assert split.test.tolist() == known[alone.test].tolist()
    assert split.val.tolist() == known[alone.val].tolist()
    assert_is_a_partition(split, len(labels))


def test_images_without_a_label_that_are_copies_of_held_out_ones_are_on_no_side() -> None:
    labels = few_labels()
    plain = split_images(labels, val_fraction=0.1, test_fraction=0.2, seed=0)
    held_out, seen = [plain.test[0], plain.val[0]], int(plain.train[0])
    originals = np.arange(len(labels))
    originals[[10, 11, 12]] = *held_out, seen
    for groups in (None, [f"g{number}" for number in range(len(labels))]):
        split = split_images(labels, val_fraction=0.1, test_fraction=0.2, seed=0, originals=originals, groups=groups)
        left_out = set(range(len(labels))) - set(np.concatenate([split.train, split.val, split.test]).tolist())
        sides = {index: {number for side in (split.val, split.test) for number in side} for index in (10, 11, 12)}
        assert left_out == {index for index in sides if originals[index] in sides[index]}


def test_images_without_a_label_of_a_group_that_is_held_out_are_on_no_side() -> None:
    labels = few_labels()
    groups = [f"g{number % 10}" for number in range(len(labels))]
    split = split_images(labels, val_fraction=0.1, test_fraction=0.2, seed=0, groups=groups)
    held_out = {groups[index] for index in (*split.val, *split.test)}
    assert split.train.tolist() == [index for index, group in enumerate(groups) if group not in held_out]


def test_an_image_without_a_label_is_never_evaluated() -> None:
    given = np.full(50, NO_SIDE)
    given[[12, 13]] = VAL, TEST
    split = split_images(few_labels(), val_fraction=0.1, test_fraction=0.2, seed=0, given=given)
    assert not {12, 13} & {*split.train, *split.val, *split.test}
    assert len(split.test) == 4


def test_a_subset_holds_images_with_a_label() -> None:
    labels = few_labels()
    assert draw_subset(labels, np.arange(50), per_class="all", seed=0).tolist() == [*range(10), *range(20, 30)]
    assert (labels[draw_subset(labels, np.arange(50), per_class=3, seed=0)] == [0, 0, 0, 1, 1, 1]).all()


@settings(deadline=None)
@given(CLASS_SIZES, SEEDS, st.lists(st.integers(1, 40), min_size=2, max_size=5))
def test_subsets_are_nested_balanced_and_inside_train(sizes: list[int], seed: int, wanted: list[int]) -> None:
    labels = labels_of(sizes)
    train = split_images(labels, val_fraction=0.1, test_fraction=0.2, seed=1).train
    inside: set[int] = set()
    for per_class in sorted(wanted):
        subset = draw_subset(labels, train, per_class=per_class, seed=seed)
        assert subset.dtype == np.int64
        assert (np.diff(subset) > 0).all()
        assert inside <= set(subset.tolist()) <= set(train.tolist())
        inside = set(subset.tolist())
        for label in np.unique(labels):
            assert (labels[subset] == label).sum() == min(per_class, (labels[train] == label).sum())
    everything = draw_subset(labels, train, per_class="all", seed=seed)
    assert np.array_equal(everything, train)


@pytest.mark.parametrize(
    ("share", "drawn"), [("1%", [2, 1, 1]), ("10%", [20, 2, 1]), ("12.5%", [25, 2, 1]), ("50%", [100, 8, 2])]
)
def test_a_share_of_each_class_is_rounded_a_half_upwards_and_at_least_one(share: str, drawn: list[int]) -> None:
    labels = np.repeat([0, 1, 2], [200, 15, 4])
    train = np.arange(len(labels))
    subset = draw_subset(labels, train, per_class=share, seed=7)
    assert np.bincount(labels[subset]).tolist() == drawn


@given(CLASS_SIZES, SEEDS, st.lists(st.floats(0.01, 99.99), min_size=2, max_size=4))
def test_shares_are_nested(sizes: list[int], seed: int, percents: list[float]) -> None:
    labels = labels_of(sizes)
    drawn = [draw_subset(labels, np.arange(len(labels)), per_class=f"{p}%", seed=seed) for p in sorted(percents)]
    for small, large in itertools.pairwise(drawn):
        assert set(small.tolist()) <= set(large.tolist())


def test_subsets_of_different_seeds_differ_and_do_not_follow_the_split() -> None:
    labels = labels_of([60, 60])
    train = split_images(labels, val_fraction=0.1, test_fraction=0.2, seed=0).train
    drawn = {tuple(draw_subset(labels, train, per_class=5, seed=seed).tolist()) for seed in range(20)}
    assert len(drawn) == 20


def test_a_subset_without_labels_treats_all_as_one_class() -> None:
    assert len(draw_subset(np.full(30, UNKNOWN), np.arange(30), per_class=4, seed=0)) == 4


def random_groups(rng: np.random.Generator, count: int, groups: int) -> list[str]:
    return [f"g{number}" for number in rng.integers(0, groups, count)]


def assert_no_group_is_on_two_sides(split: Split, groups: list[str]) -> None:
    owned = [{groups[index] for index in getattr(split, side)} for side in SIDES]
    assert not any(first & second for first, second in itertools.combinations(owned, 2))


@settings(deadline=None, max_examples=60)
@given(st.integers(3, 12), st.integers(1, 4), SEEDS)
def test_no_group_is_on_two_sides_and_no_side_is_empty(groups: int, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(groups, 80))
    names = random_groups(rng, count, groups)
    labels = rng.integers(0, classes, count)
    if len(set(names)) < 3:
        return
    split = split_images(labels, val_fraction=0.1, test_fraction=0.2, seed=seed, groups=names)
    assert_is_a_partition(split, count)
    assert_no_group_is_on_two_sides(split, names)
    assert min(len(split.train), len(split.val), len(split.test)) >= 1


def test_many_groups_are_divided_almost_as_exactly_as_single_images() -> None:
    rng = np.random.default_rng(0)
    labels = labels_of([400, 100, 50])
    names = random_groups(rng, 550, 150)
    split = split_images(labels, val_fraction=0.1, test_fraction=0.2, seed=0, groups=names)
    found = counts(split, labels)
    assert np.abs(np.array(found["test"]) - [80, 20, 10]).max() <= 3
    assert np.abs(np.array(found["val"]) - [40, 10, 5]).max() <= 3


def test_few_groups_are_divided_as_well_as_any_assignment_could() -> None:
    """Against every assignment of 7 groups: nearly the least distance from the wanted shares."""

    def invalid(sides: np.ndarray, table: np.ndarray) -> float:
        have = np.stack([table[sides == side].sum(0) for side in range(3)])
        wanted = np.array([0.7, 0.1, 0.2])[:, None] * table.sum(0)
        lacking = ((have == 0).mean(1) * [4, 1, 2]).sum()
        return float(np.abs(have - wanted).sum() / table.sum() + lacking)

    worse = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 3, 90)
        group = rng.choice(7, 90, p=rng.dirichlet(np.full(7, 5.0)))
        table = np.zeros((7, 3), int)
        np.add.at(table, (group, labels), 1)
        if (table.sum(1) == 0).any():
            continue
        best = min(invalid(np.array(sides), table) for sides in itertools.product(range(3), repeat=7))
        names = [f"g{number}" for number in group]
        split = split_images(labels, val_fraction=0.1, test_fraction=0.2, seed=seed, groups=names)
        sides = np.array(
            [[number in set(group[getattr(split, side)]) for side in SIDES].index(True) for number in range(7)]
        )
        worse.append(invalid(sides, table) - best)
    assert len(worse) >= 8
    assert max(worse) < 0.1
    assert np.mean(worse) < 0.03


def test_groups_of_one_class_each_still_put_every_class_into_train() -> None:
    labels = np.repeat([0, 1, 2], 30)
    names = [f"{label}-{index % 5}" for index, label in enumerate(labels)]
    split = split_images(labels, val_fraction=0.1, test_fraction=0.2, seed=0, groups=names)
    assert_no_group_is_on_two_sides(split, names)
    found = counts(split, labels)
    assert min(found["train"]) >= 12
    assert min(found["test"]) >= 6


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(UserError, match=r"--group makes 2 group\(s\) .* at least 3 are needed"):
        split_images(np.zeros(10, int), val_fraction=0.1, test_fraction=0.2, seed=0, groups=["a", "b"] * 5)


def test_with_official_test_images_two_groups_of_the_rest_suffice() -> None:
    official = np.array([TRAIN] * 8 + [TEST] * 2)
    groups = ["a"] * 6 + ["b"] * 2 + ["c"] * 2
    split = split_images(np.zeros(10, int), val_fraction=0.2, test_fraction=0.2, seed=0, groups=groups, given=official)
    assert split.train.tolist() == [0, 1, 2, 3, 4, 5]
    assert split.val.tolist() == [6, 7]


def test_a_group_that_reaches_across_given_sides_is_refused() -> None:
    given = np.array([TRAIN, TRAIN, TRAIN, TEST])
    with pytest.raises(UserError, match=r"1 of the groups \(such as 'b'\) have images on several sides of the given"):
        split_images(np.zeros(4, int), val_fraction=0.2, test_fraction=0.2, seed=0, groups=list("aabb"), given=given)
