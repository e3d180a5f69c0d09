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
from PIL import Image

from selfsup.data.audit import AuditEntry
from selfsup.data.brightness import Extent
from selfsup.data.decode import decode
from selfsup.data.near_duplicates import thumbnail
from selfsup.data.opening import set_aside
from selfsup.data.pages import PagedSource, page_numbers
from selfsup.data.rendering import Renderer
from selfsup.data.sources.base import Source

CHUNK = 4  # images per task, so that handing over a small image costs less than decoding it
LARGE = 50_000_000  # pixels; larger images take turns, for each needs a gigabyte or so to decode


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (H, W, C)
    digest : bytes
        Hash of size and pixels, in hexadecimal.
    thumbnail : ndarray of float32
        By which copies are found, see :mod:`selfsup.data.near_duplicates`.
    extents : list of Extent
        Of the values that the pixels were made from; of other channels than colours, one for each.
    transparent : bool
        Whether it had a transparent pixel.
    pages : int
        How many images its file holds, of which this is one.
    """

    pixels: np.ndarray
    digest: bytes
    thumbnail: np.ndarray
    extents: list[Extent]
    transparent: bool
    pages: int


def read_all(
    source: Source, store_size: int, renderer: Renderer, threads: int | None = None
) -> Generator[DecodedImage | AuditEntry]:
    """Every image of `source` in order, or why there is none.

    Parameters
    ----------
    source : Source
    store_size : int
        Longest short side, in pixels.
    renderer : Renderer
        Of the same source.
    threads : int, optional
        By default one per core that this process may use. At most 3 * `threads` tasks of
        ``CHUNK`` images are held in memory, and `threads` images at their full size, but only one
        of more than ``LARGE`` pixels.
    """
    from joblib import cpu_count

    threads = threads or cpu_count()
    count = len(source.items)
    turn = threading.Lock()

    def read_chunk(start: int) -> list[DecodedImage | AuditEntry]:
        return [_read(source, index, store_size, renderer, turn) for index in range(start, min(start + CHUNK, count))]

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
    source: Source, index: int, store_size: int, renderer: Renderer, turn: threading.Lock
) -> DecodedImage | AuditEntry:
    try:
        with source.open(index) as image, turn if image.width * image.height > LARGE else nullcontext():
            pixels, extents, transparent = decode(image, store_size=store_size, renderer=renderer)
            pages = 1 if isinstance(source, PagedSource) else _count_pages(image)
    except Exception as error:  # readers of damaged files raise errors of any kind
        return set_aside(source.items[index].name, error)
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(pixels.data)
    return DecodedImage(pixels, digest.hexdigest().encode(), thumbnail(pixels), extents, transparent, pages)


def _count_pages(image: Image.Image) -> int:
    try:
        return len(page_numbers(image))
    except Exception:  # a later page is damaged, and the first was wanted
        return 1
