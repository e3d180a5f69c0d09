"""The answer as a table and as a sentence, for the terminal and for scripts."""

from __future__ import annotations

import pandas as pd

from selfsup.config.axes import format_lr
from selfsup.evaluation.metrics import ACCURACY
from selfsup.execution.words import listed
from selfsup.report.findings import Answer, Choice, Comparison
from selfsup.report.wording import capital, interval, points, setting, shared_seeds, signed

#: What brings something to compare with.
REMEDY = "Add --references tf_efficientnet_lite0, or more --methods, to the same command to know what it is worth."


def answer_table(found: Answer) -> pd.DataFrame:
    """What each method reaches at each number of images, with its chosen settings.

    Returns
    -------
    DataFrame
        Columns method, backbone, per_class (text), augmentation, lr, seeds; val_accuracy and test_accuracy
        (means over the seeds), or what stands in ``results.csv`` for another metric, test_low and test_high (95 %
        interval over the test images, and over the seeds where there are several); the test column of the metric that
        is shown beside it, if one is; effective_rank where there are no labels; train_seconds (mean of one training).
    """
    beside = [found.beside.test] if found.beside else []
    columns = [
        "method", "backbone", "per_class", "augmentation", "lr", "seeds", found.metric.validation, "effective_rank",
        found.metric.test, "test_low", "test_high", *beside, "train_seconds",
    ]  # fmt: skip
    rows = [
        {
            **vars(choice),
            found.criterion: choice.score,
            found.metric.test: choice.test_score,
            **dict.fromkeys(beside, choice.beside),
            "test_low": choice.interval.low if choice.interval else None,
            "test_high": choice.interval.high if choice.interval else None,
        }
        for choice in found.choices
    ]
    return pd.DataFrame(rows, columns=columns).astype({"lr": "float64"})


def headline(found: Answer) -> str:
    """The answer in a few sentences: where training was shown to beat networks without it, and where not."""
    best = found.best
    if best is None:
        return "No cell has finished well."
    by = f"Compared by {found.metric.words}. " if found.labelled and found.metric is not ACCURACY else ""
    return f"{by}{_headline(found, best)}"


def _headline(found: Answer, best: Choice) -> str:
    if found.labelled and not found.compared:
        settings = f", {setting(best)}," if best.trains else ""
        nothing = f"was compared with nothing: no other method has finished with {best.size}."
        return f"{best.name}{settings} {nothing} {REMEDY}"
    if not best.trains:
        return f"The best of what has finished is the {untrained(best)}."
    named = f"{best.name}, {best.augmentation} augmentation, learning rate {format_lr(best.lr or 0.0)}"
    if not found.labelled:
        return f"A weak recommendation, without labels: {named}."
    kind = "method" if best.uses_labels else "self-supervised method"
    if not found.not_beaten:
        first = f"The only {kind} that has finished" if found.alone else f"Best {kind} on these images"
        return f"{first}: {named}.{gains(found)}{closeness(found)}"
    of_them = "The only one tried" if found.alone else "The best of them on validation"
    if found.shown_gains:
        return f"{gains(found).strip()} {of_them}: {named}."
    return f"{_without_training(found.not_beaten[0], kind, found)} {of_them}: {named}."


def external_test(found: Answer, name: str) -> str:
    """What the best method loses on the external test `name`, and which does best there, in a sentence."""
    of_best = next((score for score in found.external if score.choice == found.best), None)
    if of_best is None:
        return ""
    lost = of_best.here - of_best.score
    words = "as on" if round(lost, 3) == 0 else f"{abs(lost):.3f} {'less' if lost > 0 else 'more'} than on"
    first = max(found.external, key=lambda score: score.score)
    other = "" if first.score <= of_best.score else f"; {first.choice.name} does best there ({first.score:.3f})"
    return (
        f"On the external test '{name}' {of_best.choice.name} reaches {of_best.score:.3f} "
        f"({interval(of_best.interval)}), {words} the test images of the same classes{other}. Nothing was chosen by it."
    )


def gains(found: Answer) -> str:
    """From how many images or labels to how many training was shown to help, and by how much; empty where nowhere.

    Begins with a space.
    """
    if not found.shown_gains:
        return ""
    shown = [f"{c.one.size} ({c.one.name} {signed(c.test.difference)}{shared_seeds(c)})" for c in found.shown_gains]
    text = f" Training was shown to beat every network without it with {listed(shown)}"
    for verdict, words in (("no difference shown", "no difference was shown"), ("worse", "it does worse")):
        sizes = [c.one.size for c in found.gains if c.verdict == verdict]
        text += f"; with {listed(sizes)} {words}" if sizes else ""
    return f"{text}."


def closeness(found: Answer) -> str:
    """From which methods that train the best one was not shown to differ, and which it is shown to be close to.

    Begins with a space.
    """
    near = [c.other.name for c in found.close if c.within]
    others = [c.other.name for c in found.close if not c.within]
    if found.margin is None:
        return f" No difference from {listed(others)} was shown." if others else ""
    text = f" It was shown to be within {points(found.margin)} of {listed(near)}." if near else ""
    if others:
        text += f" It was not shown to differ from {listed(others)}, nor to be within {points(found.margin)}."
    return text


def untrained(choice: Choice) -> str:
    """A network without training in words."""
    if choice.reference:
        return f"frozen {choice.name}, which costs no training"
    return f"{choice.name} backbone, without training"


def _without_training(rival: Comparison, kind: str, found: Answer) -> str:
    if rival.verdict == "worse":
        return f"The {untrained(rival.other)}, does better than any {kind} on these images."
    first = f"No {kind} was shown to do better than the {untrained(rival.other)}."
    if found.margin is None:
        return first
    within = "was shown" if rival.within else "was not shown"
    return f"{first} {capital(rival.one.name)} {within} to be within {points(found.margin)} of it."
