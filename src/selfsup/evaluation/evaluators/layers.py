"""The linear probe on the best of the network's last levels, which need not be the very last."""

from __future__ import annotations

import numpy as np

from selfsup.evaluation.base import Column, Evaluated, Evaluator
from selfsup.evaluation.evaluation_context import EvaluationContext
from selfsup.evaluation.linear_probe import fit_linear_probe


def _evaluate(cell: EvaluationContext) -> Evaluated:
    """Fit a probe on each level, choose on validation, quote on test; of equally good levels the last."""
    train, val, test = cell.train, cell.val, cell.test
    places = np.concatenate([part.indices for part in (train, val, test)])
    ends = np.cumsum([len(train.indices), len(val.indices)])
    levels = [level.cpu().numpy() for level in cell.network.outputs(cell.network.backbone.levels, places)]
    probes = []
    # Without validation images nothing can be chosen.
    for number, level in enumerate(reversed(levels if len(val.indices) else levels[-1:])):
        train_x, val_x, test_x = np.split(level, ends)
        probe = fit_linear_probe(
            train_x, train.y, val_x, val.y,
            num_classes=len(cell.classes), solver=cell.config.probe, device=cell.device, seed=cell.seed,
        )  # fmt: skip
        probes.append((probe.val_score, number, float((probe.predict(test_x) == test.y).mean())))
    _, layer, accuracy = max(probes, key=lambda found: found[0])
    return Evaluated({"layer_accuracy": accuracy, "layer": layer})


COLUMNS = (
    Column("layer_accuracy", "linear probe on the best level, test accuracy: with `--evaluate layers`, of the pooled "
           "outputs of the network's last four stages or blocks, that with the best validation accuracy",
           heading="best level", better="higher"),
    Column("layer", "this level, counted from the last, which is 0", int, form=".4g"),
)  # fmt: skip
evaluator = Evaluator(_evaluate, COLUMNS, needs_labels=True, order=94)
