"""Evaluators: what is computed of every trained network, one file each; a file declares the columns that it fills."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from selfsup import registry
from selfsup.evaluation.base import Column, Evaluated, Evaluator

if TYPE_CHECKING:
    from selfsup.evaluation.evaluation_context import EvaluationContext


def load_evaluators() -> dict[str, Evaluator]:
    """All evaluators by name, in their order."""
    found: dict[str, Evaluator] = {
        name: registry.load(registry.EVALUATOR, name) for name in registry.names(registry.EVALUATOR)
    }
    return dict(sorted(found.items(), key=lambda pair: pair[1].order))


def measures() -> tuple[Column, ...]:
    """The columns that need no labels and say which values are better."""
    return tuple(
        column
        for evaluator in load_evaluators().values()
        for column in evaluator.columns
        if column.better is not None and not evaluator.needs_labels
    )


def evaluate(cell: EvaluationContext, requested: Sequence[str]) -> Evaluated:
    """What the evaluators find out about a cell: those for every cell, and those in `requested`.

    An evaluator whose numbers cannot be computed of this embedding leaves its columns empty, with a warning.

    Raises
    ------
    ArithmeticError, LinAlgError
        If so there is no prediction for any image.
    UserError
        If one of them gives a value for a column that it does not declare.
    """
    from numpy.linalg import LinAlgError
    from torch.linalg import LinAlgError as TorchLinAlgError  # type: ignore[attr-defined]

    found = Evaluated({})
    failure: Exception | None = None
    for name, evaluator in load_evaluators().items():
        applies = evaluator.applies(labelled=cell.labelled, several=cell.several)
        if not (applies and (evaluator.default or name in requested)):
            continue
        try:
            more = evaluator.evaluate(cell)
        except (ArithmeticError, LinAlgError, TorchLinAlgError) as error:
            warnings.warn(f"{name} cannot be computed of this embedding ({error})", stacklevel=2)
            failure = error
            continue
        registry.require(more.values, [column.name for column in evaluator.columns], kind=f"column of {name}:")
        found = Evaluated(
            {**found.values, **more.values},
            {**found.extras, **more.extras},
            {**found.arrays, **more.arrays},
            more.predicted if found.predicted is None else found.predicted,
            more.confidence if found.confidence is None else found.confidence,
        )
    if failure is not None and found.predicted is None:
        raise failure
    return found
