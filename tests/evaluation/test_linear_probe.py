"""The linear probe is scikit-learn's optimum, with the penalty that validation chooses."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from selfsup.evaluation import linear_probe
from selfsup.evaluation.linear_probe import CS, DEFAULT_SGD_RATE, SGD_RATES, LinearProbe, fit_linear_probe

NOTHING = np.empty((0, 64)), np.empty(0, np.int64)


def digits(*classes: int, per_class: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels as features, the first images of some classes; their labels count from 0."""
    data = load_digits()
    rows = [np.flatnonzero(data.target == label)[:per_class] for label in classes]
    features = data.data[np.concatenate(rows)].astype(np.float32)
    return features, np.repeat(np.arange(len(classes)), [len(r) for r in rows])


def halves(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, ...]:
    return features[::2], labels[::2], features[1::2], labels[1::2]


def reference(C: float, x: np.ndarray, y: np.ndarray) -> LogisticRegression:
    return make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=5000, tol=1e-8)).fit(x, y)


def penalised_loss(x: np.ndarray, y: np.ndarray, weight: np.ndarray, bias: np.ndarray, C: float) -> float:
    """What multinomial logistic regression minimises: sum of -log p(true class), plus |W|^2 / 2C."""
    total = (weight**2).sum() / (2 * C)
    for row, label in zip(x @ weight.T + bias, y, strict=True):
        total += np.log(np.exp(row - row.max()).sum()) + row.max() - row[label]
    return float(total)


@pytest.mark.parametrize("classes", [(0, 1, 2, 3, 4), (8, 3)])
def test_probabilities_are_scikit_learns(classes: tuple[int, ...]) -> None:
    train_x, train_y, test_x, _ = halves(*digits(*classes, per_class=60))
    probe = fit_linear_probe(train_x, train_y, *NOTHING, num_classes=len(classes))
    expected = reference(1, train_x, train_y).predict_proba(test_x)
    np.testing.assert_allclose(probe.probabilities(test_x), expected, atol=1e-3)
    assert (probe.predict(test_x) == expected.argmax(axis=1)).all()


def test_the_chosen_solution_is_the_optimum_of_its_strength() -> None:
    train_x, train_y, val_x, val_y = halves(*digits(0, 1, 2, 3, 4, per_class=60))
    probe = fit_linear_probe(train_x, train_y, val_x, val_y, num_classes=5)
    optimum = reference(probe.C, train_x, train_y)[-1]
    x = (train_x - probe.mean) / probe.scale
    found = penalised_loss(x, train_y, probe.weight, probe.bias, probe.C)
    best = penalised_loss(x, train_y, optimum.coef_, optimum.intercept_, probe.C)
    nothing_learnt = penalised_loss(x, train_y, 0 * probe.weight, 0 * probe.bias, probe.C)
    assert abs(found - best) < 1e-6 * (nothing_learnt - best)
    assert probe.val_score == (probe.predict(val_x) == val_y).mean() > 0.8


