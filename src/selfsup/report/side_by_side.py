"""Several studies on one page: data sets beside each other, or one before and after a change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from selfsup._version import __version__
from selfsup.atomic import replace_file
from selfsup.config.schema import StudyConfig, role_of
from selfsup.errors import UserError
from selfsup.execution.words import listed
from selfsup.figures.critical import critical_difference
from selfsup.report.export import write_figures
from selfsup.report.findings import Answer, Choice
from selfsup.report.page import templates
from selfsup.report.pictures import NamedFigure, for_both_screens
from selfsup.report.ranks import LEAST_DATASETS, Ranks, rank_methods
from selfsup.report.recorded import RecordedStudy, read_study
from selfsup.report.selection import size_order
from selfsup.report.table import headline
from selfsup.report.verdict import answer_study

#: Settings that change no number.
NOT_COMPARED = {name for name in StudyConfig.model_fields if role_of(name) in ("contents", "runtime")}


@dataclass(frozen=True)
class Side:
    """One of the studies.

    Attributes
    ----------
    title : str
        Name of its data set, and of its folder where two studies share a data set.
    study : RecordedStudy
    answer : Answer
    headline : str
    """

    title: str
    study: RecordedStudy
    answer: Answer
    headline: str

    def choice(self, method: str, size: str) -> Choice | None:
        """The method's choice at a number of images, if it has one."""
        return next((c for c in self.answer.of(method) if c.per_class == size), None)

    @property
    def largest(self) -> dict[str, float]:
        """Test score of each method at the largest number of images."""
        at = self.answer.sizes[-1:]
        return {c.name: c.test_score for c in self.answer.choices if c.per_class in at and c.test_score is not None}


def write_comparison(study_dirs: Sequence[Path], path: Path, asked: Mapping[str, Any] = {}) -> Path:
    """Write one page with several studies side by side; returns its path.

    Raises
    ------
    UserError
        If a folder is not a study, one is named twice, their metrics differ, or the page cannot be written.
    """
    replace_file(path, render(study_dirs, asked).encode("utf-8", "backslashreplace"))
    return path


def export_comparison(study_dirs: Sequence[Path], folder: Path, asked: Mapping[str, Any] = {}) -> list[Path]:
    """Write the critical-difference diagram of several studies into `folder`, as PNG and as PDF.

    Raises
    ------
    UserError
        If there are too few data sets for it, or as :func:`write_comparison` does.
    """
    sides = _sides(study_dirs, asked)
    ranks = rank_sides(sides)
    if ranks is None:
        raise UserError(
            f"--figures has nothing to draw: {_why_unranked(sides)}; name other studies, or one to have its figures."
        )
    return write_figures([_diagram(ranks)], folder)


def render(study_dirs: Sequence[Path], asked: Mapping[str, Any] = {}) -> str:
    """The text of the page."""
    sides = _sides(study_dirs, asked)
    ranks = rank_sides(sides)
    choices = [choice for side in sides for choice in side.answer.choices]
    methods = dict.fromkeys(choice.name for choice in choices)
    return templates().get_template("side_by_side.html.j2").render(
        sides=sides,
        score=sides[0].answer.metric.words,
        category=" or ".join(dict.fromkeys(side.answer.category for side in sides)),
        methods={
            size: [name for name in methods if any((c.name, c.per_class) == (name, size) for c in choices)]
            for size in size_order(choice.per_class for choice in choices)
        },
        differences=differences([side.study for side in sides]),
        ranks=ranks,
        diagram=for_both_screens(_diagram(ranks)) if ranks else None,
        unranked=_why_unranked(sides) if ranks is None else "",
        version=__version__,
        written=f"{datetime.now():%Y-%m-%d %H:%M}",
    )  # fmt: skip


def rank_sides(sides: Sequence[Side]) -> Ranks | None:
    """Ranks of the methods that all studies have, at each study's largest number of images.

    Several studies of one data set count once, with the mean of their scores. None for fewer than three different data
    sets, or fewer than two methods in common.
    """
    common, datasets = _in_all(sides), _by_dataset(sides)
    if len(datasets) < LEAST_DATASETS or len(common) < 2:
        return None
    return rank_methods(
        [[fmean(side.largest[name] for side in of_one) for name in common] for of_one in datasets], common
    )


def _by_dataset(sides: Sequence[Side]) -> list[list[Side]]:
    """The studies of each data set."""
    found: dict[Any, list[Side]] = {}
    for side in sides:
        found.setdefault(side.study.images or side.study.dataset["name"], []).append(side)
    return list(found.values())


def _in_all(sides: Sequence[Side]) -> list[str]:
    """The methods that every study has at its largest number of images."""
    return [method for method in sides[0].largest if all(method in side.largest for side in sides)]


def _why_unranked(sides: Sequence[Side]) -> str:
    """What is missing where :func:`rank_sides` finds no ranks."""
    if (datasets := len(_by_dataset(sides))) < LEAST_DATASETS:
        return f"methods are ranked from {LEAST_DATASETS} different data sets on, and these studies are of {datasets}"
    who = f"only {common} is in all" if (common := listed(_in_all(sides))) else "none is in all"
    return f"at least 2 methods must be in each study at its largest number of images, and {who}"


def differences(studies: Sequence[RecordedStudy]) -> dict[str, tuple[str, ...]]:
    """Settings that differ between studies, in the order of the configuration, with the value in each study."""
    tables = [_settings(study) for study in studies]
    names = dict.fromkeys(name for table in tables for name in table)
    rows = {name: tuple(table.get(name, "–") for table in tables) for name in names}
    return {name: values for name, values in rows.items() if len(set(values)) > 1}


def _settings(study: RecordedStudy) -> dict[str, str]:
    flat = {name: value for name, value in study.settings.items() if name != "settings"}
    for method, settings in study.settings.get("settings", {}).items():
        flat |= {f"{method}.{name}": value for name, value in settings.items()}
    return {
        name: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in flat.items()
        if name not in NOT_COMPARED
    }


def _sides(study_dirs: Sequence[Path], asked: Mapping[str, Any]) -> list[Side]:
    places = [Path(place).resolve() for place in study_dirs]
    for place in places:
        if places.count(place) > 1:
            raise UserError(f"'{place}' is named twice; name different studies.")
    studies = [read_study(place, asked) for place in study_dirs]
    metrics = dict.fromkeys(study.metric.words for study in studies)
    if len(metrics) > 1:
        raise UserError(
            f"The studies compare by different metrics ({', '.join(metrics)}); name one for all with --metric."
        )
    names = [str(study.dataset["name"]) for study in studies]
    sides = []
    for study, name in zip(studies, names, strict=True):
        found = answer_study(study)
        title = name if names.count(name) == 1 else f"{name} ({study.path.resolve().name})"
        sides.append(Side(title, study, found, headline(found)))
    return sides


def _diagram(ranks: Ranks) -> NamedFigure:
    alt = "Critical-difference diagram: " + ", ".join(
        f"{method} {rank:.2f}" for method, rank in zip(ranks.methods, ranks.average, strict=True)
    )
    draw = partial(critical_difference, ranks.methods, ranks.average, ranks.groups, ranks.critical_difference)
    return NamedFigure("critical-difference", "Critical-difference diagram", draw, alt)
