"""The one training loop: views, loss, step, schedule, checkpoint, divergence guard."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfsup.errors import Interrupted
from selfsup.methods.base import Batch, Method, Progress, Step
from selfsup.seeding import derive_seed
from selfsup.training.batches import ON_CUDA, Batches, Images, Loading, Request
from selfsup.training.callbacks import Callbacks
from selfsup.training.diagnostics import effective_rank, loss_exploded, step_signals
from selfsup.training.distributed import Shards
from selfsup.training.graphs import GRAPHS_ON_CUDA, Graphs
from selfsup.training.optimizers import build_optimizer, recipe_of, set_rates
from selfsup.training.plan import TrainingPlan, learning_rate, require_shares, side_step_of
from selfsup.training.state import EpochLog, Outcome, TrainingState
from selfsup.views import Policy, with_policies
from selfsup.views.base import to_device


class Training:
    """The training of a method, in place: its state and its loop.

    Parameters
    ----------
    method : Method
    images : Images
        The store.
    indices : ndarray of int64, shape (n,)
        The training images.
    labels : ndarray of int64, shape (n,), or bool, shape (n, labels), or None
        Classes of the training images.
    policy : Policy
        Makes the views of the groups that name no policy of their own.
    plan : TrainingPlan
    fabric : lightning_fabric.Fabric
        Device and precision. If it joins several processes, each must train alike; they train one model, with
        the loss and gradients of one process, and stop when the callbacks of the first say so.
    callbacks : Callbacks, optional
    loading : Loading, optional
        How images come to the device; plainly by default, on a CUDA device as `ON_CUDA` says.
    graphs : bool, optional
        Whether the backbones are computed as CUDA graphs, on one CUDA device; by default as `GRAPHS_ON_CUDA` says.

    Raises
    ------
    UserError
        If there are more processes than images in a batch.

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
        callbacks: Callbacks | None = None,
        loading: Loading | None = None,
        graphs: bool | None = None,
    ) -> None:
        self.indices = indices
        self.plan = replace(plan, side_step=side_step_of(method.backbone.patch_size))
        self.fabric, self.callbacks = fabric, callbacks or Callbacks()
        self.shards = Shards(fabric)
        self.steps_per_epoch = plan.steps_per_epoch(len(indices))
        self.total_steps = plan.epochs * self.steps_per_epoch
        require_shares(len(indices), plan.batch_size, self.shards.count)
        self.method = method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.recipe = recipe_of(method)
        view_groups = with_policies(method.view_groups(), policy)
        labels = np.full(len(indices), -1) if labels is None else labels
        cuda = fabric.device.type == "cuda"
        loading = loading or (ON_CUDA if cuda else Loading())
        self.batches = Batches(images, indices, labels, view_groups, self.plan, self.shards, fabric.device, loading)
        graphs = cuda and GRAPHS_ON_CUDA if graphs is None else graphs
        self.graphs = Graphs(self.batches.pause) if graphs and self.shards.count == 1 else None
        scaler = getattr(fabric.strategy.precision, "scaler", None)
        optimizer = build_optimizer(self.method, plan.lr, fused=scaler is None)
        self.wrapped, self.optimizer = fabric.setup(self.method, optimizer)
        self.wrapped.mark_forward_method("loss")
        self.state = TrainingState()
        self.sharing = 1

    def run(self) -> Outcome:
        """Train to the end.

        Raises
        ------
        Interrupted
            If the callbacks asked to stop; the checkpoint is saved.
        """
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
        while not (diverged := self._diverged()) and (epoch := len(self.state.log)) < self._last_epoch():
            if self.shards.agree(self.callbacks.should_pause(epoch, self.method.encoder)):
                self.save_checkpoint()
                return Outcome("paused", self.state, self.recipe)
            yield from self._epoch_steps(epoch)
        if self.callbacks.checkpoint_due():
            self.save_checkpoint()
        return Outcome("diverged" if diverged else "done", self.state, self.recipe)

    def _diverged(self) -> bool:
        """Whether the loss had exploded at the end of the last epoch."""
        log = self.state.log
        return self.shards.agree(bool(log) and loss_exploded(log[-1].loss, self.state.first_loss))

    def _epoch_steps(self, epoch: int) -> Generator[Request, Step, None]:
        state = self.state
        # The sums stay on the device: reading them at every step would wait for it.
        sums = self._sums(state.sums)
        scalars = {name: self._sums(total) for name, total in state.scalar_sums.items()}
        first = self._sums(state.first_loss)
        started = time.perf_counter()
        for number in range(state.step, (epoch + 1) * self.steps_per_epoch):
            request = self.batches.request(number)
            step = yield request
            sums[:-1] += step_signals(step)
            first = sums[0].clone() if not state.step else first
            for name, value in step.scalars.items():
                scalars[name] = scalars.get(name, self._sums(0.0)) + value.detach()
            state.step += 1
            if state.step == (epoch + 1) * self.steps_per_epoch:
                sums[-1] += effective_rank(step.embedding[: len(request.rows)])
            self.method.after_step(self._progress(state.step))
            stop = self.shards.agree(self.callbacks.should_stop())
            if stop or self.callbacks.checkpoint_due():
                now = time.perf_counter()
                state.epoch_seconds += (now - started) / self.sharing
                started = now
                self._keep_sums(sums, scalars, first)
                self.save_checkpoint()
                if stop:
                    raise Interrupted
        self._keep_sums(sums, scalars, first)
        state.epoch_seconds += (time.perf_counter() - started) / self.sharing
        self._close_epoch(epoch)

    def _sums(self, values: float | list[float]) -> Tensor:
        kind = torch.float64 if self.fabric.device.type == "cpu" else torch.float32
        return to_device(torch.tensor(values, dtype=kind), self.fabric.device)

    def _keep_sums(self, sums: Tensor, scalars: Mapping[str, Tensor], first: Tensor) -> None:
        self.state.sums, self.state.first_loss = sums.tolist(), first.item()
        self.state.scalar_sums = {name: total.item() for name, total in scalars.items()}

    def _close_epoch(self, epoch: int) -> None:
        state = self.state
        *sums, rank = state.sums
        loss, std, positive, negative = (total / self.steps_per_epoch for total in sums)
        seconds = state.epoch_seconds
        log = EpochLog(
            epoch=epoch + 1,
            loss=loss,
            lr=self._lr(state.step - 1),
            momentum=self.method.momentum(self._progress(state.step)),
            embedding_std=std,
            effective_rank=rank,
            positive_similarity=_known(positive),
            negative_similarity=_known(negative),
            knn_accuracy=self.shards.broadcast(self.callbacks.score_epoch(epoch + 1, self.method.encoder)),
            seconds=seconds,
            images_per_second=self.plan.passes(len(self.indices)) * len(self.indices) / seconds,
            scalars={name: total / self.steps_per_epoch for name, total in state.scalar_sums.items()},
        )
        log_so_far = [*state.log, log]
        self.state = TrainingState(state.step, state.seconds + seconds, first_loss=state.first_loss, log=log_so_far)
        self.callbacks.on_epoch_end(log, self._last_epoch())

    def take(self, request: Request) -> Step:
        """One step: views, loss, gradient, update."""
        batch = self.batch(request)
        # On a single device Fabric hands out `loss` as it is, without its precision.
        replaced = self.shards if self.graphs is None else self.graphs
        with self.fabric.autocast(), replaced.backbones(self.method):
            result: Step = self.wrapped.loss(batch)
        self.fabric.backward(result.loss)
        self.update(request)
        return result

    def batch(self, request: Request) -> Batch:
        """The batch of a step, with torch's random state set to what the step's network is to draw from."""
        inputs = self.batches.get(request)
        torch.manual_seed(derive_seed(self.plan.seed, "network", request.step))  # dropout, MoCo's shuffling
        return Batch(inputs.views, inputs.labels, self._progress(request.step), inputs.masks, inputs.places)

    def update(self, request: Request) -> None:
        """Let the optimizer use the gradients, at the step's learning rate and weight decay."""
        progress = self._progress(request.step)
        self.method.after_backward(progress)
        if self.recipe.clip is not None:
            self.fabric.clip_gradients(
                self.wrapped, self.optimizer, max_norm=self.recipe.clip, error_if_nonfinite=False
            )
        set_rates(self.optimizer, self.recipe, lr=self._lr(request.step), base_lr=self.plan.lr, share=progress.share)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _lr(self, step: int) -> float:
        rate = learning_rate(self.plan, step, self.steps_per_epoch, self.total_steps)
        cooldown = self.plan.cooldown(self.state.log)
        if cooldown is None:
            return rate
        epochs_left = cooldown.ends - step / self.steps_per_epoch
        return rate * epochs_left / (cooldown.ends - cooldown.begins)

    def _last_epoch(self) -> int:
        """Number of epochs after which the training is over, as far as is known."""
        cooldown = self.plan.cooldown(self.state.log)
        return self.plan.epochs if cooldown is None else cooldown.ends

    def _progress(self, step: int) -> Progress:
        return Progress(step, self.total_steps, self.steps_per_epoch)

    def save_checkpoint(self) -> None:
        """Have all kept that the training needs to go on from here, or to be found ended."""
        self.callbacks.save_checkpoint(
            {
                "method": self.method.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "precision": self.fabric.strategy.precision.state_dict(),
                "state": self.state.to_dict(),
            }
        )

    def _resume(self) -> None:
        saved = self.callbacks.load_checkpoint()
        if saved is None:
            return
        self.method.load_state_dict(saved["method"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.fabric.strategy.precision.load_state_dict(saved["precision"])
        self.state = TrainingState.from_dict(saved["state"])


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
