"""Whether images are those with which a study was begun, as its folder lists them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from selfsup.config.schema import StudyConfig
from selfsup.csv_files import csv_rows
from selfsup.data.audit import printable
from selfsup.data.contents import changes, read_contents
from selfsup.data.items import SIDES
from selfsup.data.split import Split
from selfsup.errors import UserError
from selfsup.record.folder import StudyFolder
from selfsup.record.reading import read_arrays

#: File of the study with the path, class and digest of every image it is of.
IMAGES = "images.csv"
#: File of the study with the images that were set aside, and whatever else was noticed about them.
AUDIT = "audit.csv"


def require_same_names(names: Sequence[str], folder: StudyFolder, config: StudyConfig) -> None:
    """Refuse images of other names than those the study in `folder` was begun with, without decoding any.

    Raises
    ------
    UserError
        If some are missing, or there are more.
    """
    content = _known_images(folder, IMAGES)
    if content is None:
        return
    known = read_contents(content)
    aside = {printable(entry["path"]) for entry in csv_rows((folder.path / AUDIT).read_bytes())}
    found = {name: known.get(name, ("", "")) for name in names if name in known or name not in aside}
    _refuse_changes(changes(known, found), folder, config.data)


def require_same(content: bytes, folder: StudyFolder, file: str, data: str) -> None:
    """Refuse other images of `data` than those that `file` of the study lists; `content` is what it would be now.

    Raises
    ------
    UserError
        If some are missing or have changed, or there are more.
    """
    known = _known_images(folder, file)
    if known is not None and known != content:
        _refuse_changes(changes(read_contents(known), read_contents(content)), folder, data)


def require_same_split(split: Split, folder: StudyFolder, data: str, suffix: str) -> None:
    """Refuse to go on with a study whose images are divided in another way: a table of groups or sides has changed.

    Raises
    ------
    UserError
        If they are.
    """
    file = folder.path / f"split{suffix}.npz"
    if not (folder.exists() and file.is_file()):
        return
    if not all(np.array_equal(known, getattr(split, side)) for side, known in read_arrays(file, SIDES).items()):
        raise UserError(
            f"The images of '{data}' are not divided as when '{folder.path}' was begun: their groups or given "
            "sides have changed; bring them back as they were, or choose another --out."
        )


def _known_images(folder: StudyFolder, file: str) -> bytes | None:
    path = folder.path / file
    return path.read_bytes() if folder.exists() and path.is_file() else None


def _refuse_changes(changed: str, folder: StudyFolder, data: str) -> None:
    if changed:
        raise UserError(
            f"The images of '{data}' are not those with which '{folder.path}' was begun: {changed}; "
            f"bring them back as they were, or choose another --out."
        )
