"""What a cell is evaluated by."""

from __future__ import annotations

from typing import Literal, cast

from pydantic import field_validator

from selfsup.config.field_roles import Fields, field
from selfsup.config.field_types import MOST_EPOCHS, Lrs, Names
from selfsup.errors import UserError

#: What methods may be chosen and compared by.
MetricName = Literal["accuracy", "balanced-accuracy", "macro-f1", "auroc", "map"]
#: Those that images with several labels can be judged by, the default first.
OF_LABELS: tuple[MetricName, ...] = ("map", "macro-f1", "auroc")


def metric_for(name: str, *, several: bool) -> MetricName:
    """What ``metric`` stands for, with ``auto`` resolved for images of which each has one label, or may have several.

    Raises
    ------
    UserError
        If images with several labels cannot be judged by it.
    """
    if name == "auto":
        return OF_LABELS[0] if several else "accuracy"
    if several and name not in OF_LABELS:
        raise UserError(
            f"--metric {name} is for images that have one label each, and these may have several; "
            f"take {', '.join(OF_LABELS[:-1])} or {OF_LABELS[-1]}."
        )
    return cast(MetricName, name)


class EvaluationFields(Fields):
    """Probes, neighbours, fine-tuning, maps."""

    evaluate: Names = field(
        ("probe",),
        "What cells are evaluated by beside what is computed of every cell: finetune (backbone and classifier), "
        "attentive (a probe on patches), layers (a probe on the best level), or others of `selfsup list evaluators`.",
        "identity",
    )
    probe: Literal["logistic", "sgd"] = field(
        "logistic", "Linear probe: penalised logistic regression, or the papers' 100 epochs of SGD.", "identity"
    )
    metric: Literal["auto", MetricName] = field(
        "auto",
        "What settings and methods are chosen by on validation, and compared by on test. auto: accuracy, or mAP where "
        "images have several labels. "
        "Stays as it is in a study until it is named again.",
        "contents",
    )
    margin: float | None = field(
        None,
        "Differences that do not matter, such as 0.01 for 1 point: say of which methods it was shown that they differ "
        "by less. Stays as it is in a study until it is named again.",
        "contents",
        gt=0,
        lt=1,
    )
    knn_neighbours: int = field(20, "Nearest neighbours that vote on a class.", "identity", ge=1)
    knn_temperature: float = field(0.07, "Temperature of the neighbours' votes.", "identity", gt=0)
    knn_every: int = field(
        0,
        "Epochs between nearest-neighbour scores of validation images in the training log; 0: none.",
        "identity",
        ge=0,
    )
    finetune_epochs: int = field(30, "Epochs of fine-tuning.", "identity", ge=1, le=MOST_EPOCHS)
    finetune_lrs: Lrs = field((0.003, 0.03), "Learning rates that fine-tuning chooses from.", "identity")
    map_points: int = field(5000, "Most points on a t-SNE map.", "identity", ge=10)

    @field_validator("evaluate")
    @classmethod
    def _evaluators(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        # The choice of learning rates rests on the probe. An empty list is refused as every other is.
        return value and ("probe", *(name for name in value if name != "probe"))
