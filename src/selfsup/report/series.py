"""From the results table to the panels and curves of the figures."""

from __future__ import annotations

import numpy as np
import pandas as pd

from selfsup.config.axes import COMPARED, format_lr
from selfsup.evaluation.metrics import ACCURACY, Metric
from selfsup.figures.curves import Curve
from selfsup.figures.heatmaps import Panel, Square
from selfsup.report.findings import Answer, Choice
from selfsup.report.recorded import RecordedStudy
from selfsup.report.selection import candidate_names, choose, size_order

#: From so many methods on, intervals that lie over each other hide the curves.
MANY_CURVES = 7
WORST_FIRST = ("failed", "diverged", "collapsed", "pruned")


def heatmap_panels(results: pd.DataFrame, metric: Metric = ACCURACY) -> list[Panel]:
    """One panel per trained method and augmentation, learning rates by images per class."""
    trained = results[results["lr"].notna()]
    sizes = size_order(trained["per_class"])
    chosen = {cell for cells in choose(trained, metric, per_augmentation=True)["cells"] for cell in cells}
    panels = []
    names = candidate_names(results)
    for (method, backbone, augmentation), rows in trained.groupby([*COMPARED, "augmentation"], sort=False):
        lrs = sorted(rows["lr"].unique())
        cells = dict(list(rows.groupby(["lr", "per_class"], sort=False)))
        nothing, of_them = rows.iloc[:0], chosen if len(lrs) > 1 else set()
        squares = tuple(tuple(_square(cells.get((lr, size), nothing), of_them, metric) for size in sizes) for lr in lrs)
        panels.append(
            Panel(names[method, backbone], str(augmentation), tuple(map(format_lr, lrs)), tuple(sizes), squares)
        )
    return panels


def baseline_panel(results: pd.DataFrame, metric: Metric = ACCURACY) -> Panel | None:
    """The baselines that do not train, a row each; None where there are none."""
    rows = results[results["lr"].isna() & (results["augmentation"] == "")]
    if rows.empty:
        return None
    names, sizes = candidate_names(results), size_order(rows["per_class"])
    candidates = dict(list(rows.groupby(COMPARED, sort=False)))
    squares = tuple(
        tuple(_square(found[found["per_class"] == size], set(), metric) for size in sizes)
        for found in candidates.values()
    )
    return Panel("baselines without training", "", tuple(names[found] for found in candidates), tuple(sizes), squares)


def _square(cells: pd.DataFrame, chosen: set[str], metric: Metric) -> Square:
    done = cells[cells["status"] == "done"]
    scores = done[metric.test].dropna()
    if done.empty:
        status = next((s for s in WORST_FIRST if (cells["status"] == s).any()), "")
        return Square(status=status, cell=cells["cell"].iloc[0] if len(cells) else "")
    return Square(
        mean=float(scores.mean()) if len(scores) else None,
        sd=float(scores.std(ddof=1)) if len(scores) > 1 else None,
        status="done",
        chosen=bool(done["cell"].isin(chosen).any()),
        cell=str(done["cell"].iloc[0]),
    )


def with_intervals(answer: Answer) -> list[str]:
    """The methods whose intervals are drawn: all, or of many the best one and its nearest network without training."""
    if len(answer.names) < MANY_CURVES:
        return list(answer.names)
    rivals = [gain.other.name for gain in answer.gains[-1:]]
    return [*([answer.best.name] if answer.best else []), *rivals]


def score_series(answer: Answer, places: dict[str, float]) -> list[Curve]:
    """A curve per method at its chosen settings; baselines last."""
    curves, shaded = [], with_intervals(answer)
    for method in answer.names:
        points = [c for c in answer.of(method) if c.test_score is not None and c.per_class in places]
        points.sort(key=lambda choice: places[choice.per_class])
        if points:
            curves.append(_curve(method, points, places, shaded=method in shaded))
    return sorted(curves, key=lambda curve: curve.baseline)


def _curve(method: str, points: list[Choice], places: dict[str, float], *, shaded: bool) -> Curve:
    intervals = [c.interval if shaded else None for c in points]
    return Curve(
        name=method,
        sizes=tuple(places[c.per_class] for c in points),
        scores=tuple(c.test_score or 0.0 for c in points),
        low=tuple(interval.low if interval else np.nan for interval in intervals),
        high=tuple(interval.high if interval else np.nan for interval in intervals),
        baseline=not points[0].self_supervised,
    )


def chosen_trainings(study: RecordedStudy, answer: Answer) -> list[tuple[Choice, dict[str, np.ndarray]]]:
    """Each method's choice at its largest number of images, with the training log of its first cell by columns."""
    largest = [answer.of(method)[-1] for method in answer.names]
    logs = [(choice, study.training_log(choice.cells[0])) for choice in largest]
    return [
        (choice, {str(name): log[name].to_numpy() for name in log.columns}) for choice, log in logs if log is not None
    ]


def size_places(study: RecordedStudy) -> dict[str, float]:
    """Where each number of images lies on the axis; shares and ``"all"`` at the mean over the classes."""
    sizes = size_order(study.results["per_class"])
    places = {size: float(size) if size.isdecimal() else study.mean_per_class(size) for size in sizes if size != "all"}
    if "all" in sizes:
        largest = max(places.values(), default=0.0)
        # Classes may hold fewer images than the largest size; "all" still lies to its right.
        places["all"] = max(study.mean_per_class("all"), largest * 1.1, 1.0)
    return places
