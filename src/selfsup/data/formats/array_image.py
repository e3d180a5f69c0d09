"""Images of numbers or channels for which Pillow has no mode: arrays that behave as its images do before they are read.

Multispectral and fluorescence images, numbers of 16 to 64 bits in colour, and whatever stands in an array's file.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, UnidentifiedImageError

#: Channels that are grey or colours, and so are shown and trained on as three: the others are what they are.
COLOURS = 3
#: Modes by the number of channels, which tell what Pillow would say of transparency.
_MODES = {1: "I", 3: "RGB", 4: "RGBA"}


class ArrayImage(Image.Image):
    """An image whose values are read as an array, and not by Pillow.

    Attributes
    ----------
    dtype : dtype
        Of its values: unsigned or signed integers, floating-point numbers.
    channels : int
        How many it has; ``COLOURS`` for grey and colours, transparency apart.
    """

    dtype: np.dtype
    channels: int

    def read(self) -> np.ndarray:
        """Its values, of shape (H, W) or (H, W, channels), with the alpha of colours as a fourth channel."""
        raise NotImplementedError

    @property
    def __array_interface__(self) -> dict:
        return self.read().__array_interface__

    def _describe(self, height: int, width: int, channels: int, dtype: np.dtype, *, colour: bool) -> None:
        """Take note of what it holds, as Pillow does of a file's header; `colour`: three or four are RGB.

        Raises
        ------
        UnidentifiedImageError
            If its values are no numbers that an image can have.
        Image.DecompressionBombError
            If it has too many pixels.
        """
        if dtype.kind not in "buif" or not (height and width and channels):
            raise UnidentifiedImageError("no numbers that an image can have")
        if Image.MAX_IMAGE_PIXELS is not None and width * height > 2 * Image.MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombError(f"{width} x {height} pixels")
        plain = channels == 1 or colour
        self.dtype, self.channels = dtype, COLOURS if plain else channels
        self._size, self._mode = (width, height), _MODES[channels] if plain else "I"


class PixelArray(ArrayImage):
    """Images in an array, the pages one after the other.

    Parameters
    ----------
    values : ndarray, shape (pages, H, W, channels)
        Of more than one page, the first is shown; three channels are colours.
    """

    def __init__(self, values: np.ndarray) -> None:
        super().__init__()
        self._values = values
        self.n_frames = len(values)
        self.is_animated = self.n_frames > 1
        self.seek(0)

    def seek(self, frame: int) -> None:
        self._frame = frame
        height, width, channels = self._values.shape[1:]
        self._describe(height, width, channels, self._values.dtype, colour=channels == COLOURS)

    def tell(self) -> int:
        return self._frame

    def read(self) -> np.ndarray:
        values = np.array(self._values[self._frame])
        return values[..., 0] if values.shape[2] == 1 else values


def stacked(images: Sequence[np.ndarray]) -> PixelArray:
    """One image whose channels are those of several of one size, arrays of shape (H, W) or (H, W, C)."""
    return PixelArray(np.dstack(list(images))[None])
