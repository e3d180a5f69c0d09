"""Signals of a training are what their definitions say, on batches whose values are known."""

from __future__ import annotations

import math

import pytest
import torch

from selfsup.evaluation.evaluators.structure import effective_rank
from selfsup.methods import Step
from selfsup.training.diagnostics import batch_rank, collapse_epoch, embedding_std, pair_similarity, step_signals

# -- embedding std ---------------------------------------------------------------------------------


def test_embedding_std_is_zero_where_all_images_are_one_point() -> None:
    assert embedding_std(torch.randn(1, 64).expand(100, -1)).item() == pytest.approx(0, abs=1e-6)
    # Also where they differ in length alone.
    assert embedding_std(torch.randn(1, 64) * torch.rand(100, 1)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("width", [2, 64, 512])
def test_embedding_std_is_one_for_a_gaussian(width: int) -> None:
    assert embedding_std(torch.randn(4000, width)).item() == pytest.approx(1, abs=0.03)


def test_embedding_std_is_the_mean_deviation_of_unit_vectors_times_the_root_of_the_width() -> None:
    embedding = torch.randn(50, 7) + 1
    unit = embedding.double().numpy()
    unit /= (unit**2).sum(axis=1, keepdims=True) ** 0.5
    assert embedding_std(embedding).item() == pytest.approx(unit.std(axis=0).mean() * math.sqrt(7), rel=1e-5)


def test_embedding_std_of_a_half_precision_embedding_is_computed_in_float32() -> None:
    assert embedding_std(torch.randn(50, 7).bfloat16()).dtype == torch.float32


# -- similarities ----------------------------------------------------------------------------------


def test_similarities_are_the_means_over_all_pairs() -> None:
    first, second = torch.randn(9, 5), torch.randn(9, 5)
    cosines = torch.nn.functional.cosine_similarity(first[:, None], second[None], dim=2)
    positive, negative = pair_similarity(first, second)
    assert positive.item() == pytest.approx(cosines.diagonal().mean().item(), abs=1e-6)
    assert negative.item() == pytest.approx(cosines[~torch.eye(9, dtype=bool)].mean().item(), abs=1e-6)


def test_views_that_agree_are_similar_and_images_at_right_angles_are_not() -> None:
    positive, negative = pair_similarity(torch.eye(4), 3 * torch.eye(4))
    assert (positive.item(), negative.item()) == (1, 0)


def test_a_batch_of_one_image_has_no_negatives() -> None:
    positive, negative = pair_similarity(torch.ones(1, 3), torch.ones(1, 3))
    assert positive.item() == pytest.approx(1)
    assert math.isnan(negative.item())


# -- rank ------------------------------------------------------------------------------------------


def test_the_rank_of_a_batch_is_rankme() -> None:
    embedding = torch.randn(40, 24) * torch.linspace(0.1, 2, 24)
    assert batch_rank(embedding) == pytest.approx(effective_rank(embedding.numpy()), rel=1e-4)
    assert batch_rank(embedding.bfloat16()) == pytest.approx(batch_rank(embedding), rel=1e-2)


def test_a_collapsed_batch_has_rank_one_and_a_broken_one_none() -> None:
    assert batch_rank(torch.ones(10, 4)) == pytest.approx(1, abs=1e-3)
    assert math.isnan(batch_rank(torch.tensor([[1.0, math.nan], [0.0, 1.0]])))


# -- together --------------------------------------------------------------------------------------


def test_the_signals_of_a_step_are_loss_spread_and_similarities() -> None:
    embedding, pair = torch.randn(8, 6, requires_grad=True), (torch.randn(8, 3), torch.randn(8, 3))
    signals = step_signals(Step(embedding.sum(), embedding, pair))
    expected = [embedding.sum(), embedding_std(embedding), *pair_similarity(*pair)]
    assert signals.tolist() == [value.item() for value in expected]
    assert not signals.requires_grad
    assert step_signals(Step(embedding.sum(), embedding)).isnan().tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ("feature_stds", "epoch"),
    [
        ([0.9, 0.5, 0.001, 0.0], 3),
        ([0.0, 0.0], 1),
        ([0.9, 0.001, 0.5], None),  # it recovered
        ([0.001, 0.5, 0.001], 3),
        ([0.9], None),
        ([], None),
    ],
)
def test_a_collapse_begins_where_the_spread_stays_small(feature_stds: list[float], epoch: int | None) -> None:
    assert collapse_epoch(feature_stds) == epoch
