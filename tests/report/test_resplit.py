"""Seeds that divide the images anew: exact numbers for small cases, and what the interval holds in simulations."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from page_reader import PageReader
from selfsup.report.page import write_report
from selfsup.report.resplit import resplit_interval, resplit_test
from selfsup.report.statistics import score_interval
from selfsup.report.verdict import answer

#: Test images for each other one, where a fifth is tested.
RATIO = 0.25


def seed(right: int, images: int = 100) -> np.ndarray:
    """One seed with so many of its test images right."""
    return (np.arange(images) < right)[None]


def test_the_variance_of_the_seeds_is_corrected_by_hand() -> None:
    first, second = [seed(60), seed(70), seed(92)], [seed(50)] * 3
    found = resplit_test(first, second, [{}] * 3, RATIO)
    half = stats.t.ppf(0.975, 2) * math.sqrt((1 / 3 + RATIO) * np.var([0.1, 0.2, 0.42], ddof=1))
    assert found.difference == pytest.approx(0.24)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.24 - half, 0.24 + half))
    assert found.p_value == pytest.approx(2 * stats.t.sf(0.24 / half * stats.t.ppf(0.975, 2), 2), abs=1e-4)


def test_seeds_that_agree_by_chance_leave_open_what_their_images_do() -> None:
    found = resplit_interval([seed(80), seed(80)], [{}] * 2, RATIO)
    alone = score_interval(seed(80))
    assert found.high - found.low == pytest.approx(math.sqrt(1 / 2 + RATIO) * (alone.high - alone.low), rel=0.05)
    assert (found.seeds, found.units) == (2, 100)
    assert resplit_test([seed(81), seed(81)], [seed(80), seed(80)], [{}] * 2, RATIO).p_value > 0.05


# -- simulated studies -------------------------------------------------------------------------

IMAGES, PER_CLASS = 100, 50


def learn(x: np.ndarray, train: np.ndarray, shift: int = 0) -> np.ndarray:
    """Two prototypes: of either class the first training image, or another one. Which it is matters a lot."""
    return np.stack([x[train[train < PER_CLASS][shift]], x[train[train >= PER_CLASS][shift]]])


def right(prototypes: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (((x[:, None] - prototypes) ** 2).sum(2).argmin(1) == y)[None]


def draw(rng: np.random.Generator, images: int = IMAGES) -> tuple[np.ndarray, np.ndarray]:
    y = np.repeat([0, 1], images // 2)
    return rng.normal(0, 1, (images, 4)) + 1.5 * y[:, None], y


def split(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    test = np.concatenate([rng.permutation(PER_CLASS)[:10], PER_CLASS + rng.permutation(PER_CLASS)[:10]])
    return rng.permutation(np.setdiff1d(np.arange(IMAGES), test)), test


def test_the_interval_is_about_other_images_to_train_on_which_that_of_one_split_is_not() -> None:
    rng = np.random.default_rng(0)
    truth = np.mean([right(x[[0, 500]], x, y).mean() for x, y in (draw(rng, 1000) for _ in range(300))])
    held = {"resplit": 0, "one split": 0}
    for _ in range(300):
        x, y = draw(rng)
        splits = [split(rng) for _ in range(5)]
        seeds = [right(learn(x, train), x[test], y[test]) for train, test in splits]
        found = resplit_interval(seeds, [{}] * 5, RATIO)
        held["resplit"] += found.low <= truth <= found.high
        one = score_interval(np.repeat(seeds[0], 5, axis=0))  # this learner does the same with every seed
        held["one split"] += one.low <= truth <= one.high
    error = 3 * math.sqrt(0.05 * 0.95 / 300)
    assert held["resplit"] / 300 >= 0.95 - error
    assert held["one split"] / 300 < 0.9


def test_methods_that_are_equally_good_are_told_apart_no_more_often_than_claimed() -> None:
    rng, found = np.random.default_rng(1), []
    for _ in range(300):
        x, y = draw(rng)
        splits = [split(rng) for _ in range(4)]
        one, other = ([right(learn(x, train, k), x[test], y[test]) for train, test in splits] for k in (0, 1))
        found.append(resplit_test(one, other, [{}] * 4, RATIO).p_value < 0.05)
    assert np.mean(found) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)


# -- in a study --------------------------------------------------------------------------------


def test_seeds_are_paired_within_themselves_and_all_of_them_count(make_study) -> None:
    writer = make_study(seeds=3, methods=("moco", "random"), sizes=("all",), lrs=(0.06,), augmentations=("weak",))
    for number in range(3):
        for method in ("moco-resnet18-weak-lr0.06", "random-resnet18"):
            file = writer.path / f"cells/{method}-nall-s{number}/embeddings.npz"
            with np.load(file) as arrays:
                moved = {**arrays, "indices": arrays["indices"] + number}
            np.savez(file, **moved)
    assert [c.interval for c in answer(writer.path).choices] == [None, None]  # a study with one split has no such seeds
    (writer.path / "config.toml").write_text('format = 2\ndata = "digits"\nresplit = true\n')
    found = answer(writer.path)
    assert [c.interval.seeds for c in found.choices] == [3, 3]
    (pair,) = found.pairwise
    accuracies = [c.test_score for c in found.choices]
    assert pair.test.difference == pytest.approx(accuracies[0] - accuracies[1])
    assert (pair.test.interval.seeds, pair.test.interval.units) == (3, 360)
    wide = "Intervals are wide because they rest on 3 seeds: more seeds or more test images narrow them."
    assert wide in found.caveats


def test_given_test_images_are_not_called_a_seeds_own(make_study) -> None:
    """With them --resplit divides the others alone."""
    writer = make_study(seeds=2, methods=("moco", "random"), sizes=("all",), lrs=(0.06,), augmentations=("weak",))
    (writer.path / "config.toml").write_text('format = 2\ndata = "digits"\nresplit = true\n')
    described = json.loads((writer.path / "dataset.json").read_text())
    for given in (True, False):
        (writer.path / "dataset.json").write_text(json.dumps(described | {"test_given": given}))
        visible = PageReader(write_report(writer.path).read_text(encoding="utf-8")).visible
        assert ("over 2 seeds and 360 test images)" in visible) == given
        assert ("Paired over the test images and the seeds" in visible) == given
        assert ("2 seeds say little" in visible) == given
        assert ("divided anew for each seed but for the test." in visible) == given
