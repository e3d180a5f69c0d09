"""What stands behind transparent pixels: one ground for a study, on which all that is visible stays visible.

What lies under a transparent pixel is arbitrary, so every image is put on a ground: black, white or mid-grey,
whichever the image that stands out least from it stands out from most. Black drawings on nothing are so put on
white, and drawings of both kinds on grey.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

GROUNDS = {0: "black", 255: "white", 128: "grey"}
_PIXELS = 2**15
_LUMA = (0.299, 0.587, 0.114)


def contrasts_of(image: Image.Image) -> np.ndarray | None:
    """How far what an image shows lies from each ground, in the order of ``GROUNDS``.

    Returns
    -------
    ndarray of float, shape (3,), or None
        Mean difference of the luma, 0 to 255, weighted by the opacity; None for an image without a transparent
        pixel, or with nothing else.
    """
    pixels = np.asarray(image.convert("RGBA")).reshape(-1, 4)
    if len(pixels) > _PIXELS:
        pixels = pixels[np.random.default_rng(0).integers(len(pixels), size=_PIXELS)]
    opacity = pixels[:, 3].astype(float)
    if not opacity.any() or opacity.min() == 255:
        return None
    luma = pixels[:, :3] @ np.array(_LUMA)
    return np.array([np.average(np.abs(luma - ground), weights=opacity) for ground in GROUNDS])


def choose_ground(contrasts: Sequence[np.ndarray]) -> int:
    """Grey level of the ground that suits images with these contrasts; black if there are none."""
    return list(GROUNDS)[int(np.min(contrasts, axis=0).argmax())] if len(contrasts) else 0


def is_transparent(image: Image.Image) -> bool:
    """Whether a loaded image has a pixel that is not opaque."""
    return image.has_transparency_data and bool(np.asarray(image.convert("RGBA").getchannel("A")).min() < 255)


def on_ground(image: Image.Image, ground: int) -> Image.Image:
    """An image with transparent pixels on a ground of that grey level, in mode RGB."""
    behind = Image.new("RGBA", image.size, (ground, ground, ground, 255))
    return Image.alpha_composite(behind, image.convert("RGBA")).convert("RGB")
