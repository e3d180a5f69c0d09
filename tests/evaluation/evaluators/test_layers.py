"""The linear probe on the best of the last levels, chosen on validation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from selfsup.evaluation.evaluation_context import EvaluationContext
from selfsup.evaluation.evaluators import evaluate
from selfsup.evaluation.evaluators.layers import evaluator
from selfsup.evaluation.linear_probe import fit_linear_probe
from selfsup.testing.evaluators import evaluation_of_digits


def cell_of_levels(*sides: int, val: bool = True) -> EvaluationContext:
    """The digits, which a network shows as levels: as images of so many pixels' side, whose classes are seen or not."""
    cell = evaluation_of_digits() if val else evaluation_of_digits(val=np.empty(0, np.int64))

    def levels(images: Tensor) -> list[Tensor]:
        return [torch.nn.functional.adaptive_avg_pool2d(images.mean(1), side).flatten(1) for side in sides]

    cell.network.backbone.levels = levels  # type: ignore[method-assign]
    return cell


@pytest.mark.parametrize(("sides", "layer"), [((8, 1, 2), 2), ((1, 8, 2), 1), ((1, 2, 8), 0), ((8, 8, 1), 1)])
def test_the_level_that_tells_the_classes_is_found_wherever_it_is(sides: tuple[int, ...], layer: int) -> None:
    cell = cell_of_levels(*sides)
    columns = evaluator.evaluate(cell).values
    train, val, test = (
        cell.network.backbone.levels(cell.network.images.batch(part.indices)[0] / 255)[-1 - layer].numpy()
        for part in (cell.train, cell.val, cell.test)
    )
    probe = fit_linear_probe(train, cell.train.y, val, cell.val.y, num_classes=10)
    assert columns["layer"] == layer
    assert columns["layer_accuracy"] == pytest.approx((probe.predict(test) == cell.test.y).mean())
    assert columns["layer_accuracy"] > 0.8


def test_without_validation_images_it_is_the_last() -> None:
    columns = evaluator.evaluate(cell_of_levels(8, 1, val=False)).values
    assert columns["layer"] == 0
    assert columns["layer_accuracy"] < 0.4


def test_it_is_evaluated_where_it_is_asked_for() -> None:
    cell = cell_of_levels(8, 1)
    assert "layer" not in evaluate(cell, ()).values
    assert evaluate(cell, ("layers",)).values["layer"] == 1
