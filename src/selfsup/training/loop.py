"""The one training loop: views, loss, step, schedule, checkpoint, divergence guard."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from selfsup.backbones.networks import Backbone
from selfsup.config.schema import StudyConfig
from selfsup.errors import Interrupted, UserError
from selfsup.methods.base import Method, Step
from selfsup.seeding import derive_seed
from selfsup.training.diagnostics import effective_rank, step_signals
from selfsup.training.distributed import Shards
from selfsup.views.base import Policy

#: Views grow by so many pixels, in the first so many of the epochs.
RESIZE_STEP, RESIZED_SHARE = 8, 2 / 3


class Images(Protocol):
    """What the loop needs of the store."""

    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        """Pixels uint8 (n, 3, H, W) and true sizes int64 (n, 2) of the images at `indices`."""
        ...


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

    @classmethod
    def of(cls, config: StudyConfig, seed: int, *, epochs: int, lr: float) -> TrainingPlan:
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
        )

    def steps_per_epoch(self, images: int) -> int:
        return max(1, math.ceil(images / self.batch_size))

    def side(self, epoch: int) -> int:
        """Side in pixels of the views of an epoch (from 0): small ones first, for they cost least.

        Grows to `image_size` in steps of 8 over the first two thirds of the epochs (Howard 2018; Tan
        and Le 2021, section 4).
        """
        resizing = min(
            self.epochs * RESIZED_SHARE, self.epochs - 1
        )  # the last epoch has full size, however few there are
        if epoch >= resizing:
            return self.image_size
        first = first_side(self.image_size, self.grow_from)
        return first + int((self.image_size - first) * epoch / resizing) // RESIZE_STEP * RESIZE_STEP

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


def first_side(image_size: int, grow_from: float) -> int:
    """Side in pixels of the first epoch's views: at least 8, and a whole number of steps below `image_size`."""
    steps = int((1 - grow_from) * image_size) // RESIZE_STEP
    return max(min(RESIZE_STEP, image_size), image_size - steps * RESIZE_STEP)


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


