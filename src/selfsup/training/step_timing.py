"""How long training steps take, timed on their own before there is a training."""

from __future__ import annotations

import time

import numpy as np
import torch

from selfsup.methods.base import Batch, Method, Progress
from selfsup.training.batches import Batches, Images, Loading
from selfsup.training.device import Hardware
from selfsup.training.distributed import Shards
from selfsup.training.optimizers import build_optimizer
from selfsup.training.plan import TrainingPlan
from selfsup.views import Policy, with_policies

#: What forward and backward pass compute in, where not in float32.
REDUCED = {"bf16": torch.bfloat16, "fp16": torch.float16}


def time_steps(method: Method, images: Images, policy: Policy, plan: TrainingPlan, hardware: Hardware) -> list[float]:
    """Seconds of every step of a plan whose epochs are a batch each, with the views of its step.

    They do what :class:`selfsup.training.loop.Training` does on one device, but for clipping and what is watched. A
    plan of a study is made in seconds, and so does without its Lightning Fabric: that imports torchmetrics where it is
    installed, which takes one.

    Parameters
    ----------
    method : Method
        Trained in place, and brought to the device.
    images : Images
        At least a batch.
    policy : Policy
    plan : TrainingPlan
    hardware : Hardware
    """
    device, indices = torch.device(hardware.device), np.arange(plan.batch_size)
    view_groups = with_policies(method.view_groups(), policy)
    batches = Batches(images, indices, indices % 10, view_groups, plan, Shards(), device, Loading())
    method.train().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer, dtype = build_optimizer(method, plan.lr), REDUCED.get(hardware.precision)
    seconds = []
    for number in range(plan.epochs):
        began, progress = time.perf_counter(), Progress(number, plan.epochs, 1)
        inputs = batches.get(batches.request(number))
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            loss = method.loss(Batch(inputs.views, inputs.labels, progress, inputs.masks, inputs.places)).loss
        loss.backward()  # type: ignore[no-untyped-call]
        method.after_backward(progress)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        method.after_step(Progress(number + 1, plan.epochs, 1))
        loss.item()  # waits for a GPU
        seconds.append(time.perf_counter() - began)
    return seconds
