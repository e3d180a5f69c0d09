"""Few-shot probes: the linear classifier from k images per class, over many draws of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from selfsup.evaluation.base import Column, Evaluated, Evaluator
from selfsup.evaluation.evaluation_context import EvaluationContext
from selfsup.evaluation.linear_probe import standardisation
from selfsup.evaluation.logistic import LARGE, OWN_IMAGES, solve
from selfsup.seeding import derive_seed

#: Images per class that are tried, those that have columns of their own, and draws of each.
SHOTS = (1, 5, 10)
COLUMN_SHOTS = 5
DRAWS = 20
#: Most entries of the logits of all draws, which with hundreds of classes would cost more than the training, and the
#: fewest draws that are made of more.
ALL_LOGITS, FEWEST_DRAWS = 1_000_000, 3
#: Most entries of the embeddings, the test images' logits, or what the solver keeps, that are handled at once.
MOST_ENTRIES = 20_000_000
#: scikit-learn's default C, for every draw: from so few images nothing can be chosen.
C = 1.0


@dataclass(frozen=True)
class FewShot:
    """Accuracy of probes that saw `k` images per class.

    Attributes
    ----------
    k, draws : int
    mean, sd : float
        Over the draws; the standard deviation has divisor draws - 1.
    """

    k: int
    draws: int
    mean: float
    sd: float


def few_shot(
    train_x: np.ndarray,
    train_y: np.ndarray,
    test_x: np.ndarray,
    test_y: np.ndarray,
    *,
    shots: tuple[int, ...] = SHOTS,
    draws: int = DRAWS,
    device: str = "cpu",
    seed: int = 0,
) -> list[FewShot]:
    """Logistic regression from `k` images per class, drawn :func:`draws_of` times, for every `k` of :func:`drawable`.

    Embeddings are standardised over all training images, which takes no labels.

    Parameters
    ----------
    train_x, test_x : ndarray, shape (n, width)
    train_y, test_y : ndarray of int64, shape (n,)
    device : str
        Where to compute.
    seed : int
        Draws the images, the same for every embedding.
    """
    place = "cpu" if device == "mps" else device  # Apple's GPU has no float64
    mean, scale = standardisation(train_x)
    present, y = np.unique(train_y, return_inverse=True)
    x, tested = (torch.from_numpy((part - mean) / scale).to(place) for part in (train_x, test_x))
    members = [np.flatnonzero(y == label) for label in range(len(present))]
    found = []
    counts = [len(m) for m in members]
    for k in drawable(counts, shots):
        number = draws_of(k, len(counts), draws)
        rng = np.random.default_rng(derive_seed(seed, "few-shot", k))
        rows = np.stack([np.concatenate([rng.choice(m, k, replace=False) for m in members]) for _ in range(number)])
        predicted = present[_predict(x, torch.from_numpy(y).to(place), torch.from_numpy(rows).to(place), tested)]
        accuracies = (predicted == test_y).mean(axis=1)
        found.append(FewShot(k, number, float(accuracies.mean()), float(accuracies.std(ddof=1))))
    return found


def drawable(counts: Sequence[int], shots: tuple[int, ...] = SHOTS) -> list[int]:
    """Those of `shots` that are drawn from classes of so many training images.

    A `k` is left out where some class has no more than `k`, for the draws would hardly differ.
    """
    return [k for k in shots if min(counts) > k]


def draws_of(k: int, classes: int, most: int = DRAWS) -> int:
    """How often `k` images of each of so many classes are drawn."""
    return min(most, max(FEWEST_DRAWS, ALL_LOGITS // (k * classes**2)))


def _predict(x: Tensor, y: Tensor, rows: Tensor, tested: Tensor) -> np.ndarray:
    """Classes, shape (draws, len(tested)), by the probe on each draw; `rows` has shape (draws, images)."""
    classes = int(y.max()) + 1
    images, width = rows.shape[1], x.shape[1]
    kept = classes * min(images, width) * OWN_IMAGES
    # Large problems wait for the slowest of them at every step, which costs more than what is shared.
    group = 1 if images * classes >= LARGE else max(1, MOST_ENTRIES // max(images * width, len(tested) * classes, kept))
    predicted = []
    for part in rows.split(group):
        weight, bias = solve(x[part], y[part], C, num_classes=classes)
        some = tested.split(max(1, MOST_ENTRIES // (group * classes)))
        labels = torch.cat([(each @ weight.mT + bias[:, None]).argmax(dim=-1) for each in some], dim=1)
        predicted.append(labels.cpu().numpy())
    return np.concatenate(predicted)


def _evaluate(cell: EvaluationContext) -> Evaluated:
    shots = few_shot(cell.train.x, cell.train.y, cell.test.x, cell.test.y, device=cell.device, seed=cell.seed)
    of_column = [shot for shot in shots if shot.k == COLUMN_SHOTS]
    columns = {"few_shot_accuracy": of_column[0].mean, "few_shot_sd": of_column[0].sd} if of_column else {}
    return Evaluated(columns, extras={"few_shot": [asdict(shot) for shot in shots]})


COLUMNS = (
    Column("few_shot_accuracy", "probes on 5 images per class: mean test accuracy over 20 draws, of many classes "
           "fewer, 3 at least. `metrics.json` has 1, 5 and 10, each where every class has more images than that, and "
           "the number of draws of each",
           heading="5-shot", better="higher"),
    Column("few_shot_sd", "standard deviation over these draws"),
)  # fmt: skip
evaluator = Evaluator(_evaluate, COLUMNS, needs_labels=True, default=True, order=30)
