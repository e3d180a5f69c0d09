"""The attentive probe: a linear classifier on patches that learned queries pool, for what their mean loses."""

from __future__ import annotations

import math

import numpy as np
import torch

from selfsup.evaluation.attentive_probe import fit_attentive_probes
from selfsup.evaluation.base import Column, Evaluated, Evaluator
from selfsup.evaluation.evaluation_context import EvaluationContext, Part
from selfsup.evaluation.linear_probe import CS
from selfsup.seeding import derive_seed

#: Most numbers in the patches of all training images, 800 MB.
MOST_ENTRIES = 200_000_000


def _evaluate(cell: EvaluationContext) -> Evaluated:
    """Fit with every C, choose on validation, quote on test; of equally good Cs the most regularised."""
    network, train = cell.network, cell.train
    (first,) = network.outputs(lambda images: [network.backbone.patches(images)], train.indices[:1])
    rows = _sample(len(train.y), MOST_ENTRIES // first.numel(), cell.seed)
    (patches,) = network.outputs(lambda images: [network.backbone.patches(images)], train.indices[rows])
    present, y = np.unique(train.y[rows], return_inverse=True)
    Cs = CS if len(cell.val.y) else (1.0,)
    probes = fit_attentive_probes(patches, torch.from_numpy(y).to(patches.device), Cs, num_classes=len(present))

    def accuracies(part: Part, *numbers: int) -> list[float]:
        predicted = network.outputs(
            lambda images: [
                probes[number].logits(patches).argmax(dim=1)
                for patches in [network.backbone.patches(images)]
                for number in numbers
            ],
            part.indices,
        )
        return [float((present[each.cpu().numpy()] == part.y).mean()) for each in predicted]

    validated = accuracies(cell.val, *range(len(Cs))) if len(cell.val.y) else [math.nan]
    best = int(np.argmax(validated))
    return Evaluated(
        {
            "attentive_accuracy": accuracies(cell.test, best)[0],
            "attentive_val_accuracy": validated[best],
            "attentive_strength": Cs[best],
        }
    )


def _sample(count: int, most: int, seed: int) -> np.ndarray:
    """Places of at most `most` of so many images, ascending."""
    drawn = np.random.default_rng(derive_seed(seed, "attentive")).permutation(count)[:most]
    return np.sort(drawn)


COLUMNS = (
    Column("attentive_accuracy", "attentive probe, test accuracy: with `--evaluate attentive`, a linear classifier on "
           "the patches, or the pixels of the last feature map, pooled by the attention of four learned queries "
           "(Psomas et al. 2025), at the penalty (of the linear probe's seven) that is best on validation",
           heading="attentive", better="higher"),
    Column("attentive_val_accuracy", "attentive probe, validation accuracy", better="higher"),
    Column("attentive_strength", "C of the attentive probe"),
)  # fmt: skip
evaluator = Evaluator(_evaluate, COLUMNS, needs_labels=True, order=95)
