"""How images of more than 8 bits become 8-bit ones: one scale for the whole data set.

A scale per image would stretch a dark image as bright as a bright one and lose what tells them
apart. So the largest value in a sample decides: it is rounded up to the largest value of a usual
number of bits (12-bit cameras write 16-bit files), and that becomes 255.
"""

from __future__ import annotations

import threading

import numpy as np
from PIL import Image

from selfsup.data.audit import AuditEntry
from selfsup.data.sources.base import Source

SAMPLE = 64
LEVELS = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 16, 24, 32))


def is_deep(image: Image.Image) -> bool:
    """Whether the image holds integers of more than 8 bits, or floating-point numbers."""
    return image.mode in ("I", "F") or image.mode.startswith("I;")


def deep_values(image: Image.Image) -> np.ndarray:
    """Values of such an image, float32 of shape (H, W); what is no number, or infinite, is 0."""
    return np.nan_to_num(np.asarray(image, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def level_above(largest: float, *, floating: bool) -> float:
    """The smallest usual full scale that is at least `largest`."""
    if floating and largest <= 1:
        return 1.0
    return float(next((level for level in LEVELS if level >= largest), largest))


class DeepScale:
    """The value that becomes 255 in a source's deep images.

    Found when it is first asked for, because finding it takes a look at the header of every
    image, and most data sets have no deep image. Any thread may ask.

    Attributes
    ----------
    entry : AuditEntry or None
        Says what was decided; None as long as nobody asked.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._scale: float | None = None
        self.entry: AuditEntry | None = None

    def __call__(self) -> float:
        with self._lock:
            if self._scale is None:
                self._scale = self._find()
            return self._scale

    def _find(self) -> float:
        deep = [index for index in range(len(self._source.names)) if self._mode_is_deep(index)]
        chosen = np.unique(np.linspace(0, len(deep) - 1, SAMPLE).round().astype(int))
        extremes = [pair for place in chosen if (pair := self._extremes(deep[place])) is not None]
        largest = max((high for _, high, _ in extremes), default=0.0)
        scale = level_above(largest, floating=all(floating for *_, floating in extremes))
        detail = (
            f"{len(deep)} images hold more than 8 bits: 0 to {scale:.0f} becomes 0 to 255 "
            f"(largest value in {len(extremes)} of them: {largest:g})"
        )
        if min((low for low, *_ in extremes), default=0.0) < 0:
            detail += "; values below 0 become 0"
        self.entry = AuditEntry("*", "sixteen-bit scale", detail)
        return scale

    def _mode_is_deep(self, index: int) -> bool:
        try:
            with self._source.open(index) as image:
                return is_deep(image)
        except Exception:  # will be set aside, with the reason, when its turn comes
            return False

    def _extremes(self, index: int) -> tuple[float, float, bool] | None:
        try:
            with self._source.open(index) as image:
                values = deep_values(image)
                return float(values.min()), float(values.max()), image.mode == "F"
        except Exception:
            return None
