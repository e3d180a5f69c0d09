"""The answer as a table and as a sentence, for the terminal and for scripts."""

from __future__ import annotations

import pandas as pd

from selfsup.config.axes import format_lr
from selfsup.execution.words import listed
from selfsup.report.findings import Answer, Choice, Comparison
from selfsup.report.wording import signed, size

COLUMNS = (
    "method", "backbone", "per_class", "augmentation", "lr", "seeds", "val_accuracy", "effective_rank", "test_accuracy",
    "test_low", "test_high", "train_seconds",
)  # fmt: skip


def answer_table(found: Answer) -> pd.DataFrame:
    """What each method reaches at each number of images, with its chosen settings.

    Returns
    -------
    DataFrame
        Columns method, backbone, per_class (text), augmentation, lr, seeds; val_accuracy and test_accuracy
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
    """The answer in one sentence or two; says where training was shown to beat networks without it, and where not."""
    best = found.best
    if best is None:
        return "No cell has finished well."
    if not best.trains:
        return f"The best of what has finished is the {untrained(best)}."
    named = f"{best.name}, {best.augmentation} augmentation, learning rate {format_lr(best.lr or 0.0)}"
    if not found.labelled:
        return f"A weak recommendation, without labels: {named}."
    kind = "method" if best.uses_labels else "self-supervised method"
    if not found.not_beaten:
        close = f" No difference from {listed([c.other.name for c in found.close])} was shown." if found.close else ""
        first = f"The only {kind} that has finished" if found.alone else f"Best {kind} on these images"
        return f"{first}: {named}.{gains(found)}{close}"
    of_them = "The only one that has finished" if found.alone else "The best of them on validation"
    if found.shown_gains:
        return f"{gains(found).strip()} {of_them}: {named}."
    return f"{_without_training(found.not_beaten[0], kind)} {of_them}: {named}."


def gains(found: Answer) -> str:
    """From how many images or labels to how many training was shown to help, and by how much; empty where nowhere.

    Begins with a space.
    """
    if not found.shown_gains:
        return ""
    shown = [f"{_at(c, found)} ({c.one.name} {signed(c.test.difference)})" for c in found.shown_gains]
    text = f" Training was shown to beat every network without it with {listed(shown)}"
    for verdict, words in (("no difference shown", "no difference was shown"), ("worse", "it does worse")):
        sizes = [_at(c, found) for c in found.gains if c.verdict == verdict]
        text += f"; with {listed(sizes)} {words}" if sizes else ""
    return f"{text}."


def _at(comparison: Comparison, found: Answer) -> str:
    return size(comparison.one.per_class, found.unit)


def untrained(choice: Choice) -> str:
    """A network without training in words."""
    if choice.reference:
        return f"frozen {choice.name}, which costs no training"
    return f"{choice.name} backbone, without training"


def _without_training(rival: Comparison, kind: str) -> str:
    if rival.verdict == "worse":
        return f"The {untrained(rival.other)}, does better than any {kind} on these images."
    return f"No {kind} was shown to do better than the {untrained(rival.other)}."
