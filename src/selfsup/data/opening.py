"""How large an image may be to be opened, and how one that cannot be opened or read is told of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, UnidentifiedImageError

from selfsup.data.audit import AuditEntry, printable
from selfsup.data.rendering import OtherChannelsError
from selfsup.data.sources.base import EmptyFileError, require_reached


@contextmanager
def pixel_limit(most: int) -> Iterator[None]:
    """Images of more than `most` pixels cannot be opened meanwhile, in this process: Pillow refuses them."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = most // 2  # where Pillow begins to warn; twice as many are an error
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def set_aside(name: str, error: Exception) -> AuditEntry:
    """Why there is no image `name`: what a source or a reader of images raised.

    Raises
    ------
    UserError
        If that says nothing of the image, which may be sound the next time.
    """
    require_reached(name, error)
    if isinstance(error, Image.DecompressionBombError):
        return AuditEntry(name, "too large", f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels")
    if isinstance(error, OtherChannelsError):
        return AuditEntry(name, "other channels", str(error))
    return AuditEntry(name, "empty" if isinstance(error, EmptyFileError) else "unreadable", _reason(error))


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError) and str(error).startswith("cannot identify"):  # Pillow's
        return "not an image in a known format"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return printable(" ".join(text.split())) or type(error).__name__