def test_the_strength_is_the_best_on_validation_and_of_equals_the_most_regularised() -> None:
    train_x, train_y, val_x, val_y = halves(*digits(1, 7, 8, 9, per_class=16))
    probe = fit_linear_probe(train_x, train_y, val_x, val_y, num_classes=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        accuracy = {c: reference(c, train_x, train_y).score(val_x, val_y) for c in CS}
    best = max(accuracy.values())
    assert min(accuracy.values()) < best  # else there was nothing to choose
    assert min(c for c in CS if accuracy[c] == best) == probe.C
    assert probe.val_score == best


def test_without_validation_images_the_strength_is_scikit_learns_default() -> None:
    train_x, train_y = digits(0, 1, 2, per_class=20)
    probe = fit_linear_probe(train_x, train_y, *NOTHING, num_classes=3)
    assert probe.C == 1
    assert np.isnan(probe.val_score)
    expected = reference(1, train_x, train_y).predict_proba(train_x)
    np.testing.assert_allclose(probe.probabilities(train_x), expected, atol=1e-3)


def test_a_class_without_training_images_is_never_predicted() -> None:
    train_x, train_y = digits(0, 1, 2, per_class=20)
    train_y[train_y == 1] = 3  # classes 0, 2 and 3 of five
    probe = fit_linear_probe(train_x, train_y, train_x, train_y, num_classes=5)
    probabilities = probe.probabilities(train_x)
    assert probabilities.shape == (60, 5)
    assert (probabilities[:, [1, 4]] == 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (probe.predict(train_x) == train_y).all()


def test_two_classes_of_three_are_told_apart() -> None:
    train_x, train_y = digits(0, 1, per_class=20)
    train_y *= 2
    probe = fit_linear_probe(train_x, train_y, train_x, train_y, num_classes=3)
    expected = reference(probe.C, train_x, train_y).predict_proba(train_x)
    np.testing.assert_allclose(probe.probabilities(train_x)[:, [0, 2]], expected, atol=2e-3)


def test_a_single_class_is_predicted_with_certainty() -> None:
    train_x, _ = digits(4, per_class=6)
    probe = fit_linear_probe(train_x, np.full(6, 2), train_x, np.full(6, 2), num_classes=4)
    assert probe.probabilities(train_x).tolist() == [[0, 0, 1, 0]] * 6
    assert probe.val_score == 1


def test_one_image_per_class_is_enough() -> None:
    train_x, train_y = digits(0, 1, 2, per_class=1)
    probe = fit_linear_probe(train_x, train_y, *NOTHING, num_classes=3)
    assert probe.predict(train_x).tolist() == [0, 1, 2]


def test_dimensions_that_never_vary_change_nothing() -> None:
    train_x, train_y, val_x, val_y = halves(*digits(0, 1, 2, per_class=30))
    constant = np.full((len(train_x), 3), 7.25, np.float32)
    padded = fit_linear_probe(
        np.hstack([train_x, constant]), train_y, np.hstack([val_x, constant]), val_y, num_classes=3
    )
    plain = fit_linear_probe(train_x, train_y, val_x, val_y, num_classes=3)
    np.testing.assert_allclose(
        padded.probabilities(np.hstack([val_x, constant])), plain.probabilities(val_x), atol=1e-3
    )


def test_embeddings_that_never_vary_at_all_give_the_shares_of_the_classes() -> None:
    probe = fit_linear_probe(np.ones((8, 5), np.float32), np.array([0, 1, 1, 1] * 2), *NOTHING, num_classes=2)
    np.testing.assert_allclose(probe.probabilities(np.ones((1, 5)))[0], [0.25, 0.75], atol=1e-3)


def test_the_scale_of_an_embedding_does_not_matter() -> None:
    train_x, train_y, val_x, val_y = halves(*digits(0, 1, 2, per_class=30))
    small = fit_linear_probe(train_x * 1e-3, train_y, val_x * 1e-3, val_y, num_classes=3)
    large = fit_linear_probe(train_x * 1e3 + 10, train_y, val_x * 1e3 + 10, val_y, num_classes=3)
    np.testing.assert_allclose(small.probabilities(val_x * 1e-3), large.probabilities(val_x * 1e3 + 10), atol=1e-3)


def test_probabilities_of_extreme_embeddings_do_not_overflow() -> None:
    probe = LinearProbe(np.zeros(1), np.ones(1), np.array([[1e6], [-1e6]]), np.zeros(2), 1.0, 1.0)
    assert probe.probabilities(np.array([[1.0], [-1.0]])).tolist() == [[1, 0], [0, 1]]


def test_very_many_probabilities_are_single_precision_and_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    train_x, train_y, test_x, _ = halves(*digits(0, 1, 2, 3, 4, per_class=60))
    probe = fit_linear_probe(train_x, train_y, *NOTHING, num_classes=6)
    assert test_x.shape == (150, 64)
    expected, predicted = probe.probabilities(test_x), probe.predict(test_x)
    monkeypatch.setattr(linear_probe, "MOST_ENTRIES", 40 * 6)  # 40 images at once
    found = probe.probabilities(test_x)
    assert (expected.dtype, found.dtype) == (np.float64, np.float32)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)
    classes, probability = probe.most_probable(test_x)
    assert (classes == predicted).all() and (probe.predict(test_x) == predicted).all()
    np.testing.assert_allclose(probability, expected.max(axis=1))


def test_a_temperature_divides_the_logits_of_the_most_probable_class() -> None:
    probe = LinearProbe(np.zeros(1), np.ones(1), np.array([[3.0], [0.0]]), np.zeros(2), 1.0, 1.0)
    classes, probability = probe.most_probable(np.array([[1.0], [-2.0]]), 2.0)
    assert classes.tolist() == [0, 1]
    np.testing.assert_allclose(probability, 1 / (1 + np.exp([-1.5, -3])))


def test_the_sgd_probe_is_about_as_good_and_its_rate_is_the_best_on_validation() -> None:
    train_x, train_y, val_x, val_y = halves(*digits(1, 7, 8, 9, per_class=60))
    probe = fit_linear_probe(train_x, train_y, val_x, val_y, num_classes=4, solver="sgd")
    optimum = fit_linear_probe(train_x, train_y, val_x, val_y, num_classes=4)
    assert probe.C in SGD_RATES
    assert probe.val_score == (probe.predict(val_x) == val_y).mean()
    assert abs(probe.val_score - optimum.val_score) < 0.05


def test_the_sgd_probe_without_validation_images_has_its_default_rate() -> None:
    train_x, train_y = digits(0, 1, 2, per_class=20)
    probe = fit_linear_probe(train_x, train_y, *NOTHING, num_classes=3, solver="sgd")
    assert probe.C == DEFAULT_SGD_RATE
    assert (probe.predict(train_x) == train_y).all()


def test_the_sgd_probe_is_the_same_for_the_same_seed() -> None:
    train_x, train_y = digits(0, 1, 2, per_class=100)
    first, same, other = (
        fit_linear_probe(train_x, train_y, *NOTHING, num_classes=3, solver="sgd", seed=seed) for seed in (4, 4, 5)
    )
    assert (first.weight == same.weight).all()
    assert (first.weight != other.weight).any()


def labelled_digits(*classes: int, per_class: int) -> tuple[np.ndarray, np.ndarray]:
    """Digits, and which labels they have: even, with a hole, at least seven, and one that none has."""
    x, y = digits(*classes, per_class=per_class)
    digit = np.array(sorted(classes))[y]
    return x, np.stack([digit % 2 == 0, np.isin(digit, (0, 6, 8, 9)), digit >= 7, digit < 0], axis=1)


def test_a_probe_of_several_labels_is_scikit_learns_of_each_against_the_rest() -> None:
    train_x, train_y, val_x, val_y = halves(*labelled_digits(0, 3, 6, 7, 8, 9, per_class=12))
    probe = fit_linear_probe(train_x, train_y, val_x, val_y, num_classes=4)

    def expected(C: float, x: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            columns = [reference(C, train_x, train_y[:, label]).predict_proba(x)[:, 1] for label in range(3)]
        return np.stack(columns, axis=1)

    scores = {C: average_precision_score(val_y[:, :3], expected(C, val_x)) for C in CS}
    assert min(C for C in CS if scores[C] == max(scores.values())) == probe.C
    assert probe.val_score == pytest.approx(max(scores.values()))
    np.testing.assert_allclose(probe.probabilities(val_x)[:, :3], expected(probe.C, val_x), atol=2e-3)
    assert (probe.probabilities(val_x)[:, 3] == 0).all()
    assert (probe.predict(val_x) == (probe.probabilities(val_x) >= 0.5)).all()


def test_the_sgd_probe_of_several_labels_comes_near_the_optimum() -> None:
    parts = halves(*labelled_digits(0, 3, 6, 7, 8, 9, per_class=12))
    sgd, optimum = (fit_linear_probe(*parts, num_classes=4, solver=solver) for solver in ("sgd", "logistic"))
    assert sgd.several and sgd.val_score > optimum.val_score - 0.05
