"""Embedding, as references, probes, `embed` and `predict` do it, against the bare forward pass of the same network.

Ours reads images from the store, makes views and embeds them in float32; the bare pass has its views in memory, and
the quickest precision whose embeddings are within 1e-3 of float64's (relative error), which is named. They take turns.

    python benchmarks/embedding.py [--networks resnet18,vit_tiny_patch16_224] [--image-sizes 64,224] [--clock cpu]
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from joblib import cpu_count

from history import note
from selfsup.backbones import build_backbone
from selfsup.backbones.backbone import Backbone
from selfsup.evaluation.embedding import BATCH, embed
from selfsup.training.device import keep_freed_memory, make_deterministic
from shared_images import write_pictures

#: How far off embeddings may be.
EXACT = 1e-3


def off(backbone: Backbone, views: torch.Tensor, precision: torch.dtype) -> float:
    """Relative error of embeddings in a precision."""
    exact = copy.deepcopy(backbone).double()(views.double())
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        return float((backbone(views) - exact).norm() / exact.norm())


def seconds(now: Callable[[], float], call: Callable[[], object]) -> float:
    """What one call takes."""
    started = now()
    call()
    return now() - started


@torch.no_grad()
def compare(name: str, size: int, given: argparse.Namespace) -> None:
    """Print the line of a network and a size."""
    now = {"wall": time.perf_counter, "cpu": time.process_time}[given.clock]
    backbone = build_backbone(name, image_size=size).eval()
    views = torch.rand(BATCH, 3, size, size).to(memory_format=torch.channels_last)
    errors = {precision: off(backbone, views[:16], precision) for precision in (torch.float32, torch.bfloat16)}
    best = torch.bfloat16 if errors[torch.bfloat16] < EXACT else torch.float32
    with tempfile.TemporaryDirectory() as folder:
        pictures = write_pictures(
            Path(folder), data="digits", data_root=None, side=size * 8 // 7, train=given.images, test=BATCH
        )
        store = pictures.store()

        def ours() -> None:
            embed(backbone, store, np.arange(given.images), image_size=size, device="cpu")

        def bare() -> None:
            with torch.autocast("cpu", best, enabled=best != torch.float32):
                for _ in range(given.images // BATCH):
                    backbone(views)

        ratios = [seconds(now, bare) / seconds(now, ours) for _ in range(given.repeats + 1)]
    share = median(ratios[1:])
    print(
        f"  {name:<24}{size:>4} px   {share:.2f} of the bare pass, in {str(best).removeprefix('torch.')} (bfloat16 is "
        f"off by {errors[torch.bfloat16]:.0e})",
        flush=True,
    )
    note("embedding", f"{name}, {size} px", share_of_bare=share)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", default="resnet18,vit_tiny_patch16_224")
    parser.add_argument("--image-sizes", default="64,224")
    parser.add_argument("--images", type=int, default=256, help=f"in batches of {BATCH} (default 256)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=cpu_count())
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: with one thread")
    given = parser.parse_args()
    given.images = max(1, given.images // BATCH) * BATCH
    keep_freed_memory()
    make_deterministic(1 if given.clock == "cpu" else given.threads)
    print(f"{given.images} images, {torch.get_num_threads()} threads, {given.clock} clock, torch {torch.__version__}")
    for name in given.networks.split(","):
        for size in map(int, given.image_sizes.split(",")):
            compare(name, size, given)


if __name__ == "__main__":
    main()
