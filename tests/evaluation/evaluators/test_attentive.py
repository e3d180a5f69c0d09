"""The attentive probe of a cell: fitted on patches of train, chosen on validation, quoted on test."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from selfsup.evaluation.attentive_probe import fit_attentive_probes
from selfsup.evaluation.evaluation_context import EvaluationContext, Part
from selfsup.evaluation.evaluators import attentive
from selfsup.evaluation.linear_probe import CS
from selfsup.testing.backbones import tiny_transformer
from selfsup.testing.evaluators import evaluation_of_digits


def cell_of_patches(val: bool = True) -> EvaluationContext:
    """The digits, seen by a transformer that has learnt nothing."""
    cell = evaluation_of_digits() if val else evaluation_of_digits(val=np.empty(0, np.int64))
    torch.manual_seed(0)
    return replace(cell, network=replace(cell.network, backbone=tiny_transformer()))


def patches(cell: EvaluationContext, part: Part) -> Tensor:
    (found,) = cell.network.outputs(lambda images: [cell.network.backbone.tokens(images).patches], part.indices)
    return found


def test_the_penalty_is_chosen_on_validation_and_quoted_on_test() -> None:
    cell = cell_of_patches()
    probes = fit_attentive_probes(patches(cell, cell.train), torch.tensor(cell.train.y), CS, num_classes=10)

    def accuracy(number: int, part: Part) -> float:
        return float((probes[number].logits(patches(cell, part)).argmax(dim=1).numpy() == part.y).mean())

    validated = [accuracy(number, cell.val) for number in range(len(CS))]
    best = validated.index(max(validated))  # of equals the most regularised
    assert min(validated) < max(validated)
    assert attentive.evaluator.evaluate(cell).values == {
        "attentive_accuracy": pytest.approx(accuracy(best, cell.test)),
        "attentive_val_accuracy": pytest.approx(validated[best]),
        "attentive_strength": CS[best],
    }
    assert accuracy(best, cell.test) > 0.4


def test_without_validation_images_the_penalty_is_scikit_learns_default() -> None:
    found = attentive.evaluator.evaluate(cell_of_patches(val=False)).values
    assert found["attentive_strength"] == 1
    assert math.isnan(found["attentive_val_accuracy"])
    assert found["attentive_accuracy"] > 0.4


def test_what_fits_into_the_memory_is_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of images with 16 patches of width 24, and classes of which not all may be among them."""
    seen = []

    def fit(patches: Tensor, y: Tensor, *others, **options):  # type: ignore[no-untyped-def]
        seen.append((patches.shape, options["num_classes"]))
        return fit_attentive_probes(patches, y, *others, **options)

    monkeypatch.setattr(attentive, "fit_attentive_probes", fit)
    monkeypatch.setattr(attentive, "MOST_ENTRIES", 12 * 16 * 24 + 5)
    cell = cell_of_patches()
    found = attentive.evaluator.evaluate(cell)
    ((shape, classes),) = seen
    assert shape == (12, 16, 24)
    assert classes < 10
    assert 0.1 < found.values["attentive_accuracy"] < 0.9


def test_it_is_evaluated_where_it_is_asked_for() -> None:
    assert not attentive.evaluator.default
