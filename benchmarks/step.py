"""Where a training step's time goes: its parts, and the operators inside forward and backward. CPU.

Parts are medians of CPU seconds of one thread, so that a busy machine disturbs little; operators are
shares of what torch.profiler sees inside forward and backward.

    python benchmarks/step.py [--method simclr] [--image-size 32] [--source-size 28] [--batch-size 128]
    python benchmarks/step.py --method mae --backbone vit_tiny_patch16_224 --image-size 64
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from bare import use_plain_convolutions
from selfsup.backbones import build_backbone
from selfsup.methods import method_class, read_settings
from selfsup.training.callbacks import Callbacks
from selfsup.training.device import Hardware, keep_freed_memory, make_deterministic
from selfsup.training.diagnostics import step_signals
from selfsup.training.loop import Training
from selfsup.training.optimizers import recipe_of
from selfsup.training.plan import TrainingPlan
from selfsup.views import load_policy

#: Batches of the data set that a method's queue or prototypes are sized for.
BATCHES = 64
#: Kinds of operators by what their names begin with, after "aten::".
KINDS = {
    "convolution": ("mkldnn_convolution", "convolution"),
    "matrix product": ("mm", "addmm", "bmm"),
    "attention": ("_scaled_dot_product",),
    "batch normalisation": ("native_batch_norm",),
    "layer normalisation": ("native_layer_norm",),
    "pooling": ("max_pool", "avg_pool", "mean"),
    "ReLU": ("clamp_min", "threshold"),
    "copy and cast": ("copy_", "fill_", "cat"),
    "sum": ("add",),
}


def digits(count: int, side: int) -> Tensor:
    """Scikit-learn's digits, uint8 (count, 3, side, side)."""
    images = (load_digits().images * 15).astype(np.uint8)
    resized = [np.asarray(Image.fromarray(images[i % len(images)]).resize((side, side))) for i in range(count)]
    return torch.from_numpy(np.stack(resized))[..., None].expand(-1, -1, -1, 3).contiguous().permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Digits:
    """Pictures in memory, as the loop asks for them."""

    pixels: Tensor

    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        return self.pixels[indices], torch.tensor([self.pixels.shape[2:]] * len(indices))


class TimedSteps:
    """The steps of selfsup.training.loop, with a clock between their parts.

    Parameters
    ----------
    now : callable
        Seconds; by default those that the process computed.
    """

    def __init__(self, training: Training, now: Callable[[], float] = time.process_time) -> None:
        self.training, self.now = training, now
        self.seconds: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        started = self.now()
        yield
        self.seconds[name].append(self.now() - started)

    def run(self, number: int) -> None:
        training, request = self.training, self.training.batches.request(number)
        with self.part("views"):
            batch = training.batch(request)
        with self.part("forward"), training.fabric.autocast():
            result = training.wrapped.loss(batch)
        with self.part("backward"):
            training.fabric.backward(result.loss)
        with self.part("optimizer"):
            training.update(request)
        with self.part("signals of health"):
            step_signals(result)
        with self.part("momentum encoder"):
            training.method.after_step(batch.progress._replace(step=number + 1))


def operators(steps: TimedSteps) -> Counter[str]:
    """Share of each kind of operator in forward and backward."""
    training = steps.training
    batch = training.batch(training.batches.request(0))
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for _ in range(3):
            with training.fabric.autocast():
                loss = training.wrapped.loss(batch).loss
            training.fabric.backward(loss)
            training.optimizer.zero_grad()
    shares: Counter[str] = Counter()
    for event in seen.key_averages():
        name = event.key.removeprefix("aten::")
        kind = next((kind for kind, names in KINDS.items() if name.startswith(names)), "everything else")
        shares[kind] += event.self_cpu_time_total
    return Counter({kind: value / shares.total() for kind, value in shares.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--method", default="simclr", help="any that trains (default simclr)")
    parser.add_argument("--backbone", default="resnet18", help="any of timm's networks (default resnet18)")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--source-size", type=int, default=28)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=8, help="at least 3, the first two of which do not count")
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--plain-convolutions", action="store_true", help="without selfsup.backbones.tiny_convolution")
    parser.add_argument("--plain-memory", action="store_true", help="without keeping freed memory")
    given = parser.parse_args()
    if not given.plain_memory:
        keep_freed_memory()
    make_deterministic(1)
    torch.manual_seed(0)
    backbone = build_backbone(given.backbone, image_size=given.image_size)
    cls, count = method_class(given.method), given.batch_size
    method = cls(backbone, read_settings(given.method, {}), num_classes=10, num_images=count * BATCHES)
    if given.plain_convolutions:
        use_plain_convolutions(method)
    plan = TrainingPlan(given.steps, count, given.image_size, lr=recipe_of(method).lr_at(count), seed=0)
    policy = load_policy(cls.tags.augmentation or "simclr")
    pictures, indices = Digits(digits(count, given.source_size)), np.arange(count)
    fabric = Hardware("cpu", given.precision).fabric()
    steps = TimedSteps(Training(method, pictures, indices, indices % 10, policy, plan, fabric, Callbacks()))
    for number in range(given.steps):
        steps.run(number)
    total = sum(median(seconds[2:]) for seconds in steps.seconds.values())
    print(f"{given.method}, {given.image_size} px, batch {given.batch_size}, {given.precision}: {1e3 * total:.0f} ms")
    for name, seconds in steps.seconds.items():
        print(f"  {name:<26}{1e3 * median(seconds[2:]):8.1f} ms  {median(seconds[2:]) / total:6.1%}")
    print("of forward and backward")
    for kind, share in operators(steps).most_common():
        print(f"  {kind:<26}{share:19.1%}")


if __name__ == "__main__":
    main()
