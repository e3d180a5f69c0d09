"""How a training is planned: epochs, sides of the views, learning rates, and when it ends early."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from selfsup.config.schema import StudyConfig
from selfsup.errors import UserError
from selfsup.training.state import EpochLog
from selfsup.views.view_groups import SIDE_STEP

#: Share of the epochs, the first ones, in which views grow to their full size.
RESIZED_SHARE = 2 / 3


@dataclass(frozen=True)
class TrainingPlan:
    """How a cell is trained; everything that the numbers depend on beside the images.

    Attributes
    ----------
    epochs : int
        At most; fewer where `patience` ends the training.
    grow_from : float
        Side of the first epoch's views as a share of `image_size`, in (0, 1]; 1 for views of one size.
    patience : int
        Scores of the online kNN in a row without a new best, after which the training ends; 0 for never.
    side_step : int
        Sides of views that are not of full size are multiples of so many pixels; the loop sets it by the network.
    min_steps : int
        Steps of a whole training, at least: with few images, an epoch passes over them several times.
    """

    epochs: int
    batch_size: int
    image_size: int
    lr: float
    seed: int
    schedule: str = "cosine"
    warmup_epochs: float = 0.0
    grow_from: float = 1.0
    patience: int = 0
    side_step: int = SIDE_STEP
    min_steps: int = 0

    @classmethod
    def of(cls, config: StudyConfig, seed: int, *, epochs: int, lr: float, min_steps: int = 0) -> TrainingPlan:
        """As the study has it, with views of one size, to the last epoch."""
        return cls(
            epochs=epochs,
            batch_size=config.batch_size,
            image_size=config.side,
            lr=lr,
            seed=seed,
            schedule=config.schedule,
            # A short run of a preset made for long ones must still reach the learning rate that it quotes.
            warmup_epochs=min(config.warmup_epochs, epochs / 10),
            min_steps=min_steps,
        )

    def passes(self, images: int) -> int:
        """Passes over so many images in an epoch."""
        return max(1, math.ceil(self.min_steps / (self.epochs * self.steps_per_pass(images))))

    @property
    def few_images(self) -> int:
        """Most images that an epoch passes over several times; 0 where it passes over any number once."""
        return self.batch_size * max(0, math.ceil(self.min_steps / self.epochs) - 1)

    def steps_per_epoch(self, images: int) -> int:
        return self.passes(images) * self.steps_per_pass(images)

    def steps_per_pass(self, images: int) -> int:
        return steps_per_pass(images, self.batch_size)

    def side(self, epoch: int) -> int:
        """Side in pixels of the views of an epoch (from 0): small ones first, for they cost least.

        Progressive resizing: grows to `image_size` in steps of `side_step` over the first two thirds of the
        epochs (Howard 2018; Tan and Le 2021, section 4).
        """
        resizing = min(
            self.epochs * RESIZED_SHARE, self.epochs - 1
        )  # the last epoch has full size, however few there are
        if epoch >= resizing:
            return self.image_size
        first = first_side(self.image_size, self.grow_from, self.side_step)
        return first + int((self.image_size - first) * epoch / resizing) // self.side_step * self.side_step

    @property
    def sides(self) -> list[int]:
        """:meth:`side` of every epoch."""
        return [self.side(epoch) for epoch in range(self.epochs)]

    def cooldown(self, log: Sequence[EpochLog]) -> Cooldown | None:
        """The decay into which a training whose epochs were `log` has entered, if it has.

        It begins when the online kNN has levelled off on views of full size, and takes a tenth of the
        epochs, as the decay of warmup-stable-decay schedules does (Hu et al. 2024, section 4).
        """
        best, without_best = -math.inf, 0
        for line in log if self.patience else []:
            if line.knn_accuracy is None or self.side(line.epoch - 1) < self.image_size:
                continue
            without_best = 0 if line.knn_accuracy > best else without_best + 1
            best = max(best, line.knn_accuracy)
            if without_best == self.patience:
                return Cooldown(line.epoch, min(self.epochs, line.epoch + math.ceil(self.epochs / 10)))
        return None


class Cooldown(NamedTuple):
    """The last epochs of a training, in which its learning rate falls to 0: numbers of epochs done."""

    begins: int
    ends: int


def steps_per_pass(images: int, batch_size: int) -> int:
    """Batches of one pass over so many images."""
    # Batch normalisation has no use for a batch of one.
    return max(1, min(math.ceil(images / batch_size), images // 2))


def require_shares(images: int, batch_size: int, devices: int, what: str = "A training") -> None:
    """Refuse trainings, `what` in words, on so many images that a batch has fewer of them than there are devices.

    Raises
    ------
    UserError
        Names the most devices, and what would do for more.
    """
    smallest = images // steps_per_pass(images, batch_size)
    if smallest < devices:
        more = "train on more images" if images <= batch_size else "a larger --batch-size"
        raise UserError(
            f"{what} on {images} images has batches of {smallest}, too few for --devices {devices}; use --devices "
            f"{max(1, smallest)}, or {more}."
        )


def first_side(image_size: int, grow_from: float, step: int = SIDE_STEP) -> int:
    """Side in pixels of the first epoch's views: at least `step`, and a whole number of steps below `image_size`."""
    steps = int(round((1 - grow_from) * image_size, 6)) // step  # 1 - 0.9 is less than a tenth
    return max(min(step, image_size), image_size - steps * step)


def side_step_of(patch_size: int | None) -> int:
    """What sides of views must be multiples of: a patch where the network has any, else 8 pixels."""
    return patch_size or SIDE_STEP


def learning_rate(plan: TrainingPlan, step: int, steps_per_epoch: int, total_steps: int) -> float:
    """Learning rate of the step number `step` (from 0): linear warm-up, then cosine or constant."""
    warmup = plan.warmup_epochs * steps_per_epoch
    if step < warmup:
        return plan.lr * min(1, (step + 1) / warmup)
    if plan.schedule == "constant":
        return plan.lr
    share = (step - warmup) / max(1, total_steps - warmup)
    return plan.lr * (1 + math.cos(math.pi * share)) / 2
