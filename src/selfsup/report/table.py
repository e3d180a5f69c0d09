"""The answer as a table and as a sentence, for the terminal and for scripts."""

from __future__ import annotations

import pandas as pd

from selfsup.config.grid import format_lr
from selfsup.report.caveats import listed
from selfsup.report.findings import Answer, Comparison

COLUMNS = (
    "method", "per_class", "augmentation", "lr", "seeds", "val_accuracy", "effective_rank", "test_accuracy",
    "test_low", "test_high", "train_seconds",
)  # fmt: skip


def answer_table(found: Answer) -> pd.DataFrame:
    """What each method reaches at each number of images, with its chosen settings.

    Returns
    -------
    DataFrame
        Columns method, per_class (text), augmentation, lr, seeds; val_accuracy and test_accuracy
        (means over the seeds), test_low and test_high (95 % interval over the test images, and
        over the seeds where there are several); effective_rank where there are no labels;
        train_seconds (mean of one training).
    """
    rows = [
        {
            **vars(choice),
            found.criterion: choice.score,
            "test_low": choice.interval.low if choice.interval else None,
            "test_high": choice.interval.high if choice.interval else None,
        }
        for choice in found.choices
    ]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"lr": "float64"})


def headline(found: Answer) -> str:
    """The answer in one sentence; says so where nothing was shown to beat a network without training."""
    best = found.best
    if best is None:
        return "No cell has finished well."
    if not best.trains:
        return f"The best of what has finished is the {best.method} backbone, without training."
    named = f"{best.method}, {best.augmentation} augmentation, learning rate {format_lr(best.lr or 0.0)}"
    if not found.labelled:
        return f"A weak recommendation, without labels: {named}."
    kind = "method" if best.uses_labels else "self-supervised method"
    if not found.not_beaten:
        close = f" No difference from {listed([c.other.method for c in found.close])} was shown." if found.close else ""
        first = f"The only {kind} that has finished" if found.alone else f"Best {kind} on these images"
        return f"{first}: {named}.{close}"
    rival = found.not_beaten[0]
    of_them = "The only one that has finished" if found.alone else "The best of them on validation"
    return f"{_without_training(rival, kind)} {of_them}: {named}."


def _without_training(rival: Comparison, kind: str) -> str:
    if rival.verdict == "worse":
        return f"The {rival.other.method} backbone, without training, does better than any {kind} on these images."
    return f"No {kind} was shown to do better than the {rival.other.method} backbone, without training."
