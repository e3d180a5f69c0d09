"""What an evaluator is, and the columns of ``results.csv`` that it declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from selfsup.evaluation.evaluation_context import EvaluationContext


@dataclass(frozen=True)
class Column:
    """A column of ``results.csv``, which every table of results is made from.

    Attributes
    ----------
    name : str
    about : str
        What it is, for ``docs/measures.md``; up to the first colon, its name in words.
    type : {str, int, float}
        Of its values; any of them may be missing.
    heading : str
        Above it in the report's table of cells; empty where it is not shown there.
    better : {"higher", "lower"}, float or None
        Which values are better; a number: those near it. None where none is.
    form : str
        How its numbers are written; empty for texts.
    last : bool
        Whether it stands at the end of ``results.csv``, as a detail.
    """

    name: str
    about: str
    type: type = float
    heading: str = ""
    better: Literal["higher", "lower"] | float | None = None
    form: str = ".3f"
    last: bool = False

    @property
    def title(self) -> str:
        """Its name in words."""
        return self.about.split(":")[0]

    def goodness(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The values such that a larger one is better."""
        if isinstance(self.better, str):
            return values if self.better == "higher" else -values
        assert self.better is not None
        return -abs(values - self.better)


@dataclass(frozen=True)
class Evaluated:
    """What is found out about a cell.

    Attributes
    ----------
    values : mapping of str to number or text
        By column; one that is left out, or not finite, is missing.
    extras : mapping of str to JSON
        What else is written to ``metrics.json``.
    arrays : mapping of str to mapping of str to ndarray
        Further files of the cell's folder: the arrays of each ``.npz``, by its name without the ending.
    predicted : ndarray of int64, shape (n,), optional
        Class, or cluster, of each of the cell's test images; where they may have several labels, which ones, bool of
        shape (n, labels).
    confidence : ndarray of float32, shape (n,), optional
        The predictions' probabilities; of several labels, that of each, of shape (n, labels).
    """

    values: Mapping[str, Any]
    extras: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    predicted: np.ndarray | None = None
    confidence: np.ndarray | None = None


@dataclass(frozen=True)
class Evaluator:
    """One way to evaluate cells; what an evaluator's file calls ``evaluator``.

    Attributes
    ----------
    evaluate : callable
        From a cell's :class:`EvaluationContext` to what was found out.
    columns : tuple of Column
        All that it gives values for.
    needs_labels : bool
        Whether it has nothing to say of images without labels.
    takes_several : bool
        Whether it also evaluates images that may have several labels: their `y` is bool, of shape (n, labels).
    default : bool
        Whether every cell is evaluated by it, or only those of studies that name it in ``--evaluate``.
    order : int
        Its place among the evaluators, and that of its columns in ``results.csv``.
    """

    evaluate: Callable[[EvaluationContext], Evaluated]
    columns: tuple[Column, ...]
    needs_labels: bool = False
    takes_several: bool = False
    default: bool = False
    order: int = 100

    def applies(self, *, labelled: bool, several: bool) -> bool:
        """Whether it has something to say of images with or without labels, or with several."""
        return (labelled or not self.needs_labels) and (self.takes_several or not several)
