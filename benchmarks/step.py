"""Where a training step's time goes: its parts, and the operators inside forward and backward. CPU.

Parts are medians of CPU seconds of one thread, so that a busy machine disturbs little; operators are
shares of what torch.profiler sees inside forward and backward.

    python benchmarks/step.py [--method simclr] [--image-size 32] [--source-size 28] [--batch-size 128]
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from selfsup.backbones import build_backbone
from selfsup.backbones.tiny_convolution import TinyConv2d
from selfsup.methods import Method, method_class, read_settings
from selfsup.training.device import keep_freed_memory, make_deterministic
from selfsup.training.diagnostics import step_signals
from selfsup.training.optimizers import build_optimizer
from selfsup.views import load_policy

#: Kinds of operators by what their names begin with, after "aten::".
KINDS = {
    "convolution": ("mkldnn_convolution", "convolution"),
    "matrix product": ("mm", "addmm", "bmm"),
    "batch normalisation": ("native_batch_norm",),
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


class Step:
    """The steps of selfsup.training.loop, with a clock between their parts."""

    def __init__(self, method: Method, pixels: Tensor, size: int, *, bf16: bool) -> None:
        self.method, self.pixels, self.size, self.bf16 = method, pixels, size, bf16
        self.sizes = torch.tensor([pixels.shape[2:]] * len(pixels))
        self.labels = torch.arange(len(pixels)) % 10
        self.policy = load_policy("simclr")
        self.optimizer = build_optimizer(method, 0.06)
        self.seconds: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        started = time.process_time()
        yield
        self.seconds[name].append(time.process_time() - started)

    def run(self, number: int) -> None:
        generator = torch.Generator().manual_seed(number)
        with self.part("views"):
            views = [self.policy(self.pixels, self.sizes, self.size, generator) for _ in range(self.method.views)]
        with self.part("forward"), torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            result = self.method.loss(views, self.labels)
        with self.part("backward"):
            result.loss.backward()
        with self.part("optimizer"):
            self.optimizer.step()
            self.optimizer.zero_grad()
        with self.part("signals of health"):
            step_signals(result)
        with self.part("momentum encoder"):
            self.method.after_step(0.5)


def operators(step: Step) -> Counter[str]:
    """Share of each kind of operator in forward and backward."""
    views = [step.policy(step.pixels, step.sizes, step.size, torch.Generator()) for _ in range(step.method.views)]
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for _ in range(3):
            with torch.autocast("cpu", torch.bfloat16, enabled=step.bf16):
                loss = step.method.loss(views, step.labels).loss
            loss.backward()
            step.optimizer.zero_grad()
    shares: Counter[str] = Counter()
    for event in seen.key_averages():
        name = event.key.removeprefix("aten::")
        kind = next((kind for kind, names in KINDS.items() if name.startswith(names)), "everything else")
        shares[kind] += event.self_cpu_time_total
    return Counter({kind: value / shares.total() for kind, value in shares.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--method", default="simclr")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--source-size", type=int, default=28)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--plain-convolutions", action="store_true", help="without selfsup.backbones.tiny_convolution")
    parser.add_argument("--plain-memory", action="store_true", help="without keeping freed memory")
    given = parser.parse_args()
    if not given.plain_memory:
        keep_freed_memory()
    make_deterministic(1)
    torch.manual_seed(0)
    backbone = build_backbone("resnet18", image_size=given.image_size)
    method = method_class(given.method)(backbone, read_settings(given.method, {}), num_classes=10)
    if given.plain_convolutions:
        for module in method.modules():
            if type(module) is TinyConv2d:
                module.__class__ = nn.Conv2d
    method.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    pixels = digits(given.batch_size, given.source_size)
    step = Step(method, pixels, given.image_size, bf16=given.precision == "bf16")
    for number in range(given.steps):
        step.run(number)
    total = sum(median(seconds[2:]) for seconds in step.seconds.values())
    print(f"{given.method}, {given.image_size} px, batch {given.batch_size}, {given.precision}: {1e3 * total:.0f} ms")
    for name, seconds in step.seconds.items():
        print(f"  {name:<26}{1e3 * median(seconds[2:]):8.1f} ms  {median(seconds[2:]) / total:6.1%}")
    print("of forward and backward")
    for kind, share in operators(step).most_common():
        print(f"  {kind:<26}{share:19.1%}")


if __name__ == "__main__":
    main()
