"""Weighted nearest neighbours against a loop over all pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from selfsup.evaluation.evaluators.knn import NEIGHBOURS, TEMPERATURE, knn_predict, knn_predict_each


def by_loops(
    train_x: np.ndarray, train_y: np.ndarray, test_x: np.ndarray, num_classes: int, k: int, temperature: float
) -> list[int]:
    """Wu et al. 2018, section 3.4: the k nearest by cosine vote with exp(cosine / temperature)."""
    predicted = []
    for image in test_x:
        cosines = [float(image @ other / np.linalg.norm(image) / np.linalg.norm(other)) for other in train_x]
        nearest = sorted(range(len(cosines)), key=lambda i: -cosines[i])[:k]
        votes = [0.0] * num_classes
        for i in nearest:
            votes[train_y[i]] += math.exp(cosines[i] / temperature)
        predicted.append(max(range(num_classes), key=lambda label: votes[label]))
    return predicted


def cloud(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    centres = np.random.default_rng(0).normal(size=(4, 6))
    return (centres[labels] + rng.normal(size=(n, 6))).astype(np.float32), labels


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (5, 0.07), (20, 0.07), (20, 1.0), (200, 0.5)])
def test_predictions_are_those_of_the_loop(k: int, temperature: float) -> None:
    (train_x, train_y), (test_x, test_y) = cloud(120, 1), cloud(80, 2)
    expected = by_loops(train_x, train_y, test_x, 4, min(k, 120), temperature)
    predicted = knn_predict(train_x, train_y, test_x, num_classes=4, k=k, temperature=temperature)
    assert predicted.tolist() == expected
    assert 0.5 < (predicted == test_y).mean() < 1


def test_the_defaults_are_the_papers_temperature_and_twenty_neighbours() -> None:
    assert (NEIGHBOURS, TEMPERATURE) == (20, 0.07)
    (train_x, train_y), (test_x, _) = cloud(120, 1), cloud(80, 2)
    expected = by_loops(train_x, train_y, test_x, 4, 20, 0.07)
    assert knn_predict(train_x, train_y, test_x, num_classes=4).tolist() == expected


def test_the_size_of_the_chunks_changes_nothing() -> None:
    (train_x, train_y), (test_x, _) = cloud(50, 1), cloud(33, 2)
    whole = knn_predict(train_x, train_y, test_x, num_classes=4)
    assert (knn_predict(train_x, train_y, test_x, num_classes=4, chunk=7) == whole).all()


def test_near_neighbours_outweigh_a_majority_of_far_ones() -> None:
    train_x = np.array([[1.0, 0.0], [0.5, 1.0], [0.5, 1.0]])
    assert knn_predict(train_x, np.array([0, 1, 1]), np.array([[1.0, 0.1]]), num_classes=2).tolist() == [0]
    # At a temperature at which all weigh the same, the majority wins.
    far = knn_predict(train_x, np.array([0, 1, 1]), np.array([[1.0, 0.1]]), num_classes=2, temperature=100)
    assert far.tolist() == [1]


def test_directions_count_and_lengths_do_not() -> None:
    (train_x, train_y), (test_x, _) = cloud(50, 1), cloud(33, 2)
    lengths = np.random.default_rng(3).uniform(0.1, 10, (50, 1))
    stretched = knn_predict(train_x * lengths, train_y, test_x, num_classes=4)
    assert (stretched == knn_predict(train_x, train_y, test_x, num_classes=4)).all()


def test_fewer_training_images_than_neighbours_all_vote() -> None:
    assert knn_predict(np.array([[1.0, 0.0]]), np.array([2]), np.array([[0.0, 1.0]] * 3), num_classes=3).tolist() == [
        2,
        2,
        2,
    ]


def test_a_zero_embedding_is_no_crash() -> None:
    predicted = knn_predict(np.zeros((3, 2)), np.array([0, 1, 1]), np.zeros((1, 2)), num_classes=2)
    assert predicted.tolist() == [1]


def test_at_a_temperature_near_zero_the_nearest_alone_decides() -> None:
    (train_x, train_y), (test_x, _) = cloud(120, 1), cloud(80, 2)
    predicted = knn_predict(train_x, train_y, test_x, num_classes=4, temperature=1e-4)
    assert predicted.tolist() == by_loops(train_x, train_y, test_x, 4, 1, TEMPERATURE)


def test_several_numbers_of_neighbours_at_once_are_each_as_alone() -> None:
    (train_x, train_y), (test_x, _) = cloud(60, 1), cloud(33, 2)
    ks = (200, 1, 7)
    each = knn_predict_each(train_x, train_y, test_x, ks, num_classes=4)
    for k, predicted in zip(ks, each, strict=True):
        assert predicted.tolist() == by_loops(train_x, train_y, test_x, 4, k, 0.07)
