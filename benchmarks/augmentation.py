"""Views per second of the simclr policy against kornia and torchvision, one thread, side by side.

Every contender makes the same view: random resized crop, flip, colour jitter, grey, and blur from
64 pixels on, from decoded images in memory to float tensors. (kornia does less: it shrinks without
antialiasing, and one order of the colour operations serves the whole batch.) Rounds are interleaved, so that a
busy machine slows all alike; ratios of the medians are what to look at.

    python benchmarks/augmentation.py [--rounds 7]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import kornia.augmentation as K
import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor, nn
from torchvision.transforms import v2

from history import note
from selfsup.views import load_policy
from selfsup.views.crop_and_colour import BLUR_FROM

CASES = [(28, 32, 512), (256, 64, 128), (256, 224, 32)]  # side of the image, of the view, batch
JITTER = (0.8, 0.8, 0.8, 0.2)


def photographs(side: int, count: int) -> Tensor:
    """Square pieces of real photographs, uint8 (count, 3, side, side), channels-last memory."""
    rng = np.random.default_rng(0)
    photos = load_sample_images().images
    pieces = []
    for index in range(count):
        photo = photos[index % len(photos)]
        top, left = (int(rng.integers(0, edge - 256 + 1)) for edge in photo.shape[:2])
        piece = Image.fromarray(photo[top : top + 256, left : left + 256])
        pieces.append(np.asarray(piece.resize((side, side), Image.Resampling.BILINEAR)))
    return torch.from_numpy(np.stack(pieces)).permute(0, 3, 1, 2)


def blur_kernel(side: int) -> int:
    return 2 * (side // 10 // 2) + 1


def torchvision_transforms(side: int) -> list[nn.Module]:
    """The policy as torchvision's documentation would write it."""
    steps: list[nn.Module] = [
        v2.RandomResizedCrop(side, scale=(0.08, 1.0), antialias=True),
        v2.RandomHorizontalFlip(),
        v2.RandomApply([v2.ColorJitter(*JITTER)], p=0.8),
        v2.RandomGrayscale(p=0.2),
    ]
    if side >= BLUR_FROM:
        steps.append(v2.RandomApply([v2.GaussianBlur(blur_kernel(side), sigma=(0.1, 2.0))], p=0.5))
    return steps


def contenders(images: Tensor, side: int) -> dict[str, Callable[[], Tensor]]:
    """Functions that each make one view of every image."""
    policy = load_policy("simclr")
    sizes = torch.tensor([images.shape[2:]] * len(images))
    generator = torch.Generator().manual_seed(0)

    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    to_float = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    on_pil = v2.Compose([*torchvision_transforms(side), *to_float])
    on_tensors = v2.Compose([*torchvision_transforms(side), v2.ToDtype(torch.float32, scale=True)])

    steps = [
        K.RandomResizedCrop((side, side), scale=(0.08, 1.0)),
        K.RandomHorizontalFlip(),
        K.ColorJitter(*JITTER, p=0.8),
        K.RandomGrayscale(p=0.2),
    ]
    if side >= BLUR_FROM:
        kernel = blur_kernel(side)
        steps.append(K.RandomGaussianBlur((kernel, kernel), (0.1, 2.0), p=0.5))
    in_kornia = K.AugmentationSequential(*steps)

    return {
        "selfsup": lambda: policy(images, sizes, side, generator),
        "kornia": lambda: in_kornia(images.float().div_(255)),
        "torchvision on PIL": lambda: torch.stack([on_pil(picture) for picture in pictures]),
        "torchvision on tensors": lambda: torch.stack([on_tensors(image) for image in images]),
    }


def measure(images: Tensor, side: int, rounds: int) -> dict[str, float]:
    """Median seconds per batch of each contender: interleaved rounds, after one to warm up."""
    functions = contenders(images, side)
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(rounds + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            with torch.no_grad():
                function()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds per case (default 7)")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for stored, side, count in CASES:
        seconds = measure(photographs(stored, count), side, rounds)
        print(f"{stored} -> {side} px, batch of {count}")
        for name, value in seconds.items():
            ratio = value / seconds["selfsup"]
            print(f"  {name:<24}{count / value:>8.0f} views/s   selfsup is {ratio:5.1f} x as fast")
            if name != "selfsup":
                note("augmentation", f"{stored} -> {side} px against {name}", speed=ratio)


if __name__ == "__main__":
    main()
