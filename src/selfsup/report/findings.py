"""What a study found, as plain values that the page, the command line and the API share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from selfsup.config.axes import REFERENCE
from selfsup.evaluation.metrics import Metric
from selfsup.report.selection import Optimism, size_order
from selfsup.report.statistics import Interval, PairedTest

SIGNIFICANT = 0.05
Verdict = Literal["better", "no difference shown", "worse"]


@dataclass(frozen=True)
class Choice:
    """A method at one number of images, with the settings chosen for it.

    Attributes
    ----------
    name : str
        Of the method, with that of its network where the study has several; of a reference, its network's.
    method, backbone : str
    augmentation : str
        ``""`` where the method does not train.
    lr : float or None
        None where the method does not train.
    per_class : str
        Images per class: a number, a share of each class such as ``"10%"``, or ``"all"``.
    size : str
        The same in words.
    seeds : int
        Finished seeds.
    score : float
        Mean of the criterion: the metric on validation, or effective rank without labels.
    test_score : float or None
        The metric on test, mean over the seeds; None without labels.
    beside : float or None
        The metric that is shown beside it, on test; None without one.
    interval : Interval or None
        95 % interval of the test score.
    train_seconds : float or None
        Mean time of one training.
    cells : tuple of str
        Ids of its cells, one per seed.
    uses_labels : bool
        Whether training reads labels.
    """

    name: str
    method: str
    backbone: str
    augmentation: str
    lr: float | None
    per_class: str
    size: str
    seeds: int
    score: float
    test_score: float | None
    beside: float | None
    interval: Interval | None
    train_seconds: float | None
    cells: tuple[str, ...]
    uses_labels: bool = False

    @property
    def trains(self) -> bool:
        """Whether the method has a training."""
        return self.lr is not None

    @property
    def reference(self) -> bool:
        """Whether it is a network that is judged as somebody else left it."""
        return self.method == REFERENCE

    @property
    def self_supervised(self) -> bool:
        """Whether the method trains, and without labels."""
        return self.trains and not self.uses_labels


@dataclass(frozen=True)
class ExternalScore:
    """A method on the external test.

    Attributes
    ----------
    choice : Choice
    here : float
        Its mean score on the test images of the classes that the external test has.
    score : float
        Its mean score on the external test.
    interval : Interval
        95 % interval of that.
    change : Interval
        95 % interval of `score` less `here`.
    """

    choice: Choice
    here: float
    score: float
    interval: Interval
    change: Interval


@dataclass(frozen=True)
class Comparison:
    """Two methods at one number of images, on the same test images and seeds.

    Attributes
    ----------
    one, other : Choice
    test : PairedTest
        `one` against `other`.
    p_adjusted : float
        Holm-corrected for the number of comparisons made together.
    verdict : {"better", "no difference shown", "worse"}
        `one` is … than (to) `other`.
    p_within : float or None
        Of a difference beyond the margin, corrected alike; None without a margin.
    """

    one: Choice
    other: Choice
    test: PairedTest
    p_adjusted: float
    verdict: Verdict
    p_within: float | None = None

    @property
    def within(self) -> bool:
        """Whether it was shown that they differ by less than the margin."""
        return self.p_within is not None and self.p_within < SIGNIFICANT


@dataclass(frozen=True)
class MethodPair:
    """One method against another over all numbers of images: how often better, alike, worse."""

    one: str
    other: str
    better: int
    alike: int
    worse: int


@dataclass(frozen=True)
class LabelsNeeded:
    """The labels per class that supervised training needed for what the best method reached.

    Attributes
    ----------
    per_class : str
        Images per class of the best method.
    score : float
        Its test score there.
    supervised : str or None
        Smallest number tried at which supervised training reached that; None if none did.
    shown : bool
        Whether the two were shown to differ with `per_class`: without it, the number rests on the scores alone.
    """

    per_class: str
    score: float
    supervised: str | None
    shown: bool


@dataclass(frozen=True)
class Answer:
    """What a study found.

    Attributes
    ----------
    labelled : bool
        False: there is no accuracy, and `best` is a weak recommendation.
    metric : Metric
        What settings were chosen by, and methods are compared by, where there are labels.
    beside : Metric or None
        What is shown beside it: accuracy beside another metric, and balanced accuracy beside that of very unequal
        classes.
    margin : float or None
        Differences below it do not matter; None where each does.
    criterion : str
        Column of the results by which settings were chosen.
    chosen : tuple of str
        Axes of which there was more than one value to choose from, in words.
    best : Choice or None
        The self-supervised method with the highest criterion at the largest number of images
        (any method, where no self-supervised one has finished); None where nothing has.
    ties : tuple of Choice
        Other methods whose criterion there is exactly that of `best`.
    choices : tuple of Choice
        Every method at every number of images, in the order of the study.
    comparisons : tuple of Comparison
        `best` against each other method at the same number of images, corrected together.
    gains : tuple of Comparison
        One per number of images, ascending: the best method there against the network without training that comes
        nearest; better only where it is better than every one of them. Corrected together.
    pairwise : tuple of Comparison
        Every pair of methods at every number of images, corrected together.
    labels_needed : tuple of LabelsNeeded
        One per number of images of `best`; empty without a supervised baseline.
    optimism : Optimism or None
        None without labels, or where there was nothing to choose.
    caveats : tuple of str
        What the study does not show, one sentence each.
    category : str
        What a label names: ``"class"``, or ``"label"`` where images may have several.
    total_seconds : float
        Time of all trainings, added up; one that several cells share counts once.
    external : tuple of ExternalScore
        The methods at the largest number of images on the external test; empty without one.
    unreadable : tuple of str
        Cells of the choices whose predictions are missing or damaged.
    """

    labelled: bool
    metric: Metric
    beside: Metric | None
    margin: float | None
    criterion: str
    chosen: tuple[str, ...]
    best: Choice | None
    ties: tuple[Choice, ...]
    choices: tuple[Choice, ...]
    comparisons: tuple[Comparison, ...]
    gains: tuple[Comparison, ...]
    pairwise: tuple[Comparison, ...]
    labels_needed: tuple[LabelsNeeded, ...]
    optimism: Optimism | None
    caveats: tuple[str, ...]
    category: str
    total_seconds: float
    external: tuple[ExternalScore, ...] = ()
    unreadable: tuple[str, ...] = ()

    def of(self, name: str) -> tuple[Choice, ...]:
        """Choices of a candidate, by number of images."""
        return tuple(choice for choice in self.choices if choice.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        """Candidates with a finished cell, in the order of the study."""
        return tuple(dict.fromkeys(choice.name for choice in self.choices))

    @property
    def sizes(self) -> tuple[str, ...]:
        """Numbers of images per class with a finished cell, ascending."""
        return tuple(size_order(choice.per_class for choice in self.choices))

    @property
    def not_beaten(self) -> tuple[Comparison, ...]:
        """Comparisons of a best method that trains with networks that do not, where it is not shown to be better.

        At its number of images; the one with the highest test score comes first. Empty is what a study hopes for.
        """
        of_best = [gain for gain in self.gains if gain.one == self.best and gain.verdict != "better"]
        if not of_best:
            return ()
        found = [c for c in self.comparisons if not c.other.trains and c.verdict != "better"] or of_best
        return tuple(sorted(found, key=lambda c: -(c.other.test_score or 0.0)))

    @property
    def shown_gains(self) -> tuple[Comparison, ...]:
        """Those of the gains in which training was shown to help."""
        return tuple(gain for gain in self.gains if gain.verdict == "better")

    @property
    def alone(self) -> bool:
        """Whether no other method of the best one's kind has finished at the same number of images."""
        best = self.best
        return best is not None and not any(
            c.name != best.name and c.per_class == best.per_class and c.trains and c.uses_labels == best.uses_labels
            for c in self.choices
        )

    @property
    def compared(self) -> bool:
        """Whether anything else has finished at the best one's number of images."""
        best = self.best
        return best is not None and any(c.name != best.name and c.per_class == best.per_class for c in self.choices)

    @property
    def close(self) -> tuple[Comparison, ...]:
        """Comparisons of the best method with others that train, where no difference is shown."""
        return tuple(c for c in self.comparisons if c.verdict == "no difference shown" and c.other.trains)

    @property
    def tallies(self) -> tuple[MethodPair, ...]:
        """The pairwise counted over the numbers of images, every ordered pair of methods once."""
        counts: dict[tuple[str, str], list[int]] = {}
        for pair in self.pairwise:
            place = ("better", "no difference shown", "worse").index(pair.verdict)
            one, other = pair.one.name, pair.other.name
            counts.setdefault((one, other), [0, 0, 0])[place] += 1
            counts.setdefault((other, one), [0, 0, 0])[2 - place] += 1
        return tuple(MethodPair(*pair, *found) for pair, found in counts.items())
