"""TIFFs of numbers for which Pillow has no mode: floating-point ones of 16 or 64 bits or in colour, and wide integers.

NumPy's and scikit-image's users have them, for ``float64`` is what they compute with.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from PIL import Image, ImageFile, UnidentifiedImageError

if TYPE_CHECKING:
    from tifffile import TiffPage

#: Modes by the numbers of samples per pixel: grey, RGB, RGB with alpha.
_MODES = {1: "I", 3: "RGB", 4: "RGBA"}


def open_image(path: Path, formats: tuple[str, ...]) -> Image.Image:
    """An image by Pillow or, if it knows no mode for the numbers of a TIFF, as :class:`ScientificTiff`.

    Raises
    ------
    Exception
        Whatever Pillow raises where neither can open it.
    """
    try:
        return Image.open(path, formats=formats)
    except UnidentifiedImageError as error:
        try:
            return ScientificTiff(path)
        except Image.DecompressionBombError:
            raise
        except Exception:  # as tifffile has it; Pillow's is the better reason
            raise error from None


class ScientificTiff(ImageFile.ImageFile):
    """A TIFF that tifffile reads, of which Pillow's class gives size, tags and pages.

    Its values are read by :func:`selfsup.data.depth.deep_pixels`; it cannot be loaded.
    """

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
        if page.dtype is None or page.dtype.kind not in "uif" or page.dtype.itemsize < 2 or page.photometric > 2:
            raise UnidentifiedImageError("neither grey nor RGB, or not of more than 8 bits")
        self._frame = frame
        self.floating = page.dtype.kind == "f"
        self._size = page.imagewidth, page.imagelength
        self._mode = _MODES[page.samplesperpixel]
        self.tag_v2 = {tag.code: tag.value for tag in page.tags}
        if Image.MAX_IMAGE_PIXELS is not None and self.width * self.height > 2 * Image.MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombError(f"{self.width} x {self.height} pixels")

    def tell(self) -> int:
        return self._frame
