"""Reads every image of a source once: in parallel, in order, in bounded memory, whatever breaks."""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from selfsup.data.audit import AuditEntry, printable
from selfsup.data.decode import decode
from selfsup.data.depth import DeepScale, Extent
from selfsup.data.near_duplicates import thumbnail
from selfsup.data.sources.base import EmptyFileError, Source

CHUNK = 4  # images per task, so that handing over a small image costs less than decoding it
LARGE = 50_000_000  # pixels; larger images take turns, for each needs a gigabyte or so to decode


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
    digest : bytes
        Hash of size and pixels, in hexadecimal.
    thumbnail : ndarray of uint8
        By which copies are found, see :mod:`selfsup.data.near_duplicates`.
    extent : Extent or None
        Of the values that the pixels were made from, where those had more than 8 bits.
    sixteen_bit_colour : bool
        Whether Pillow has cut the colours to 8 bits, as it does with all but grey images.
    """

    pixels: np.ndarray
    digest: bytes
    thumbnail: np.ndarray
    extent: Extent | None
    sixteen_bit_colour: bool


def read_all(
    source: Source, store_size: int, scale: DeepScale, threads: int | None = None
) -> Generator[DecodedImage | AuditEntry]:
    """Every image of `source` in order, or why there is none.

    Parameters
    ----------
    source : Source
    store_size : int
        Longest short side, in pixels.
    scale : DeepScale
        Of the same source.
    threads : int, optional
        By default one per core that this process may use. At most 3 * `threads` tasks of
        ``CHUNK`` images are held in memory, and `threads` images at their full size, but only one
        of more than ``LARGE`` pixels.
    """
    from joblib import cpu_count

    threads = threads or cpu_count()
    count = len(source.names)
    turn = threading.Lock()

    def read_chunk(start: int) -> list[DecodedImage | AuditEntry]:
        return [_read(source, index, store_size, scale, turn) for index in range(start, min(start + CHUNK, count))]

    waiting: deque[Future[list[DecodedImage | AuditEntry]]] = deque()
    pool = ThreadPoolExecutor(threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on single files
        try:
            for start in range(0, count, CHUNK):
                waiting.append(pool.submit(read_chunk, start))
                if len(waiting) > 2 * threads:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _read(
    source: Source, index: int, store_size: int, scale: DeepScale, turn: threading.Lock
) -> DecodedImage | AuditEntry:
    try:
        with source.open(index) as image, turn if image.width * image.height > LARGE else nullcontext():
            sixteen_bit_colour = image.mode.startswith(("RGB", "LA")) and _has_sixteen_bits(image)
            pixels, extent = decode(image, store_size=store_size, scale=scale)
    except EmptyFileError as error:
        return AuditEntry(source.names[index], "empty", str(error))
    except Exception as error:  # readers of damaged files raise errors of any kind
        return AuditEntry(source.names[index], "unreadable", _reason(error))
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(pixels.data)
    return DecodedImage(pixels, digest.hexdigest().encode(), thumbnail(pixels), extent, sixteen_bit_colour)


def _has_sixteen_bits(image: Image.Image) -> bool:
    return any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image in a known format"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return printable(" ".join(text.split())) or type(error).__name__
