"""Few-shot accuracies are those of separate probes on separate draws."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from selfsup.evaluation.evaluators import few_shot as module
from selfsup.evaluation.evaluators.few_shot import DRAWS, SHOTS, drawable, draws_of, few_shot
from selfsup.evaluation.linear_probe import fit_linear_probe

DATA = load_digits()
X, Y = DATA.data.astype(np.float32), DATA.target.astype(np.int64)
TRAIN, TEST = slice(0, 300), slice(300, 500)


def digits(**options):  # type: ignore[no-untyped-def]
    return few_shot(X[TRAIN], Y[TRAIN], X[TEST], Y[TEST], **options)


def test_more_images_per_class_are_better_and_vary_less() -> None:
    found = digits()
    assert [shot.k for shot in found] == list(SHOTS) == [1, 5, 10]
    assert [shot.draws for shot in found] == [DRAWS] * 3
    one, five, ten = found
    assert 0.3 < one.mean < five.mean < ten.mean < 1
    assert one.sd > ten.sd > 0


def test_a_draw_is_a_probe_on_k_images_of_each_class() -> None:
    """With all but one image of each class in every draw, draws come near to the probe on all of them."""
    per_class = [np.flatnonzero(Y[:300] == label)[:8] for label in range(10)]
    rows = np.concatenate(per_class)
    (found,) = few_shot(X[rows], Y[rows], X[TEST], Y[TEST], shots=(7,))
    nothing = np.empty((0, 64)), np.empty(0, np.int64)
    whole = fit_linear_probe(X[rows], Y[rows], *nothing, num_classes=10)
    assert found.mean == pytest.approx((whole.predict(X[TEST]) == Y[TEST]).mean(), abs=0.04)


def test_mean_and_deviation_are_over_the_draws() -> None:
    (two,) = digits(shots=(1,), draws=2)
    (many,) = digits(shots=(1,), draws=40)
    # Two values a and b: their mean, and |a - b| / sqrt(2).
    low, high = two.mean - two.sd / np.sqrt(2), two.mean + two.sd / np.sqrt(2)
    assert low * 200 == pytest.approx(round(low * 200), abs=1e-6)
    assert high * 200 == pytest.approx(round(high * 200), abs=1e-6)
    assert two.mean == pytest.approx(many.mean, abs=5 * many.sd)


def test_a_class_with_no_more_than_k_images_leaves_that_k_out() -> None:
    rows = np.concatenate([np.flatnonzero(Y[:300] == label)[:5] for label in range(10)])
    assert [shot.k for shot in few_shot(X[rows], Y[rows], X[TEST], Y[TEST])] == [1]


def test_of_very_many_classes_there_are_fewer_draws() -> None:
    assert drawable([11] * 20_000) == [1, 5, 10]
    assert [draws_of(k, 70) for k in SHOTS] == [20, 20, 20]
    assert [draws_of(k, 300) for k in SHOTS] == [11, 3, 3]
    assert [draws_of(k, 20_000) for k in SHOTS] == [3, 3, 3]


def test_the_draws_that_were_made_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALL_LOGITS", 10 * 10 * 7)
    assert [shot.draws for shot in digits(shots=(1, 5))] == [7, 3]
    (fewer,) = digits(shots=(1,))
    monkeypatch.undo()
    assert fewer == digits(shots=(1,), draws=7)[0]


def test_the_seed_draws_the_images_whatever_the_embedding() -> None:
    assert digits() == digits()
    assert digits(seed=1) != digits()
    # The same draws: an embedding twice as long is the same embedding to a standardised probe.
    twice = few_shot(2 * X[TRAIN], Y[TRAIN], 2 * X[TEST], Y[TEST])
    assert [shot.mean for shot in twice] == pytest.approx([shot.mean for shot in digits()])


def test_classes_without_training_images_are_never_predicted() -> None:
    seen = Y[:300] < 4
    (one,) = few_shot(X[:300][seen], Y[:300][seen], X[:300][~seen], Y[:300][~seen], shots=(1,))
    assert (one.mean, one.sd) == (0, 0)


def test_draws_may_be_solved_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = digits(shots=(1, 5))
    monkeypatch.setattr(module, "MOST_ENTRIES", 3 * 50 * 64)
    parts = digits(shots=(1, 5))
    monkeypatch.setattr(module, "MOST_ENTRIES", 70)
    assert digits(shots=(1,))[0].mean == pytest.approx(whole[0].mean, abs=1e-3)  # seven test images at once
    assert [shot.mean for shot in parts] == pytest.approx([shot.mean for shot in whole], abs=1e-3)
