"""DICOM files as images: what a viewer shows of them, in numbers (extra ``dicom``, which is pydicom).

Stored values become those of the modality (a CT's Hounsfield units) by the file's rescale slope and intercept or table.
Where a file says by which window it is to be looked at, that window is 0 to 1; other files of a study share one
brightness scale, and where there are both, that is said. MONOCHROME1, in which the largest value is black, is inverted.
Padding is absent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import UnidentifiedImageError

from selfsup.data.audit import AuditEntry
from selfsup.data.formats.array_image import COLOURS, ArrayImage

SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})


def describe_windows(windowed: Sequence[bool]) -> Iterator[AuditEntry]:
    """What a user should know where some DICOM images of a study have a window and others have none."""
    if 0 < sum(windowed) < len(windowed):
        detail = (
            f"{sum(windowed)} of {len(windowed)} DICOM images have a window (WindowCenter, WindowWidth), which becomes "
            "0 to 255; the others have none and share the scale of their own range, so equal values may look unlike"
        )
        yield AuditEntry("*", "two brightness scales", detail)


class DicomImage(ArrayImage):
    """The frames of a DICOM file.

    Parameters
    ----------
    file : Path or file object

    Raises
    ------
    UnidentifiedImageError
        If it is none, or of pixels that are neither grey nor colours.
    """

    def __init__(self, file: Path | BinaryIO) -> None:
        super().__init__()
        self._file = file
        header = self._data(stop_before_pixels=True)
        shown = str(header.get("PhotometricInterpretation", ""))
        samples = int(header.get("SamplesPerPixel", 1))
        if samples not in (1, COLOURS) or shown == "PALETTE COLOR" or "Rows" not in header:
            raise UnidentifiedImageError(f"a DICOM file of no grey or coloured pixels ({shown or 'no image'})")
        self.n_frames = int(header.get("NumberOfFrames") or 1)
        self.is_animated = self.n_frames > 1
        self._frame = 0
        small = header.BitsStored <= 8 and not {"RescaleSlope", "ModalityLUTSequence"} & set(header.dir())
        windowed = samples == 1 and header.get("WindowWidth") is not None
        dtype = np.dtype(np.float32 if windowed else np.uint8 if small else np.int32)
        self._describe(int(header.Rows), int(header.Columns), samples, dtype, colour=samples == COLOURS)

    def seek(self, frame: int) -> None:
        self._frame = frame

    def tell(self) -> int:
        return self._frame

    def _data(self, **options: Any) -> Any:
        import pydicom
        from pydicom.errors import InvalidDicomError

        if not isinstance(self._file, Path):
            self._file.seek(0)
        try:
            return pydicom.dcmread(self._file, **options)
        except InvalidDicomError:
            raise UnidentifiedImageError("no DICOM file") from None

    def read(self) -> np.ndarray:
        from pydicom.pixels.processing import apply_modality_lut
        from pydicom.pixels.utils import pixel_array

        data = self._data()
        stored = pixel_array(data, index=self._frame)
        if stored.ndim == 3:
            return stored
        signed = data.get("PixelRepresentation", 0)
        least = -(2 ** (data.BitsStored - 1)) if signed else 0
        range_ = np.array([least, least + 2**data.BitsStored - 1])
        values, ends = (np.asarray(apply_modality_lut(numbers, data), np.float64) for numbers in (stored, range_))
        if self.dtype.kind == "f":
            values, ends = _windowed(values, data), np.array([0.0, 1.0])
        if data.PhotometricInterpretation == "MONOCHROME1":
            values = ends.sum() - values
        if self.dtype == np.uint8:
            return values.astype(np.uint8)
        padding = data.get("PixelPaddingValue")
        return np.where(stored == padding, np.nan, values).astype(np.float32)


def _windowed(values: np.ndarray, data: Any) -> np.ndarray:
    """Values as the file's first window shows them, from 0 to 1 (DICOM PS3.3, C.11.2.1)."""
    centre, width = (float(np.ravel(data[name].value)[0]) for name in ("WindowCenter", "WindowWidth"))
    match data.get("VOILUTFunction", "LINEAR"):
        case "SIGMOID":
            return 1 / (1 + np.exp(-4 * (values - centre) / width))
        case "LINEAR_EXACT":
            shown = (values - centre) / width + 0.5
        case _:
            shown = (values - (centre - 0.5)) / max(width - 1, 1e-9) + 0.5
    return shown.clip(0, 1)
