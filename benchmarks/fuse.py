"""Learning rates trained as one batched network against one after another: cells per hour.

Both train the same learning rates of one method on the same store in one process. A rate is over all
epochs but the first, in which libraries choose their algorithms.

    python benchmarks/fuse.py --device cuda [--trainings 2,4,8] [--image-size 32] [--precision bf16]
    python benchmarks/fuse.py --trainings 2 --images 128 --epochs 2      # on a CPU, where it does not pay
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from history import note
from selfsup.backbones import build_backbone
from selfsup.methods import method_class, read_settings
from selfsup.training.batches import Loading
from selfsup.training.callbacks import Callbacks
from selfsup.training.device import Hardware, choose_hardware, keep_freed_memory, make_deterministic
from selfsup.training.fused import train_together
from selfsup.training.loop import Training
from selfsup.training.optimizers import recipe_of
from selfsup.training.plan import TrainingPlan
from selfsup.training.state import EpochLog
from selfsup.views import load_policy


@dataclass
class Pictures:
    """Random pictures: what they show costs nothing."""

    count: int
    side: int

    def __post_init__(self) -> None:
        shape = (self.count, 3, self.side, self.side)
        self.pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, np.uint8))

    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        return self.pixels[indices], torch.full((len(indices), 2), self.side)


class Stopwatch(Callbacks):
    """Notes when each epoch ended."""

    def __init__(self, device: str) -> None:
        self.marks: list[float] = []
        self._device = device

    def on_epoch_end(self, log: EpochLog, epochs: int) -> None:
        if self._device.startswith("cuda"):
            torch.cuda.synchronize()
        self.marks.append(time.perf_counter())


def training(
    number: int,
    hardware: Hardware,
    given: argparse.Namespace,
    watch: Callbacks,
    loading: Loading | None = None,
    graphs: bool = False,
) -> Training:
    """One of the trainings, each with a learning rate of its own."""
    torch.manual_seed(0)
    cls, indices = method_class(given.method), np.arange(given.images)
    backbone = build_backbone(given.backbone, image_size=given.image_size)
    method = cls(backbone, read_settings(given.method, {}), num_classes=10, num_images=given.images)
    lr = recipe_of(method).lr_at(given.batch_size) / (number + 1)
    plan = TrainingPlan(given.epochs, given.batch_size, given.image_size, lr=lr, seed=0)
    policy = load_policy(cls.tags.augmentation or "simclr")
    pictures = Pictures(given.images, given.image_size)
    fabric = hardware.fabric()
    return Training(method, pictures, indices, indices % 10, policy, plan, fabric, watch, loading, graphs)


def alone(trainings: int, hardware: Hardware, given: argparse.Namespace) -> float:
    """Seconds per epoch of all trainings, one after another."""
    seconds = 0.0
    for number in range(trainings):
        watch = Stopwatch(hardware.device)
        training(number, hardware, given, watch).run()
        seconds += (watch.marks[-1] - watch.marks[0]) / (len(watch.marks) - 1)
    return seconds


def together(trainings: int, hardware: Hardware, given: argparse.Namespace) -> float:
    """Seconds per epoch of all trainings at once."""
    watches = [Stopwatch(hardware.device) for _ in range(trainings)]
    train_together([training(number, hardware, given, watch) for number, watch in enumerate(watches)])
    marks = watches[-1].marks
    return (marks[-1] - marks[0]) / (len(marks) - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--method", default="simclr")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--trainings", default="2,4,8", help="numbers of learning rates (default 2,4,8)")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--epochs", type=int, default=4, help="at least 2, the first of which does not count")
    given = parser.parse_args()
    hardware = choose_hardware(given.device, given.precision)
    keep_freed_memory()
    make_deterministic(torch.get_num_threads())
    about = f"{given.method}, {given.image_size} px, {hardware.precision}"
    print(f"{about}, batch {given.batch_size}, {hardware.device}, torch {torch.__version__}")
    for trainings in map(int, given.trainings.split(",")):
        one_by_one, fused = alone(trainings, hardware, given), together(trainings, hardware, given)
        print(
            f"  {trainings} learning rates   alone {one_by_one:7.2f} s   fused {fused:7.2f} s per epoch of all   "
            f"fused is {one_by_one / fused:.2f} x as fast",
            flush=True,
        )
        note("fuse", f"{trainings} trainings, {about}, {hardware.kind}", speed_against_alone=one_by_one / fused)


if __name__ == "__main__":
    main()