@dataclass
class Progress:
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
    epoch_seconds : float
        Training time of the epoch at hand.
    """

    step: int = 0
    seconds: float = 0.0
    sums: list[float] = field(default_factory=lambda: [0.0] * 5)
    epoch_seconds: float = 0.0
    log: list[EpochLog] = field(default_factory=list)


class Outcome(NamedTuple):
    """How a training ended: ``"done"``, ``"diverged"``, or ``"paused"`` with a checkpoint to go on from; its log."""

    status: str
    progress: Progress


class Callbacks(Protocol):
    """What the loop tells, and asks of, whoever runs it."""

    def load_checkpoint(self) -> dict[str, Any] | None: ...

    def save_checkpoint(self, state: dict[str, Any]) -> None: ...

    def checkpoint_due(self) -> bool: ...

    def should_stop(self) -> bool: ...

    def score_epoch(self, epoch: int, backbone: Backbone) -> float | None:
        """Accuracy of the backbone at the end of an epoch, where somebody wants it; changes nothing."""
        ...

    def on_epoch_end(self, log: EpochLog, epochs: int) -> None: ...

    def should_pause(self, epoch: int, backbone: Backbone) -> bool:
        """Whether the training is to pause after so many epochs; changes nothing."""
        ...


class NoCallbacks:
    """Callbacks that do nothing: a training that is watched by nobody and kept nowhere."""

    def load_checkpoint(self) -> dict[str, Any] | None:
        return None

    def save_checkpoint(self, state: dict[str, Any]) -> None: ...

    def checkpoint_due(self) -> bool:
        return False

    def should_stop(self) -> bool:
        return False

    def score_epoch(self, epoch: int, backbone: Backbone) -> float | None:
        return None

    def on_epoch_end(self, log: EpochLog, epochs: int) -> None: ...

    def should_pause(self, epoch: int, backbone: Backbone) -> bool:
        return False


def train(
    method: Method,
    images: Images,
    indices: np.ndarray,
    labels: np.ndarray | None,
    policy: Policy,
    plan: TrainingPlan,
    fabric: Any,
    callbacks: Callbacks | None = None,
) -> Outcome:
    """Train `method` in place.

    Parameters
    ----------
    method : Method
    images : Images
        The store.
    indices : ndarray of int64, shape (n,)
        The training images.
    labels : ndarray of int64, shape (n,), or None
        Classes of the training images.
    policy : Policy
        Makes the views.
    plan : TrainingPlan
    fabric : lightning_fabric.Fabric
        Device and precision. If it joins several processes, each must call this alike; they train one model, with
        the loss and gradients of one process, and heed the callbacks of the first alone when they stop.
    callbacks : Callbacks, optional

    Returns
    -------
    Outcome

    Raises
    ------
    Interrupted
        If `callbacks` asked to stop; the checkpoint is saved.
    UserError
        If there are more processes than images in a batch.
    """
    return Training(method, images, indices, labels, policy, plan, fabric, callbacks or NoCallbacks()).run()


class Request(NamedTuple):
    """A step that a training wants: its epoch and number, from 0, and the rows of its batch among the images."""

    epoch: int
    step: int
    rows: np.ndarray


class Training:
    """The state of one training and its loop.

    Parameters are those of :func:`train`.

    Attributes
    ----------
    sharing : int
        Trainings that share the time of this process; their seconds are divided by it.
    """

    def __init__(
        self,
        method: Method,
        images: Images,
        indices: np.ndarray,
        labels: np.ndarray | None,
        policy: Policy,
        plan: TrainingPlan,
        fabric: Any,
        callbacks: Callbacks,
    ) -> None:
        self.images, self.indices, self.policy, self.plan = images, indices, policy, plan
        self.labels = np.full(len(indices), -1) if labels is None else labels
        self.fabric, self.callbacks = fabric, callbacks
        self.shards = Shards(fabric)
        self.steps_per_epoch = plan.steps_per_epoch(len(indices))
        self.total_steps = plan.epochs * self.steps_per_epoch
        smallest = len(indices) // self.steps_per_epoch
        if smallest < self.shards.count:
            raise UserError(
                f"--devices {self.shards.count} is more than a batch of {smallest} images can be divided among; use "
                f"--devices {max(1, smallest)}, or more images per class."
            )
        self.method = method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = build_optimizer(self.method, plan.lr)
        self.wrapped, self.optimizer = fabric.setup(self.method, optimizer)
        self.wrapped.mark_forward_method("loss")
        self.progress = Progress()
        self.sharing = 1

    def run(self) -> Outcome:
        """Train to the end."""
        steps = self.steps()
        try:
            request = next(steps)
            while True:
                request = steps.send(self.take(request))
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome

    def steps(self) -> Generator[Request, Step, Outcome]:
        """The training without its arithmetic: asks for one step after another, and is sent what it gave."""
        self._resume()
        self.method.train()
        # Not from the step: a checkpoint after an epoch's last step has yet to close that epoch.
        for epoch in range(len(self.progress.log), self._last_epoch()):
            if self.shards.agree(self.callbacks.should_pause(epoch, self.method.backbone)):
                self.callbacks.save_checkpoint(self._state())
                return Outcome("paused", self.progress)
            yield from self._epoch_steps(epoch)
            if self.shards.agree(not math.isfinite(self.progress.log[-1].loss)):
                return Outcome("diverged", self.progress)
            if epoch + 1 == self._last_epoch():
                break
        if self.callbacks.checkpoint_due():
            self.callbacks.save_checkpoint(self._state())
        return Outcome("done", self.progress)

    def _epoch_steps(self, epoch: int) -> Generator[Request, Step, None]:
        progress = self.progress
        # The sums stay on the device: reading them at every step would wait for it.
        sums = torch.tensor(progress.sums, dtype=torch.float64 if self._on_cpu() else torch.float32)
        sums = sums.to(self.fabric.device)
        started = time.perf_counter()
        for rows in self._batches(epoch):
            step = yield Request(epoch, progress.step, rows)
            sums[:-1] += step_signals(step)
            progress.step += 1
            if progress.step == (epoch + 1) * self.steps_per_epoch:
                sums[-1] += effective_rank(step.embedding[: len(rows)])
            self.method.after_step(progress.step / self.total_steps)
            stop = self.shards.agree(self.callbacks.should_stop())
            if stop or self.callbacks.checkpoint_due():
                now = time.perf_counter()
                progress.epoch_seconds += (now - started) / self.sharing
                started = now
                progress.sums = sums.tolist()
                self.callbacks.save_checkpoint(self._state())
                if stop:
                    raise Interrupted
        progress.sums = sums.tolist()
        progress.epoch_seconds += (time.perf_counter() - started) / self.sharing
        self._close_epoch(epoch)

    def _close_epoch(self, epoch: int) -> None:
        progress = self.progress
        *sums, rank = progress.sums
        loss, std, positive, negative = (total / self.steps_per_epoch for total in sums)
        seconds = progress.epoch_seconds
        log = EpochLog(
            epoch=epoch + 1,
            loss=loss,
            lr=self._lr(progress.step - 1),
            momentum=self.method.momentum(progress.step / self.total_steps),
            embedding_std=std,
            effective_rank=rank,
            positive_similarity=_known(positive),
            negative_similarity=_known(negative),
            knn_accuracy=self.shards.broadcast(self.callbacks.score_epoch(epoch + 1, self.method.backbone)),
            seconds=seconds,
            images_per_second=len(self.indices) / seconds,
        )
        self.progress = Progress(progress.step, progress.seconds + seconds, log=[*progress.log, log])
        self.callbacks.on_epoch_end(log, self._last_epoch())

    def take(self, request: Request) -> Step:
        """One step: views, loss, gradient, update."""
        views, labels = self.batch(request)
        # On a single device Fabric hands out `loss` as it is, without its precision.
        with self.fabric.autocast(), self.shards.backbones(self.method):
            result: Step = self.wrapped.loss(views, labels)
        self.fabric.backward(result.loss)
        self.update(request)
        return result

    def batch(self, request: Request) -> tuple[list[Tensor], Tensor]:
        """Views and labels of a step, with torch's random state set to what the step's network is to draw from."""
        views = self._views(request)
        labels = torch.from_numpy(self.labels[request.rows]).to(self.fabric.device)
        torch.manual_seed(derive_seed(self.plan.seed, "network", request.step))  # dropout, MoCo's shuffling
        return views, labels

    def update(self, request: Request) -> None:
        """Let the optimizer use the gradients, at the step's learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._lr(request.step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _views(self, request: Request) -> list[Tensor]:
        rows = request.rows
        mine = self.shards.rows(len(rows))
        pixels, sizes = self.images.batch(self.indices[rows[mine]])
        pixels = pixels.to(self.fabric.device, non_blocking=True)
        all_sizes = self.shards.gather(sizes.cpu(), len(rows))
        side = self.plan.side(request.epoch)
        generator = torch.Generator().manual_seed(derive_seed(self.plan.seed, "views", request.step))
        views = []
        for _ in range(self.method.views):
            # Drawn for the whole batch, so that a view does not depend on how the batch is divided.
            parameters = self.policy.draw(all_sizes, side, generator)[mine]
            views.append(self.shards.gather(self.policy.apply(pixels, sizes.cpu(), parameters, side), len(rows)))
        return views

    def _batches(self, epoch: int) -> Iterator[np.ndarray]:
        """Rows of each batch not yet done: every image once per epoch, in batches of equal size ± 1.

        Equal batches, rather than a short last one that is dropped or trained on as it is: every
        image counts in every epoch, and the number of negatives does not jump.
        """
        order = np.random.default_rng(derive_seed(self.plan.seed, "order", epoch)).permutation(len(self.indices))
        done = self.progress.step - epoch * self.steps_per_epoch
        yield from np.array_split(order, self.steps_per_epoch)[done:]

    def _lr(self, step: int) -> float:
        rate = learning_rate(self.plan, step, self.steps_per_epoch, self.total_steps)
        cooldown = self.plan.cooldown(self.progress.log)
        if cooldown is None:
            return rate
        epochs_left = cooldown.ends - step / self.steps_per_epoch
        return rate * epochs_left / (cooldown.ends - cooldown.begins)

    def _last_epoch(self) -> int:
        """Number of epochs after which the training is over, as far as is known."""
        cooldown = self.plan.cooldown(self.progress.log)
        return self.plan.epochs if cooldown is None else cooldown.ends

    def _on_cpu(self) -> bool:
        return self.fabric.device.type == "cpu"

    def _state(self) -> dict[str, Any]:
        return {
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "progress": asdict(self.progress),
        }

    def _resume(self) -> None:
        state = self.callbacks.load_checkpoint()
        if state is None:
            return
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        saved = dict(state["progress"])
        saved["log"] = [EpochLog(**line) for line in saved["log"]]
        self.progress = Progress(**saved)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def learning_rate(plan: TrainingPlan, step: int, steps_per_epoch: int, total_steps: int) -> float:
    """Learning rate of the step number `step` (from 0): linear warm-up, then cosine or constant."""
    warmup = plan.warmup_epochs * steps_per_epoch
    if step < warmup:
        return plan.lr * min(1, (step + 1) / warmup)
    if plan.schedule == "constant":
        return plan.lr
    share = (step - warmup) / max(1, total_steps - warmup)
    return plan.lr * (1 + math.cos(math.pi * share)) / 2


def build_optimizer(method: Method, lr: float) -> torch.optim.Optimizer:
    """The optimizer that the method's settings name, over its parameters that take a gradient."""
    settings = method.settings
    parameters = [p for p in method.parameters() if p.requires_grad]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=lr, momentum=settings.optimizer_momentum, weight_decay=settings.weight_decay
        )
    if settings.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=lr, weight_decay=settings.weight_decay, fused=True)
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=lr, weight_decay=settings.weight_decay, fused=True)
    return _lars(parameters, lr, settings)


def _lars(parameters: list[torch.nn.Parameter], lr: float, settings: Any) -> torch.optim.Optimizer:
    """LARS (You et al. 2017); biases and norms take no decay and no adaptation (Grill et al. 2020, 3.3)."""
    from timm.optim.lars import Lars

    # timm adapts only what decays unless told otherwise, and without decay would be plain SGD.
    adapted = {"weight_decay": settings.weight_decay, "always_adapt": True}
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], **adapted},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return Lars(groups, lr=lr, momentum=settings.optimizer_momentum)
