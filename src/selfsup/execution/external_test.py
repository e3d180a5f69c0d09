"""The external test: images of the study's classes from elsewhere, which are tested too and never chosen on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from selfsup.config.schema import StudyConfig
from selfsup.data.audit import AuditEntry, quoted
from selfsup.data.build import prepare_store
from selfsup.data.contents import contents_csv
from selfsup.data.items import UNKNOWN, ItemTable
from selfsup.data.near_duplicates import find_originals, thumbnail
from selfsup.data.pages import with_pages
from selfsup.data.sources import open_source
from selfsup.data.sources.base import Source
from selfsup.data.store import Store
from selfsup.errors import UserError
from selfsup.execution.known_images import require_same
from selfsup.execution.words import counted
from selfsup.record.folder import StudyFolder

#: File of the study with the path, class and digest of every image of the external test.
EXTERNAL_IMAGES = "external_images.csv"


@dataclass(frozen=True)
class ExternalTest:
    """What a study writes down of it.

    Attributes
    ----------
    about : dict
        For ``dataset.json``: the name, the store, and how many images there are of each of the study's classes.
    audit : tuple of AuditEntry
        What was noticed, and which images are copies of the study's own.
    """

    about: dict[str, Any]
    audit: tuple[AuditEntry, ...]


def open_external(config: StudyConfig, classes: Sequence[str], say: Callable[[str], None]) -> Source:
    """The images of ``--test-data``, for a study of these classes, before any is opened.

    Raises
    ------
    UserError
        If there are none, or they or the study have no labels, or they are of other classes than the study.
    """
    assert config.test_data is not None
    if not classes:
        raise UserError(f"--test-data needs labels, and the images of '{config.data}' have none; leave it out.")
    source = with_pages(open_source(config.test_data, say=say), config.pages)
    found = ItemTable.of(source.items)
    if not found.has_labels:
        raise UserError(
            f"The images of --test-data '{config.test_data}' have no labels; put them in folders by class, two or more."
        )
    if other := [name for name in found.classes if name not in classes]:
        raise UserError(
            f"--test-data '{config.test_data}' has {len(other)} class{'es' * (len(other) > 1)} that '{config.data}' "
            f"has not (such as {quoted(other[0])}); give images of the study's classes, in folders of the same names."
        )
    return source


def prepare_external(
    folder: StudyFolder,
    config: StudyConfig,
    store: Store,
    say: Callable[[str], None],
    on_decoded: Callable[[int, int], None] | None = None,
) -> ExternalTest | None:
    """Decode the images of ``--test-data`` as the study's own, those in `store`, were; None without it.

    Raises
    ------
    UserError
        As :func:`open_external`, or if they are not those with which the study was begun.
    """
    if config.test_data is None:
        return None
    external = prepare_store(
        open_external(config, store.classes, say),
        store_size=config.resolved_store_size,
        rendering=store.rendering,
        max_pixels=config.max_pixels,
        progress=on_decoded,
    )
    listed = contents_csv(external)
    require_same(listed, folder, EXTERNAL_IMAGES, config.test_data)
    folder.write(EXTERNAL_IMAGES, listed)
    images = external.items.count(np.arange(len(external)))
    counts = dict(zip(external.classes, images.tolist(), strict=True))
    missing = [name for name in store.classes if name not in counts]
    of = f"{len(counts)} of the {len(store.classes)} classes (not {quoted(missing[0])})" if missing else "all classes"
    say(
        f"External test: {counted(int(images.sum()), 'image')} of {of} in '{config.test_data}', decoded with the "
        f"scales and ground of the study's own; nothing is chosen by them."
    )
    about = {
        "name": external.name,
        "store": str(external.path),
        "class_counts": {name: counts.get(name, 0) for name in store.classes},
    }
    return ExternalTest(about, (*map(_of_external, external.audit), *_copies(store, external)))


def count_external(folder: StudyFolder) -> int:
    """How many images of a prepared study's external test have a label; 0 without one."""
    about = folder.read_json("dataset.json").get("external")
    return sum(about["class_counts"].values()) if about else 0


def _of_external(entry: AuditEntry) -> AuditEntry:
    """The entry said of the external test."""
    if entry.path == "*":
        return replace(entry, detail=f"external test: {entry.detail}")
    return replace(entry, path=f"external test: {entry.path}")


def _copies(store: Store, external: Store) -> list[AuditEntry]:
    """Images of the external test that are copies of the study's, exactly or nearly."""
    thumbnails = [thumbnail(images.image(index)) for images in (store, external) for index in range(len(images))]
    originals = find_originals(np.concatenate([store.digests, external.digests]), np.stack(thumbnails))
    return [
        AuditEntry(external.names[index], "copy in the external test", f"is a copy of {quoted(store.names[original])}")
        for index, original in enumerate(originals[len(store) :].tolist())
        if original < len(store)
    ]


def labels_in(classes: Sequence[str], external: Store) -> np.ndarray:
    """Labels of the external images as places in a study's `classes`, ``UNKNOWN`` where there is none; int64."""
    places = [classes.index(name) for name in external.classes]
    return np.array([*places, UNKNOWN], np.int64)[external.labels]
