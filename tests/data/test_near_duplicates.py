"""Copies of images are found, and images that are merely alike are not taken for copies."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageFilter
from sklearn.datasets import load_digits, load_sample_images

from selfsup.data import near_duplicates
from selfsup.data.near_duplicates import MOST_UNLIKE, all_differ, find_originals, thumbnail


def originals(images: list[np.ndarray]) -> list[int]:
    digests = np.array([image.tobytes() for image in images], dtype=object).astype("S")
    return find_originals(digests, np.stack([thumbnail(image) for image in images])).tolist()


def photographs(side: int = 128) -> list[np.ndarray]:
    """Parts of scikit-learn's two photographs that do not overlap."""
    return [
        image[top : top + side, left : left + side]
        for image in load_sample_images().images
        for top in range(0, image.shape[0] - side + 1, side)
        for left in range(0, image.shape[1] - side + 1, side)
    ]


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return Image.open(out)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: jpeg(image, 75),
        lambda image: jpeg(image, 40),
        lambda image: image.resize((64, 64), Image.Resampling.LANCZOS),
        lambda image: image.resize((175, 175), Image.Resampling.BICUBIC),
        lambda image: jpeg(image.resize((96, 96)), 75),
        lambda image: image.convert("P", palette=Image.Palette.ADAPTIVE).convert("RGB"),
    ],
)
def test_copies_of_photographs_are_found_and_nothing_else(
    change: Callable[[Image.Image], Image.Image],
) -> None:
    parts = [part for part in photographs() if thumbnail(part).std() > 12]  # without the empty sky
    copies = [np.asarray(change(Image.fromarray(part))) for part in parts]
    found = originals([*parts, *copies])
    assert found[: len(parts)] == list(range(len(parts)))
    right = [original == place for place, original in enumerate(found[len(parts) :])]
    wrong = [original not in (place, len(parts) + place) for place, original in enumerate(found[len(parts) :])]
    assert np.mean(right) >= 0.95
    assert not any(wrong)


def test_no_digit_is_a_copy_of_another() -> None:
    digits = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)
    assert originals([np.stack([digit] * 3, axis=-1) for digit in digits]) == list(range(len(digits)))


def test_smooth_pictures_that_are_alike_are_not_copies() -> None:
    blurred = [np.asarray(Image.fromarray(part).filter(ImageFilter.GaussianBlur(16))) for part in photographs()]
    assert originals(blurred) == list(range(len(blurred)))
    ramp = np.linspace(60, 200, 64)
    skies = [np.uint8(ramp[:, None, None] + offset + np.zeros((64, 64, 3))) for offset in range(0, 50, 10)]
    assert originals(skies) == list(range(len(skies)))


def test_empty_pictures_are_copies_only_where_their_pixels_are_equal() -> None:
    rng = np.random.default_rng(0)
    noisy = [np.clip(rng.normal(250, 1, (64, 64, 3)), 0, 255).astype(np.uint8) for _ in range(8)]
    black = np.zeros((64, 64, 3), np.uint8)
    assert originals([*noisy, black, black, black]) == [*range(9), 8, 8]


def test_what_is_brighter_turned_or_cut_is_another_image() -> None:
    part = photographs()[4]
    assert originals([part, np.uint8(part * 0.8), part[::-1], part[:, ::-1], part[16:, 16:]]) == list(range(5))


def test_copies_do_not_chain() -> None:
    first, last = photographs()[3].astype(float), photographs()[4].astype(float)
    steps = [np.uint8(np.rint(first + (last - first) * share)) for share in np.linspace(0, 1, 101)]
    small = np.stack([thumbnail(step) for step in steps]).astype(float)
    for place, original in enumerate(originals(steps)):
        unlike = np.sqrt(((small[place] - small[original]) ** 2).mean())
        assert unlike <= MOST_UNLIKE * min(small[place].std(), small[original].std())
    assert len(set(originals(steps))) > 5


def test_pairs_are_those_that_comparing_all_with_all_finds() -> None:
    parts = photographs(96)
    images = [image for part in parts for image in (part, np.asarray(Image.fromarray(part).resize((40, 40))))]
    small = np.stack([thumbnail(image) for image in images]).reshape(len(images), -1).astype(float)
    unlike = np.sqrt(((small[:, None] - small) ** 2).mean(2))
    near = unlike <= MOST_UNLIKE * np.minimum(small.std(1)[:, None], small.std(1))
    alone = [place for place, row in enumerate(near) if row.sum() == 1]
    found = originals(images)
    assert [place for place, original in enumerate(found) if found.count(original) == 1] == alone
    assert all(near[place, original] for place, original in enumerate(found))


def test_images_looked_for_in_parts_find_their_copies_in_one_of_the_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "WHOLE", 1000)
    monkeypatch.setattr(near_duplicates, "PART", 100)  # so of 4,000 images each is compared with 1 in 32
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (2000, 4, 4)).repeat(2, axis=1).repeat(2, axis=2)
    copies = coarse + 0.03 * coarse.std((1, 2), keepdims=True) * rng.normal(size=coarse.shape)
    found = find_originals(np.arange(4000), np.concatenate([coarse, copies]).astype(np.float32))
    assert np.array_equal(found[:2000], np.arange(2000))
    assert np.mean(found[2000:] == np.arange(2000)) > 0.99


def test_many_images_take_seconds() -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (10_000, 4, 4)).astype(np.float32)
    small = coarse.repeat(2, axis=1).repeat(2, axis=2)
    started = time.monotonic()
    found = find_originals(np.arange(20_000), np.concatenate([small, small + 1]))
    assert np.array_equal(found, np.tile(np.arange(10_000), 2))
    assert time.monotonic() - started < 20  # 1 s on two cores; comparing all with all would take minutes


def test_all_differ_where_none_is_a_copy() -> None:
    assert all_differ(np.array(originals([image := photographs()[0], photographs()[1]])))
    assert not all_differ(np.array(originals([image, photographs()[1], image])))
