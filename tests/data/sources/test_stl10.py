"""STL-10's images without a label and its ten draws of labels, from small files of the true layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from published_copies import TEST, TRAIN, fake_stl10
from selfsup.data.build import prepare_store
from selfsup.data.items import UNKNOWN
from selfsup.data.sources import open_source
from selfsup.data.sources.base import Source
from selfsup.data.split import draw_subset, split_images
from selfsup.data.store import Store
from selfsup.errors import UserError
from selfsup.testing import check_source

#: Of the ten training images, of classes 0 1 2 0 1 2 0 1 2 0: one image of each class a draw. 7, 8 and 9 are in none.
FOLDS = [[0, 1, 2], [3, 4, 5], [6, 1, 5], [0, 4, 2], [3, 1, 2], [6, 4, 5], [0, 1, 5], [3, 4, 2], [6, 1, 2], [0, 4, 5]]
POOL = np.random.default_rng(1).integers(0, 256, (5, 96, 96, 3), np.uint8)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = fake_stl10(monkeypatch).lie_in(tmp_path / "root")
    inner = root / "stl10_binary"
    (inner / "unlabeled_X.bin").write_bytes(POOL.transpose(0, 3, 2, 1).tobytes())  # colour by colour, by columns
    (inner / "fold_indices.txt").write_text("".join(f"{' '.join(map(str, fold))} \n" for fold in FOLDS))
    return root


def opened(root: Path, **options: bool) -> Source:
    return open_source("stl10", data_root=root, cache_dir=root / "cache", **options)


@pytest.fixture
def store(root: Path) -> Store:
    return prepare_store(opened(root), store_size=32, cache_dir=root / "cache")


def test_the_images_without_a_label_are_a_pool(root: Path) -> None:
    source = opened(root)
    assert [item.label is None for item in source.items] == [False] * (TRAIN + TEST) + [True] * len(POOL)
    for index, pixels in enumerate(POOL):
        assert np.array_equal(np.asarray(source.open(TRAIN + TEST + index)), pixels)


def test_it_keeps_the_contract(root: Path) -> None:
    check_source(lambda options: opened(root, unlabelled=options.unlabelled))


def test_the_labels_of_a_seed_are_those_of_the_given_draw(store: Store) -> None:
    split = split_images(store.labels, val_fraction=0.1, test_fraction=0.2, seed=0, given=store.items.sides)
    for seed, fold in enumerate(FOLDS):
        first = store.items.fold(seed)
        drawn = draw_subset(store.labels, split.train, per_class=1, seed=seed, first=first)
        assert drawn.tolist() == sorted(fold)
        assert set(fold) < set(draw_subset(store.labels, split.train, per_class=2, seed=seed, first=first).tolist())
    assert store.items.fold(10) is None


def test_images_in_none_of_the_draws_validate(store: Store) -> None:
    split = split_images(store.labels, val_fraction=0.1, test_fraction=0.2, seed=0, given=store.items.sides)
    assert split.val.tolist() == [7, 8, 9]
    assert split.test.tolist() == list(range(TRAIN, TRAIN + TEST))
    assert (store.labels[split.train] == UNKNOWN).sum() == len(POOL)


def test_where_the_draws_leave_no_image_of_a_class_validation_is_drawn(root: Path) -> None:
    folds = root / "stl10_binary" / "fold_indices.txt"
    folds.write_text(folds.read_text() + "0 1 8\n")
    assert {item.split for item in opened(root).items} == {"train", "test", None}


def test_without_these_files_it_is_the_labelled_images(root: Path) -> None:
    for name in ("unlabeled_X.bin", "fold_indices.txt"):
        (root / "stl10_binary" / name).unlink()
    said: list[str] = []
    source = open_source("stl10", data_root=root, cache_dir=root / "cache", say=said.append)
    assert len(source.items) == TRAIN + TEST
    assert {item.folds for item in source.items} == {()}
    assert any("STL-10 without its 100,000 images without a label" in line for line in said)


def test_a_pool_that_was_cut_short_is_refused(root: Path) -> None:
    file = root / "stl10_binary" / "unlabeled_X.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"unlabeled_X.bin' is damaged \(138,239 bytes\); unpack the archive again"):
        assert opened(root).items
