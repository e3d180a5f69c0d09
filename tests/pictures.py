"""Small real image files for the tests of data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def smooth(seed: int = 0, *, height: int = 24, width: int = 32) -> np.ndarray:
    """A smooth colour picture, uint8 of shape (height, width, 3), different for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def save_picture(path: Path, seed: int = 0, **size: int) -> Path:
    """Write a smooth picture; the suffix of `path` names the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(smooth(seed, **size)).save(path)
    return path


def labelled_folder(root: Path, *, classes: int = 2, per_class: int = 3) -> Path:
    """A folder of PNG files ``class_0/0.png``, … with different pictures."""
    for label in range(classes):
        for number in range(per_class):
            save_picture(root / f"class_{label}" / f"{number}.png", seed=100 * label + number)
    return root
