"""The external test: the probes of a cell on images from elsewhere, which nothing is fitted to or chosen by."""

from __future__ import annotations

from selfsup.evaluation.base import Column, Evaluated, Evaluator
from selfsup.evaluation.evaluation_context import EvaluationContext
from selfsup.evaluation.evaluators.knn import knn_predict
from selfsup.evaluation.metrics import MEAN_AP, METRICS


def _evaluate(cell: EvaluationContext) -> Evaluated:
    external, classes, config = cell.external, len(cell.classes), cell.config
    if external is None:
        return Evaluated({})
    probabilities = cell.probe.probabilities(external.x)
    predicted = probabilities.argmax(axis=1)
    neighbours = knn_predict(
        cell.train.x, cell.train.y, external.x,
        num_classes=classes, k=config.knn_neighbours, temperature=config.knn_temperature,
    )  # fmt: skip
    return Evaluated(
        {
            **{
                f"external_{metric.test.removeprefix('test_')}": metric.value(external.y, probabilities)
                for metric in METRICS.values()
                if metric is not MEAN_AP
            },
            "external_knn_accuracy": float((neighbours == external.y).mean()),
        },
        arrays={"external": {"indices": external.indices, "labels": external.y, "predicted": predicted}},
    )


COLUMNS = (
    Column("external_accuracy", "linear probe, accuracy on the external test: the images of `--test-data`, without "
           "which it is empty, as are the next four", heading="external", better="higher"),
    Column("external_balanced_accuracy", "linear probe, balanced accuracy on the external test: mean over its classes",
           better="higher"),
    Column("external_macro_f1", "linear probe, macro F1 on the external test: mean over its classes", better="higher"),
    Column("external_auroc", "linear probe, area under the ROC curve on the external test: mean over its classes",
           better="higher"),
    Column("external_knn_accuracy", "weighted kNN, accuracy on the external test", better="higher"),
)  # fmt: skip
evaluator = Evaluator(_evaluate, COLUMNS, needs_labels=True, default=True, order=96)
