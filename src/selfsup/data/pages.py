"""Files of several pages or frames: how many images they hold, and a source in which each is an image of its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from PIL import Image

from selfsup.data.audit import AuditEntry
from selfsup.data.formats.array_image import ArrayImage
from selfsup.data.formats.depth import Kind, deep_pixels, kind_of
from selfsup.data.items import Item, ItemTable
from selfsup.data.sources.base import Source, digest_of, require_reached

_MARK = "#page="
NEW_SUBFILE_TYPE, REDUCED_OR_MASK = 254, 0b101  # the TIFF tag, and its bits for what is no page


def page_numbers(image: Image.Image) -> Sequence[int]:
    """Numbers of the frames of an opened image that are images by themselves.

    The smaller versions in a TIFF are none, nor what a camera adds to a JPEG (MPO).
    """
    if image.format == "MPO" or not getattr(image, "is_animated", False):
        return [0]
    frames: Sequence[int] = range(image.n_frames)  # type: ignore[attr-defined]
    if image.format == "TIFF":
        frames = [number for number in frames if _is_page(image, number)]
    return frames or [0]


def _is_page(image: Image.Image, number: int) -> bool:
    image.seek(number)
    return not image.tag_v2.get(NEW_SUBFILE_TYPE, 0) & REDUCED_OR_MASK  # type: ignore[attr-defined]


def file_of(name: str) -> str:
    """Name of the file that the image `name` is of, which is its own where there is but one image in it."""
    return name.partition(_MARK)[0]


def grouped_by_file(items: ItemTable) -> bool:
    """Whether the groups are the files that pages are of, and none that a user has named."""
    return all(group == file_of(name) for group, name in zip(items.groups, items.names, strict=True))


def with_pages(source: Source, pages: str) -> Source:
    """`source` itself if `pages` is ``first``; with every page as an image if ``all``, as a channel if ``channels``."""
    if pages == "channels":
        return StackedSource(source)
    return PagedSource(source) if pages == "all" else source


def describe_pages(several: Sequence[int], *, all_used: bool) -> list[AuditEntry]:
    """What a user should know of files of several pages, of which these are the numbers."""
    if not several:
        return []
    used = "each is an image, and those of a file are a group" if all_used else "the first of each is used"
    hint = "; --pages all takes every one for an image, --pages channels for a channel, in a new study" * (not all_used)
    return [
        AuditEntry(
            "*", "pages", f"{len(several)} file{'s' * (len(several) != 1)} with {sum(several)} in all: {used}{hint}"
        )
    ]


class PagedSource:
    """A source of which every page is an image: ``stack.tif#page=1``, ``stack.tif#page=2``, …

    A file of one page keeps its name. The pages of a file are a group, unless it belongs to one. All files are
    opened, when first the items are asked for.

    Parameters
    ----------
    source : Source
        Of files.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name = source.name

    @cached_property
    def _places(self) -> list[tuple[int, int]]:
        """Of each image, which file it is of, and which frame."""
        return [(file, page) for file in range(len(self._source.items)) for page in self._pages_of(file)]

    def _pages_of(self, file: int) -> Sequence[int]:
        try:
            with self._source.open(file) as image:
                return page_numbers(image)
        except Exception as error:  # will be set aside, with the reason, when it is decoded
            require_reached(self._source.items[file].name, error)
            return [0]

    @property
    def several(self) -> list[int]:
        """Numbers of pages of the files that have several."""
        counts = np.bincount([file for file, _ in self._places])
        return counts[counts > 1].tolist()

    @cached_property
    def items(self) -> Sequence[Item]:
        files = self._source.items
        alone = np.bincount([file for file, _ in self._places], minlength=len(files)) == 1
        items = []
        for file, page in self._places:
            item = files[file]
            name = item.name if alone[file] else f"{item.name}{_MARK}{page + 1}"
            items.append(item._replace(name=name, group=item.group or item.name))
        return items

    @property
    def ignored(self) -> Sequence[AuditEntry]:
        return self._source.ignored

    def fingerprint(self) -> str:
        return digest_of("pages", self._source.fingerprint())

    def open(self, index: int) -> Image.Image:
        file, page = self._places[index]
        image = self._source.open(file)
        if page:
            image.seek(page)
        return image


#: What holds the values of images of each kind.
_DTYPES: dict[Kind, type[np.generic]] = {"8-bit": np.uint8, "integer": np.int32, "floating": np.float32}


class _StackedPages(ArrayImage):
    """An image whose channels are the grey pages of a file."""

    def __init__(self, image: Image.Image, pages: Sequence[int]) -> None:
        super().__init__()
        self._image, self._pages, self._kind = image, pages, kind_of(image)
        self._describe(image.height, image.width, len(pages), np.dtype(_DTYPES[self._kind]), colour=False)

    def read(self) -> np.ndarray:
        return np.dstack([self._page(page) for page in self._pages])

    def _page(self, page: int) -> np.ndarray:
        self._image.seek(page)
        values = np.asarray(self._image) if self._kind == "8-bit" else deep_pixels(self._image).values
        if values.ndim != 2 or values.shape != (self.height, self.width):
            raise ValueError("its pages are in colour or of several sizes, so they are no channels of one image")
        return values

    def close(self) -> None:
        self._image.close()


class StackedSource:
    """A source of which the pages of a file are the channels of one image.

    Parameters
    ----------
    source : Source
        Of files.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name = source.name

    @property
    def items(self) -> Sequence[Item]:
        return self._source.items

    @property
    def ignored(self) -> Sequence[AuditEntry]:
        return self._source.ignored

    def fingerprint(self) -> str:
        return digest_of("channels", self._source.fingerprint())

    def open(self, index: int) -> Image.Image:
        image = self._source.open(index)
        pages = page_numbers(image)
        return _StackedPages(image, pages) if len(pages) > 1 else image
