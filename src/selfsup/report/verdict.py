"""The answer of a study: what to use, how sure that is, what it costs, and what was not shown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from selfsup.report.limits import not_shown
from selfsup.report.reading import Study, read_study
from selfsup.report.selection import choose, criterion, interval_of, size_order
from selfsup.report.statistics import Interval, PairedTest, holm, paired_test

Verdict = Literal["better", "no difference shown", "worse"]

SIGNIFICANT = 0.05
SUPERVISED = "supervised"


@dataclass(frozen=True)
class Choice:
    """A method at one number of images, with the settings chosen for it.

    Attributes
    ----------
    method : str
    augmentation : str
        ``""`` where the method does not train.
    lr : float or None
        None where the method does not train.
    per_class : str
        Images per class: a number or ``"all"``.
    seeds : int
        Finished seeds.
    score : float
        Mean of the criterion: validation accuracy, or effective rank without labels.
    test_accuracy : float or None
        Mean over the seeds; None without labels.
    interval : Interval or None
        95 % interval of the test accuracy.
    train_seconds : float or None
        Mean time of one training.
    cells : tuple of str
        Ids of its cells, one per seed.
    """

    method: str
    augmentation: str
    lr: float | None
    per_class: str
    seeds: int
    score: float
    test_accuracy: float | None
    interval: Interval | None
    train_seconds: float | None
    cells: tuple[str, ...]

    @property
    def trains(self) -> bool:
        """Whether the method has a training."""
        return self.lr is not None

    @property
    def self_supervised(self) -> bool:
        """Whether the method trains, and without labels."""
        return self.trains and self.method != SUPERVISED


@dataclass(frozen=True)
class Comparison:
    """The best method against another, on the same test images.

    Attributes
    ----------
    other : Choice
    test : PairedTest
    p_adjusted : float
        Holm-corrected for the number of comparisons.
    verdict : {"better", "no difference shown", "worse"}
        The best method is … than (to) the other.
    """

    other: Choice
    test: PairedTest
    p_adjusted: float
    verdict: Verdict


@dataclass(frozen=True)
class LabelsNeeded:
    """The labels per class that supervised training needed for what the best method reached.

    Attributes
    ----------
    per_class : str
        Images per class of the best method.
    accuracy : float
        Its test accuracy there.
    supervised : str or None
        Smallest number tried at which supervised training reached that; None if none did.
    """

    per_class: str
    accuracy: float
    supervised: str | None


@dataclass(frozen=True)
class Answer:
    """What a study found.

    Attributes
    ----------
    labelled : bool
        False: there is no accuracy, and `best` is a weak recommendation.
    criterion : str
        Column of the results by which settings were chosen.
    best : Choice or None
        The self-supervised method with the highest criterion at the largest number of images
        (any method, where no self-supervised one has finished); None where nothing has.
    choices : tuple of Choice
        Every method at every number of images, in the order of the study.
    comparisons : tuple of Comparison
        `best` against each other method at the same number of images.
    labels_needed : tuple of LabelsNeeded
        One per number of images of `best`; empty without a supervised baseline.
    not_shown : tuple of str
        What the study does not show, one sentence each.
    total_seconds : float
        Training time of all recorded cells.
    """

    labelled: bool
    criterion: str
    best: Choice | None
    choices: tuple[Choice, ...]
    comparisons: tuple[Comparison, ...]
    labels_needed: tuple[LabelsNeeded, ...]
    not_shown: tuple[str, ...]
    total_seconds: float

    def of(self, method: str) -> tuple[Choice, ...]:
        """Choices of a method, by number of images."""
        return tuple(choice for choice in self.choices if choice.method == method)

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods with a finished cell, in the order of the study."""
        return tuple(dict.fromkeys(choice.method for choice in self.choices))

    @property
    def sizes(self) -> tuple[str, ...]:
        """Numbers of images per class with a finished cell, ascending."""
        return tuple(size_order(choice.per_class for choice in self.choices))


