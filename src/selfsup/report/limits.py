"""What a study does not show: said in words, so that nobody reads it into the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from selfsup.grid import format_lr
from selfsup.report.reading import Study

if TYPE_CHECKING:
    from selfsup.report.verdict import Answer, Choice


def not_shown(study: Study, found: Answer) -> list[str]:
    """What a reader might take from the answer and should not, one sentence each."""
    best = found.best
    if best is None:
        return []
    sentences = []
    if not found.labelled:
        sentences.append(
            "Without labels there is no accuracy: effective rank says how many directions the embeddings use, "
            "and follows their usefulness only loosely. Label a few images per class to know."
        )
    close = [c.other.method for c in found.comparisons if c.verdict == "no difference shown"]
    if close:
        sentences.append(f"No difference was shown between {best.method} and {listed(close)}.")
    untested = _untested(found, best)
    if untested:
        sentences.append(f"{best.method} was not tested against {listed(untested)}: no finished cell to pair with.")
    if found.comparisons and len(found.of(best.method)) > 1:
        place = f"all {study.unit}" if best.per_class == "all" else f"{best.per_class} {study.unit} per class"
        sentences.append(f"Differences were tested with {place} only, not at the smaller numbers.")
    if best.seeds == 1:
        sentences.append("One seed: how much the result changes from one training to the next was not measured.")
    elif found.labelled:
        sentences.append("Intervals are over seeds; how much other test images would change the result is not in them.")
    sentences += _at_the_edge(study.results, best)
    missing = [name for name in dict.fromkeys(study.results["method"]) if name not in found.methods]
    if missing:
        sentences.append(f"No cell of {listed(missing)} finished well.")
    return sentences


def _untested(found: Answer, best: Choice) -> list[str]:
    if not found.labelled:
        return []
    tested = {c.other.method for c in found.comparisons} | {best.method}
    return [method for method in found.methods if method not in tested]


def _at_the_edge(results: pd.DataFrame, best: Choice) -> list[str]:
    """A choice at the end of the learning rates says that the best one may lie beyond."""
    tried = sorted(results["lr"].dropna().unique())
    if best.lr is None or len(tried) < 2 or best.lr not in (tried[0], tried[-1]):
        return []
    word, beyond = ("smallest", "smaller") if best.lr == tried[0] else ("largest", "larger")
    return [f"Learning rate {format_lr(best.lr)} is the {word} tried; a {beyond} one may be better."]


def listed(names: list[str]) -> str:
    """``a``, ``a and b``, or ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
