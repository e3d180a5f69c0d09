"""What a training knows of itself: a log line for every epoch, where it stands, how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from selfsup.methods.parts.recipe import Recipe


@dataclass
class EpochLog:
    """One line of ``training_log.csv``; None where a value does not apply.

    Attributes
    ----------
    epoch : int
        From 1.
    loss, embedding_std, positive_similarity, negative_similarity : float
        Means over the epoch's steps.
    lr, momentum : float
        Of the epoch's last step; `momentum` is that of the slowly moving copy.
    effective_rank : float
        Of the epoch's last batch, so at most the batch size.
    knn_accuracy : float
        Of validation images, in the epochs in which it was asked for.
    seconds, images_per_second : float
        Of the training alone.
    scalars : dict of str to float
        What the method reports by name: means over the epoch's steps.
    """

    epoch: int
    loss: float
    lr: float
    momentum: float | None
    embedding_std: float
    effective_rank: float
    positive_similarity: float | None
    negative_similarity: float | None
    knn_accuracy: float | None
    seconds: float
    images_per_second: float
    scalars: dict[str, float] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """Every value by its column; the method's own come last."""
        row = asdict(self)
        scalars: dict[str, float] = row.pop("scalars")
        return {**row, **{name: value for name, value in scalars.items() if name not in row}}


@dataclass
class TrainingState:
    """Where a training stands; all that is needed to go on from there.

    Attributes
    ----------
    step : int
        Steps done.
    seconds : float
        Training time of the epochs in `log`.
    sums : list of float
        Sums over the steps of the epoch at hand: the signals of a step, then the effective rank,
        which is 0 until the epoch's last step.
    scalar_sums : dict of str to float
        The same of what the method reports by name.
    epoch_seconds : float
        Training time of the epoch at hand.
    first_loss : float
        Of the first step.
    """

    step: int = 0
    seconds: float = 0.0
    sums: list[float] = field(default_factory=lambda: [0.0] * 5)
    scalar_sums: dict[str, float] = field(default_factory=dict)
    epoch_seconds: float = 0.0
    first_loss: float = 0.0
    log: list[EpochLog] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingState:
        """What :meth:`to_dict` wrote."""
        return cls(**{**values, "log": [EpochLog(**line) for line in values["log"]]})


class Outcome(NamedTuple):
    """How a training ended: ``"done"``, ``"diverged"``, or ``"paused"`` with a checkpoint to go on from; its log.

    `recipe` is what it was optimised by; None where there was no training.
    """

    status: str
    state: TrainingState
    recipe: Recipe | None = None
