from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor


@pytest.fixture(scope="session")
def photographs() -> list[np.ndarray]:
    return [np.asarray(photo) for photo in load_sample_images().images]


@pytest.fixture(scope="session")
def batch(photographs: list[np.ndarray]) -> Callable[..., tuple[Tensor, Tensor]]:
    """Makes a batch of pieces of photographs, every fourth of them grey, with noise for padding."""

    def make(sizes: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng(0)
        shape = (len(sizes), *np.max(sizes, axis=0), 3)
        images = rng.integers(0, 256, shape, dtype=np.uint8)
        for index, (height, width) in enumerate(sizes):
            photo = photographs[index % len(photographs)]
            top = rng.integers(photo.shape[0] - height + 1)
            left = rng.integers(photo.shape[1] - width + 1)
            piece = photo[top : top + height, left : left + width]
            if index % 4 == 3:
                piece = piece.mean(2, keepdims=True).astype(np.uint8)
            images[index, :height, :width] = piece
        return torch.from_numpy(images).permute(0, 3, 1, 2), torch.tensor(sizes)

    return make


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def floats(batch: Callable[..., tuple[Tensor, Tensor]]) -> Tensor:
    """48 square images of 37 pixels as floats: photographs, some grey, and colours that tie."""
    images = batch([(37, 37)] * 48)[0].float().div(255).contiguous()
    images[:8] = images[:8].mul(2).round().div(2)  # 27 colours: black, white, primaries, ties
    images[8], images[9] = 0, 1
    return images


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
