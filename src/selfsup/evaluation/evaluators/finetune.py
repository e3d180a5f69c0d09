"""Fine-tuning with n labels: a trained backbone and a new linear layer, trained together."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from selfsup.backbones import Backbone
from selfsup.config.grid import format_lr
from selfsup.evaluation.base import Column, Evaluated, Evaluator
from selfsup.evaluation.embedding import embed
from selfsup.evaluation.evaluation_context import EvaluationContext
from selfsup.methods import Method, method_class, read_settings
from selfsup.seeding import derive_seed
from selfsup.training.callbacks import Callbacks
from selfsup.training.loop import Images, train
from selfsup.training.plan import TrainingPlan
from selfsup.views import load_policy

#: SGD without weight decay on views whose framing alone changes (Chen et al. 2020, appendix B.5).
SETTINGS = {"optimizer": "sgd", "weight_decay": 0.0}
AUGMENTATION = "weak"


@dataclass(frozen=True)
class FineTuned:
    """What fine-tuning reached.

    Attributes
    ----------
    lr : float
        The learning rate with the best validation accuracy, of equals the smallest.
    val_accuracy : float
        In [0, 1]; NaN where there was no validation image.
    test_accuracy : float
        In [0, 1].
    """

    lr: float
    val_accuracy: float
    test_accuracy: float


def fine_tune(
    backbone: Backbone,
    images: Images,
    labels: np.ndarray,
    *,
    train_on: np.ndarray,
    val: np.ndarray,
    test: np.ndarray,
    num_classes: int,
    lrs: Sequence[float],
    plan: TrainingPlan,
    fabric: Any,
    callbacks: Callable[[float], Callbacks],
) -> FineTuned | None:
    """Fine-tune on `train_on` with every learning rate, choose on `val`, quote on `test`.

    Parameters
    ----------
    backbone : Backbone
        Stays as it is: a copy is trained.
    images : Images
        The store.
    labels : ndarray of int64
        Class of every image of the store.
    train_on, val, test : ndarray of int64
        Places in the store.
    num_classes : int
    lrs : sequence of float
    plan : TrainingPlan
        All but the learning rate.
    fabric : lightning_fabric.Fabric
        Device and precision.
    callbacks : callable
        The callbacks of the training with a learning rate.

    Returns
    -------
    FineTuned or None
        None where no learning rate gave a finite loss.

    Raises
    ------
    Interrupted
        If the callbacks asked to stop.
    """
    policy = load_policy(AUGMENTATION)
    best: FineTuned | None = None
    # Without validation images nothing can be chosen: the smallest rate changes the backbone least.
    for lr in sorted(lrs) if len(val) else [min(lrs)]:
        method = _with_classifier(backbone, num_classes, plan.seed)
        outcome = train(method, images, train_on, labels[train_on], policy, replace(plan, lr=lr), fabric, callbacks(lr))
        if outcome.status != "done":
            continue
        found = FineTuned(
            lr, *(_accuracy(method, images, labels, part, plan, str(fabric.device)) for part in (val, test))
        )
        if best is None or found.val_accuracy > best.val_accuracy:
            best = found
    return best


def _with_classifier(backbone: Backbone, num_classes: int, seed: int) -> Method:
    torch.manual_seed(derive_seed(seed, "fine-tuning"))
    settings = read_settings("supervised", SETTINGS)
    return method_class("supervised")(copy.deepcopy(backbone), settings, num_classes=num_classes)


@torch.no_grad()
def _accuracy(
    method: Method, images: Images, labels: np.ndarray, part: np.ndarray, plan: TrainingPlan, device: str
) -> float:
    if not len(part):
        return math.nan
    features = embed(method.backbone, images, part, image_size=plan.image_size, device=device)
    classifier: Any = method.classifier
    predicted = classifier.cpu()(torch.from_numpy(features)).argmax(dim=1).numpy()
    return float((predicted == labels[part]).mean())


def _evaluate(cell: EvaluationContext) -> Evaluated:
    config, network = cell.config, cell.network
    tuned = fine_tune(
        network.backbone,
        network.images,
        network.labels,
        train_on=cell.subset,
        val=cell.val.indices,
        test=cell.test.indices,
        num_classes=len(cell.classes),
        lrs=config.finetune_lrs,
        plan=TrainingPlan.of(config, cell.seed, epochs=config.finetune_epochs, lr=min(config.finetune_lrs)),
        fabric=network.fabric,
        callbacks=lambda lr: cell.callbacks(f"finetune{format_lr(lr)}"),
    )
    if tuned is None:
        return Evaluated({})
    return Evaluated(
        {
            "finetune_accuracy": tuned.test_accuracy,
            "finetune_val_accuracy": tuned.val_accuracy,
            "finetune_lr": tuned.lr,
        }
    )


evaluator = Evaluator(
    _evaluate,
    columns=(
        Column(
            "finetune_accuracy",
            float,
            "fine-tuning, test accuracy: with `--evaluate finetune`, the backbone and a linear layer trained together "
            "on the cell's labels for `--finetune-epochs 30`, once for each of `--finetune-lrs 0.003,0.03`; the one "
            "that is best on validation",
            heading="fine-tuned",
            better="higher",
        ),
        Column("finetune_val_accuracy", float, "fine-tuning, validation accuracy", better="higher"),
        Column("finetune_lr", float, "fine-tuning, the learning rate", form=".4g"),
    ),
    needs_labels=True,
    order=40,
)
