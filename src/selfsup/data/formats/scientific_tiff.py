"""TIFFs of numbers or channels for which Pillow has no mode: floating-point ones of 16 or 64 bits, many bands.

NumPy's and scikit-image's users have them, for ``float64`` is what they compute with, and so have those of satellites
and microscopes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from selfsup.data.formats.array_image import ArrayImage

if TYPE_CHECKING:
    from tifffile import TiffPage

#: TIFF tags; the photometric interpretation of colours (of grey, less); which further samples are alpha.
ORIENTATION, EXTRA_SAMPLES, RGB, ALPHA = 274, 338, 2, (1, 2)


def has_more_channels(image: Image.Image) -> bool:
    """Whether a TIFF has channels that Pillow leaves out, beside grey or colours and their alpha."""
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    extra = tags.get(EXTRA_SAMPLES, ())
    return any(kind not in ALPHA for kind in (extra if isinstance(extra, tuple) else (extra,)))


class ScientificTiff(ArrayImage, ImageFile.ImageFile):
    """A TIFF that tifffile reads, of which Pillow's class gives size, tags and pages; upright, as Pillow's are."""

    format = "TIFF"

    def _open(self) -> None:
        import tifffile

        assert self.fp is not None
        self._pages = tifffile.TiffFile(self.fp).pages
        self.n_frames = len(self._pages)
        self.is_animated = self.n_frames > 1
        self.seek(0)

    def seek(self, frame: int) -> None:
        page = cast("TiffPage", self._pages[frame])
        if page.dtype is None or page.photometric > RGB:
            raise UnidentifiedImageError("neither grey nor RGB")
        self._frame = frame
        samples = page.samplesperpixel
        alpha = samples == 4 and page.extrasamples[:1] in [(kind,) for kind in ALPHA]
        colour = page.photometric == RGB and (samples == 3 or alpha)
        self.tag_v2 = {tag.code: tag.value for tag in page.tags}
        self._orientation = int(self.tag_v2.pop(ORIENTATION, 1))
        height, width = page.imagelength, page.imagewidth
        sides = (width, height) if self._orientation > 4 else (height, width)
        self._describe(*sides, samples, page.dtype, colour=colour)

    def tell(self) -> int:
        return self._frame

    def read(self) -> np.ndarray:
        page = cast("TiffPage", self._pages[self._frame])
        values = np.asarray(page.asarray(maxworkers=1))
        values = np.moveaxis(values, 0, -1) if page.axes.startswith("S") else values  # a plane for each channel
        return _upright(values, self._orientation)


def _upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """An image of shape (H, W, …) whose first row and column are where the TIFF tag says."""
    if orientation > 4:
        values = values.swapaxes(0, 1)
    return values[:: -1 if orientation in (3, 4, 7, 8) else 1, :: -1 if orientation in (2, 3, 6, 7) else 1]
