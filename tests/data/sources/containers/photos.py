"""Small pictures for the tests of containers: the same in every kind of them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from pictures import smooth


def png(seed: int, size: int = 12) -> bytes:
    """A picture as the bytes of a file."""
    content = io.BytesIO()
    Image.fromarray(pixels(seed, size)).save(content, "PNG")
    return content.getvalue()


def pixels(seed: int, size: int = 12) -> np.ndarray:
    return smooth(seed, height=size, width=size)


#: Files of two classes by their paths, as they lie in a folder.
FOLDERS = {f"{label}/{number}.png": png(10 * place + number) for place, label in enumerate("ab") for number in range(4)}