def answer(study_dir: Path) -> Answer:
    """What the study in `study_dir` found so far.

    Raises
    ------
    UserError
        If the folder is not a study.
    """
    return answer_study(read_study(study_dir))


def answer_study(study: Study) -> Answer:
    """What a study that has been read found so far."""
    choices = _choices(study)
    best = best_choice(choices)
    comparisons = _compare(study, best, choices)
    partial = Answer(
        labelled=study.labelled,
        criterion=criterion(study.results),
        best=best,
        choices=choices,
        comparisons=comparisons,
        labels_needed=_labels_needed(best, choices),
        not_shown=(),
        total_seconds=float(study.results["train_seconds"].sum()),
    )
    return replace(partial, not_shown=tuple(not_shown(study, partial)))


def _choices(study: Study) -> tuple[Choice, ...]:
    table = study.results.set_index("cell")
    found = []
    for row in choose(study.results).to_dict("records"):
        cells = table.loc[list(row["cells"])]
        found.append(
            Choice(
                method=row["method"],
                augmentation=row["augmentation"],
                lr=_number(row["lr"]),
                per_class=row["per_class"],
                seeds=int(row["seeds"]),
                score=float(row["score"]),
                test_accuracy=_number(cells["test_accuracy"].mean()),
                interval=interval_of(cells["test_accuracy"], study.dataset.get("test")),
                train_seconds=_number(cells["train_seconds"].mean()),
                cells=row["cells"],
            )
        )
    return tuple(found)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def best_choice(choices: tuple[Choice, ...]) -> Choice | None:
    """The highest score at the largest size: of self-supervised methods, else of any; None of none."""
    pool = [c for c in choices if c.self_supervised] or [c for c in choices if c.trains] or list(choices)
    if not pool:
        return None
    largest = size_order(choice.per_class for choice in pool)[-1]
    return max((c for c in pool if c.per_class == largest), key=lambda choice: round(choice.score, 12))


def _compare(study: Study, best: Choice | None, choices: tuple[Choice, ...]) -> tuple[Comparison, ...]:
    if best is None or not study.labelled:
        return ()
    others = [c for c in choices if c.per_class == best.per_class and c.method != best.method]
    tested = [(other, test) for other in others if (test := _paired(study, best, other)) is not None]
    adjusted = holm([test.p_value for _, test in tested])
    return tuple(
        Comparison(other, test, p, verdict_of(test, p)) for (other, test), p in zip(tested, adjusted, strict=True)
    )


def verdict_of(test: PairedTest, p_adjusted: float) -> Verdict:
    """The word for a tested difference; without a significant one on which all seeds agree, none."""
    if p_adjusted >= SIGNIFICANT or not test.agree:
        return "no difference shown"
    return "better" if test.wins > test.losses else "worse"


def _paired(study: Study, first: Choice, second: Choice) -> PairedTest | None:
    seeds = study.results.set_index("cell")["seed"]
    one = {seeds[cell]: study.embeddings(cell) for cell in first.cells}
    two = {seeds[cell]: study.embeddings(cell) for cell in second.cells}
    right_one, right_two = [], []
    for seed in sorted(one.keys() & two.keys()):
        a, b = one[seed], two[seed]
        # Without the same test images there is no pair.
        if a is not None and b is not None and np.array_equal(a.indices, b.indices):
            right_one.append(a.correct)
            right_two.append(b.correct)
    return paired_test(right_one, right_two) if right_one else None


def _labels_needed(best: Choice | None, choices: tuple[Choice, ...]) -> tuple[LabelsNeeded, ...]:
    supervised = [c for c in choices if c.method == SUPERVISED and c.test_accuracy is not None]
    if best is None or not supervised or best.method == SUPERVISED:
        return ()
    needed = []
    for choice in choices:
        if choice.method == best.method and choice.test_accuracy is not None:
            enough = [s.per_class for s in supervised if (s.test_accuracy or 0) >= choice.test_accuracy]
            needed.append(LabelsNeeded(choice.per_class, choice.test_accuracy, enough[0] if enough else None))
    return tuple(needed)
