"""Few-shot probes: the linear classifier from k images per class, over many draws of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from selfsup.evaluate.linear_probe import standardisation
from selfsup.evaluate.logistic import solve
from selfsup.seeding import derive_seed

#: Images per class that are tried, and draws of each.
SHOTS = (1, 5, 10)
DRAWS = 20
#: Penalty of every draw, scikit-learn's default: from so few images nothing can be chosen.
STRENGTH = 1.0


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
    """Logistic regression from `k` images per class, drawn `draws` times, for every `k` of `shots`.

    A `k` is left out where some class has no more than `k` training images: the draws would hardly differ.
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
    present, y = np.unique(train_y, return_inverse=True)
    members = [np.flatnonzero(y == label) for label in range(len(present))]
    mean, scale = standardisation(train_x)
    x = torch.from_numpy((train_x - mean) / scale).to(place)
    tested = torch.from_numpy((test_x - mean) / scale).to(place)
    found = []
    for k in shots:
        if min(map(len, members)) <= k:
            continue
        rng = np.random.default_rng(derive_seed(seed, "few-shot", k))
        rows = np.stack([np.concatenate([rng.choice(m, k, replace=False) for m in members]) for _ in range(draws)])
        strengths = torch.full((draws,), STRENGTH, dtype=x.dtype, device=place)
        weight, bias = solve(x[rows], torch.from_numpy(y[rows]).to(place), strengths, num_classes=len(present))
        predicted = present[(tested @ weight.mT + bias[:, None]).argmax(dim=-1).cpu().numpy()]
        accuracies = (predicted == test_y).mean(axis=1)
        found.append(FewShot(k, draws, float(accuracies.mean()), float(accuracies.std(ddof=1))))
    return found
