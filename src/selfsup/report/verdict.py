"""The answer of a study: what to use, how sure that is, what it costs, and what was not shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from selfsup.config.axes import CHOSEN, COMPARED
from selfsup.evaluation.metrics import ACCURACY, BALANCED_ACCURACY, Metric
from selfsup.report.caveats import caveats
from selfsup.report.external_scores import external_scores
from selfsup.report.findings import Answer, Choice, Comparison, LabelsNeeded
from selfsup.report.pairwise import Outcomes, against_the_others, every_pair, gains_by_training
from selfsup.report.recorded import RecordedStudy, read_study
from selfsup.report.selection import (
    candidate_names,
    choose,
    chosen_settings,
    comparable,
    criterion,
    optimism,
    size_order,
)
from selfsup.report.wording import axis_in_words, size

#: The method whose labels are counted: others that read labels are not what is meant by supervised training.
SUPERVISED = "supervised"


def answer(study_dir: Path) -> Answer:
    """What the study in `study_dir` found so far.

    Raises
    ------
    UserError
        If the folder is not a study.
    """
    return answer_study(read_study(study_dir))


def answer_study(study: RecordedStudy) -> Answer:
    """What a study that has been read found so far."""
    if study.last_run.get("left_out"):
        study = replace(study, results=comparable(study.results))
    outcomes = Outcomes(study)
    choices = _choices(study, outcomes)
    best = best_choice(choices)
    largest = [choice for choice in choices if best is not None and choice.per_class == best.per_class]
    tested = best is not None and study.labelled
    comparisons = against_the_others(outcomes, best, choices) if tested and best else ()
    pairwise = every_pair(outcomes, choices) if tested else ()
    found = Answer(
        labelled=study.labelled,
        metric=study.metric,
        beside=_beside(study),
        margin=study.margin,
        criterion=criterion(study.results, study.metric),
        chosen=tuple(axis_in_words(name) for name in chosen_settings(study.results)),
        best=best,
        ties=() if best is None else tuple(c for c in _candidates(choices) if c != best and _equal(c, best)),
        choices=choices,
        comparisons=comparisons,
        gains=gains_by_training(outcomes, _best_of_each_size(choices), choices) if tested else (),
        pairwise=pairwise,
        labels_needed=_labels_needed(best, choices, (*comparisons, *pairwise)),
        optimism=optimism(study.results, study.metric) if study.labelled else None,
        caveats=(),
        category=study.category,
        total_seconds=_total_seconds(study.results),
        external=external_scores(study, largest),
        unreadable=_unreadable(study, outcomes, choices, largest) if study.labelled else (),
    )
    return replace(found, caveats=tuple(caveats(study, found)))


def _choices(study: RecordedStudy, outcomes: Outcomes) -> tuple[Choice, ...]:
    table = study.results.set_index("cell")
    names, beside = candidate_names(study.results), _beside(study)
    found = []
    for row in choose(study.results, study.metric).to_dict("records"):
        cells = table.loc[list(row["cells"])]
        found.append(
            Choice(
                name=names[row["method"], row["backbone"]],
                method=row["method"],
                backbone=row["backbone"],
                augmentation=row["augmentation"],
                lr=_number(row["lr"]),
                per_class=row["per_class"],
                size=_size_in_words(study, row["per_class"]),
                seeds=int(row["seeds"]),
                score=float(row["score"]),
                test_score=_number(cells[study.metric.test].mean()),
                beside=_number(cells[beside.test].mean()) if beside else None,
                interval=outcomes.interval(row["cells"]),
                train_seconds=_number(cells["train_seconds"].mean()),
                cells=row["cells"],
                uses_labels=study.tags(row["method"]).uses_labels,
            )
        )
    return tuple(found)


def _unreadable(
    study: RecordedStudy, outcomes: Outcomes, choices: tuple[Choice, ...], largest: list[Choice]
) -> tuple[str, ...]:
    """Cells without predictions of the test images; at the largest size also those without any of the external test."""
    missing = [cell for choice in choices for cell in outcomes.unreadable(choice.cells)]
    if "external" in study.dataset:
        missing += [cell for c in largest for cell in c.cells if study.external_predictions(cell) is None]
    return tuple(dict.fromkeys(missing))


def _total_seconds(results: pd.DataFrame) -> float:
    """Of all trainings: one that serves several sizes stands in the row of each."""
    trainings = results.drop_duplicates([*COMPARED, *CHOSEN, "seed", "train_seconds"])
    return float(trainings["train_seconds"].sum())


def _beside(study: RecordedStudy) -> Metric | None:
    """What is shown beside the study's metric."""
    if study.several:
        return None
    if study.metric is not ACCURACY:
        return ACCURACY
    return BALANCED_ACCURACY if study.unequal else None


def _size_in_words(study: RecordedStudy, per_class: str) -> str:
    if per_class.isdecimal() and study.takes_all(per_class):
        return f"all {study.unit} (no {study.category} has more than {per_class})"
    return size(per_class, study.unit, study.category)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def best_choice(choices: tuple[Choice, ...]) -> Choice | None:
    """The highest score at the largest size: of self-supervised methods, else of any; None of none."""
    return max(_candidates(choices), key=lambda choice: round(choice.score, 12), default=None)


def _best_of_each_size(choices: tuple[Choice, ...]) -> list[Choice]:
    sizes = size_order(choice.per_class for choice in choices)
    found = [best_choice(tuple(choice for choice in choices if choice.per_class == size)) for size in sizes]
    return [choice for choice in found if choice is not None]


def _candidates(choices: tuple[Choice, ...]) -> list[Choice]:
    """The methods among which one is named, at their largest number of images."""
    pool = [c for c in choices if c.self_supervised] or [c for c in choices if c.trains] or list(choices)
    largest = size_order(choice.per_class for choice in pool)[-1:]
    return [choice for choice in pool if choice.per_class in largest]


def _equal(one: Choice, other: Choice) -> bool:
    return round(one.score, 12) == round(other.score, 12)


def _labels_needed(
    best: Choice | None, choices: tuple[Choice, ...], tests: tuple[Comparison, ...]
) -> tuple[LabelsNeeded, ...]:
    supervised = [c for c in choices if c.method == SUPERVISED and c.test_score is not None]
    if best is None or not supervised or best.uses_labels:
        return ()
    needed = []
    for choice in choices:
        if choice.name == best.name and choice.test_score is not None:
            enough = [s.per_class for s in supervised if (s.test_score or 0) >= choice.test_score]
            pairs = [c for c in tests if choice in (c.one, c.other) and SUPERVISED in (c.one.method, c.other.method)]
            shown = any(pair.verdict != "no difference shown" for pair in pairs)
            first = size_order(enough)[0] if enough else None
            needed.append(LabelsNeeded(choice.per_class, choice.test_score, first, shown))
    return tuple(needed)
