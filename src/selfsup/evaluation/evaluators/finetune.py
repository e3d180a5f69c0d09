"""Fine-tuning with n labels: a trained backbone and a new linear layer, trained together."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import torch

from selfsup.backbones import Backbone
from selfsup.config.axes import format_lr
from selfsup.evaluation.base import Column, Evaluated, Evaluator
from selfsup.evaluation.embedding import embed
from selfsup.evaluation.evaluation_context import EvaluationContext, Part, TrainedNetwork
from selfsup.methods import Method, method_class, read_settings
from selfsup.seeding import derive_seed
from selfsup.training.loop import Training
from selfsup.training.plan import TrainingPlan
from selfsup.views import load_policy

#: SGD without weight decay on views whose framing alone changes (Chen et al. 2020, appendix B.5).
SETTINGS = {"optimizer": "sgd", "weight_decay": 0.0}
AUGMENTATION = "weak"


def fine_tune(cell: EvaluationContext) -> Evaluated:
    """Train on the cell's labels with every learning rate, choose on validation, quote on test.

    Of equally good learning rates the smallest is chosen. The network stays as it is: a copy is trained. Nothing is
    known where no learning rate gives a finite loss.

    Raises
    ------
    Interrupted
        If the callbacks asked to stop.
    """
    network, lrs = cell.network, sorted(cell.config.finetune_lrs)
    plan = TrainingPlan.of(cell.config, cell.seed, epochs=cell.config.finetune_epochs, lr=lrs[0])
    plan = replace(plan, image_size=network.backbone.image_size)
    images, labels, policy = network.images, network.labels[cell.subset], load_policy(AUGMENTATION)
    best: dict[str, float] = {}
    # Without validation images nothing can be chosen: the smallest rate changes the backbone least.
    for lr in lrs if len(cell.val.indices) else lrs[:1]:
        method = _with_classifier(network.backbone, len(cell.classes), cell.seed)
        callbacks = cell.callbacks(f"finetune{format_lr(lr)}")
        tuned = replace(plan, lr=lr)
        outcome = Training(method, images, cell.subset, labels, policy, tuned, network.fabric, callbacks).run()
        if outcome.status != "done":
            continue
        val, test = (_accuracy(method, network, part) for part in (cell.val, cell.test))
        if not best or val > best["finetune_val_accuracy"]:
            best = {"finetune_accuracy": test, "finetune_val_accuracy": val, "finetune_lr": lr}
    return Evaluated(best)


def _with_classifier(backbone: Backbone, num_classes: int, seed: int) -> Method:
    torch.manual_seed(derive_seed(seed, "fine-tuning"))
    settings = read_settings("supervised", SETTINGS)
    # All of it, though it be a teacher, which took no gradient while it followed its student.
    tuned = copy.deepcopy(backbone).requires_grad_(True)
    return method_class("supervised")(tuned, settings, num_classes=num_classes)


@torch.no_grad()
def _accuracy(method: Method, network: TrainedNetwork, part: Part) -> float:
    if not len(part.indices):
        return math.nan
    device = str(network.fabric.device)
    features = embed(
        method.backbone, network.images, part.indices, image_size=network.backbone.image_size, device=device
    )
    classifier: Any = method.classifier
    predicted = classifier.cpu()(torch.from_numpy(features)).argmax(dim=1).numpy()
    return float((predicted == part.y).mean())


COLUMNS = (
    Column("finetune_accuracy", "fine-tuning, test accuracy: with `--evaluate finetune`, the backbone and a linear "
           "layer trained together on the cell's labels for `--finetune-epochs 30`, once for each of "
           "`--finetune-lrs 0.003,0.03`; the one that is best on validation", heading="fine-tuned", better="higher"),
    Column("finetune_val_accuracy", "fine-tuning, validation accuracy", better="higher"),
    Column("finetune_lr", "fine-tuning, the learning rate", form=".4g"),
)  # fmt: skip
evaluator = Evaluator(fine_tune, COLUMNS, needs_labels=True, order=40)
