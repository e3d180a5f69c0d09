"""Builds the store of a source, once: aside, under a lock, and published whole."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, astuple
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from selfsup.atomic import new_folder, writing_to
from selfsup.config.data_fields import MAX_PIXELS
from selfsup.data.audit import AS_GIVEN, AuditEntry, quoted
from selfsup.data.brightness import ScaleTally
from selfsup.data.cache import REMEDY, cache_root, locked
from selfsup.data.decoding_threads import DecodedImage, read_all
from selfsup.data.formats.array_image import COLOURS
from selfsup.data.formats.depth import Kind
from selfsup.data.formats.dicom_files import SUFFIXES as DICOM
from selfsup.data.formats.dicom_files import describe_windows
from selfsup.data.formats.image_files import suffix_of
from selfsup.data.formats.transparency import GROUNDS
from selfsup.data.items import ItemTable
from selfsup.data.near_duplicates import SIDE, find_originals
from selfsup.data.opening import pixel_limit
from selfsup.data.pages import PagedSource, describe_pages, file_of
from selfsup.data.rendering import Renderer, Rendering, describe_channels
from selfsup.data.sources.base import Source, digest_of
from selfsup.data.store import FORMAT_VERSION, INDEX, META, PIXELS, Store, find_store, open_store
from selfsup.errors import UserError

ASIDE = ".aside-"
TIFFS = (".tif", ".tiff")
#: So many images with the same pixels, if they are also one in so many, are told of.
MANY_ALIKE, ONE_IN = 5, 100


def prepare_store(
    source: Source,
    *,
    store_size: int,
    rendering: Rendering | None = None,
    max_pixels: int = MAX_PIXELS,
    cache_dir: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
) -> Store:
    """The store of `source`; decodes the images only if no earlier run has.

    Images that cannot be read are set aside and listed in the store's audit.

    Parameters
    ----------
    source : Source
    store_size : int
        Longest short side of a stored image, in pixels.
    rendering : Rendering, optional
        What is known of it beforehand; the rest is decided from the images.
    max_pixels : int
        Images of more are set aside.
    cache_dir : Path, optional
        Where stores are kept; see :func:`selfsup.data.cache.cache_root`.
    progress : callable, optional
        Called with the numbers of images done and in all.
    threads : int, optional
        Threads that decode; by default one per core that this process may use.

    Returns
    -------
    Store

    Raises
    ------
    UserError
        If no image can be read, only one class is left, or the cache cannot be written to.
    """
    root = cache_root(cache_dir) / "stores"
    renderer = Renderer(source, rendering)
    path = root / store_name(source, store_size, renderer.given, max_pixels)
    store = find_store(path, source.ignored)
    if store is not None:
        return store
    with locked(_lock_of(path)), pixel_limit(max_pixels):
        if find_store(path) is None:
            renderer.file_channels()  # which may be fewer than were asked for
            _build(source, path, renderer, read_all(source, store_size, renderer, threads), progress)
    _remove_abandoned(root)
    return find_store(path, source.ignored) or open_store(path)


def store_name(source: Source, store_size: int, given: Rendering, max_pixels: int) -> str:
    """The name of a source's store, another one for other images or another way to decode them."""
    facts = [store_size, given, max_pixels, FORMAT_VERSION]
    if any(suffix_of(file_of(item)) in TIFFS for item in ItemTable.of(source.items).names):
        facts.append("upright")  # stores of earlier versions have some of these on their side, or garbled
    key = digest_of(source.name, source.fingerprint(), *map(str, facts))[:16]
    readable = re.sub("[^A-Za-z0-9._-]+", "_", source.name)[:40].strip(".")
    return f"{readable}-{store_size}px-{key}"


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _build(
    source: Source,
    path: Path,
    renderer: Renderer,
    results: Generator[DecodedImage | AuditEntry],
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write the store aside and give it its name. The caller holds the store's lock."""
    items = ItemTable.of(source.items)
    with new_folder(path, path.with_name(ASIDE + path.name), REMEDY) as aside:
        decoded = _decode_all(items, aside / PIXELS, renderer, results, progress)
        _refuse_too_little(source.name, items, decoded)
        with writing_to(path, REMEDY):
            _write_index(source, items, decoded, aside)


class _Decoded:
    """What is known of the images beside their pixels; each array has room for all, and `count` are there."""

    def __init__(self, renderer: Renderer, images: int) -> None:
        self.renderer = renderer
        self.count = 0
        self._kept = np.empty(images, np.int64)
        self._sizes = np.empty((images, 2), np.int32)
        self._digests = np.empty(images, "S32")
        self._thumbnails = np.empty((images, SIDE, SIDE), np.float32)
        self.audit: list[AuditEntry] = []
        self.scales: dict[Kind, ScaleTally] = {}
        self.transparent = 0
        self.paged: list[int] = []
        self.windowed: list[bool] = []  # of DICOM images

    def add(self, index: int, name: str, picture: DecodedImage) -> None:
        self._kept[self.count] = index
        self._sizes[self.count] = picture.pixels.shape[:2]
        self._digests[self.count] = picture.digest
        self._thumbnails[self.count] = picture.thumbnail
        self.count += 1
        kind = picture.extents[0].kind
        if kind not in self.scales:
            rendering = self.renderer.rendering()
            numbers = rendering.taken if rendering.file_channels != COLOURS else ()
            self.scales[kind] = ScaleTally(kind, self.renderer.scale(kind), numbers)
        self.scales[kind].count(name, picture.extents)
        self.transparent += picture.transparent
        if suffix_of(file_of(name)) in DICOM:
            self.windowed.append(kind == "floating")
        if picture.pages > 1:
            self.paged.append(picture.pages)

    @property
    def kept(self) -> np.ndarray:
        """Places of the images in the source; int64."""
        return self._kept[: self.count]

    @property
    def sizes(self) -> np.ndarray:
        return self._sizes[: self.count]

    @property
    def digests(self) -> np.ndarray:
        return self._digests[: self.count]

    @property
    def thumbnails(self) -> np.ndarray:
        return self._thumbnails[: self.count]


def _decode_all(
    items: ItemTable,
    target: Path,
    renderer: Renderer,
    results: Generator[DecodedImage | AuditEntry],
    progress: Callable[[int, int], None] | None,
) -> _Decoded:
    """Pixels of all readable images into the file `target`."""
    count = len(items.names)
    found = _Decoded(renderer, count)
    with target.open("wb", buffering=0) as file, contextlib.closing(results):
        for index, result in enumerate(results):
            if isinstance(result, AuditEntry):
                found.audit.append(result)
            else:
                rest = result.pixels.data.cast("B")
                with writing_to(target, REMEDY):
                    while rest:
                        rest = rest[file.write(rest) :]
                found.add(index, items.names[index], result)
            if progress is not None:
                progress(index + 1, count)
    return found


def none_readable(name: str, tried: int, audit: Sequence[AuditEntry]) -> UserError:
    """What to say where none of the images that were tried can be read or taken, for the reasons in `audit`."""
    problems = {entry.problem for entry in audit}
    able, remedy = "can be read", "give images in formats that Pillow reads"
    if problems == {"too large"}:
        remedy = "shrink or tile them, or raise --max-pixels"
    elif problems == {"other channels"}:
        able, remedy = "fits the study", "give images of as many channels"
    return UserError(
        f"No image of '{name}' {able}, of {tried} ({_reasons(audit)}; the first is '{audit[0].path}'); {remedy}."
    )


def _reasons(audit: Sequence[AuditEntry]) -> str:
    reasons = Counter(entry.detail for entry in audit)
    return ", ".join(f"{count} x {reason}" for reason, count in reasons.most_common(5))


def _refuse_too_little(name: str, items: ItemTable, found: _Decoded) -> None:
    if not found.count:
        raise none_readable(name, len(items.names), found.audit)
    left = items.take(found.kept).kinds
    if len(left) < 2 <= len(items.kinds):
        only = f"Only the class {quoted(left[0])}" if left else "No class"
        raise UserError(
            f"{only} of '{name}' has images that can be read ({_reasons(found.audit)}); mend "
            "the files of another class, or give --unlabelled."
        )


def _write_index(source: Source, all_items: ItemTable, found: _Decoded, folder: Path) -> None:
    items, sizes = all_items.take(found.kept), found.sizes
    channels = len(found.renderer.rendering().taken)
    arrays = {
        "sizes": sizes,
        "offsets": np.concatenate([[0], np.cumsum(sizes.prod(1, dtype=np.int64) * channels)]),
        "digests": found.digests,
        "originals": find_originals(found.digests, found.thumbnails),
        "labels": items.labels,
        "sides": items.sides,
        "folds": items.folds,
        "sets": items.sets,
    }
    lost = sorted({*all_items.classes} - {*items.classes})
    audit = [
        *found.audit,
        *(AuditEntry(f"{name}/", "small class", "none of its images can be read") for name in lost),
        *_rendered(source, found),
        *_same_pixels(items.names, found.digests),
    ]
    meta = {
        "version": FORMAT_VERSION,
        "name": source.name,
        "classes": items.classes,
        "groups": items.groups,
        "audit": [astuple(entry) for entry in audit],
        "rendering": asdict(found.renderer.rendering()),
        "names": items.names,
    }
    np.savez(folder / INDEX, **arrays)  # type: ignore[arg-type]
    (folder / META).write_text(json.dumps(meta), encoding="utf-8")


def _rendered(source: Source, found: _Decoded) -> Iterator[AuditEntry]:
    """How the images became pixels."""
    given = found.renderer.given
    yield from describe_channels(found.renderer.rendering())
    for kind, tally in found.scales.items():
        yield from tally.entries(given=kind != "8-bit" and getattr(given, kind) is not None)
    yield from describe_windows(found.windowed)
    if found.transparent:
        ground = GROUNDS[found.renderer.ground()]
        why = AS_GIVEN if given.ground is not None else ", on which what they show stands out most"
        yield AuditEntry(
            "*",
            "transparency",
            f"{found.transparent} image{'s' * (found.transparent != 1)} with transparent pixels: on {ground}{why}",
        )
    if isinstance(source, PagedSource):
        yield from describe_pages(source.several, all_used=True)
    else:
        yield from describe_pages(found.paged, all_used=False)


def _same_pixels(names: Sequence[str], digests: np.ndarray) -> list[AuditEntry]:
    """What most images are copies of, if they are many: something was lost on the way to pixels, perhaps."""
    _, first, counts = np.unique(digests, return_index=True, return_counts=True)
    count = int(counts.max())
    if count < max(MANY_ALIKE, len(names) / ONE_IN):
        return []
    example = names[int(first[counts == count].min())]
    detail = f"{count} of {len(names)} images have the same pixels, such as '{example}'"
    return [AuditEntry("*", "same pixels", f"{detail}; look at what they are before you trust any result")]


def _remove_abandoned(root: Path) -> None:
    """Remove what builds that were killed have left: those whose lock is free."""
    for aside in root.glob(f"{ASIDE}*"):
        path = aside.with_name(aside.name.removeprefix(ASIDE))
        with contextlib.suppress(Timeout, OSError), FileLock(_lock_of(path), timeout=0):
            shutil.rmtree(aside, ignore_errors=True)
