"""What folders say of the images in them: their class, and the side of a split that they are given for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from selfsup.data.audit import AuditEntry
from selfsup.data.items import SIDES, Side
from selfsup.errors import UserError

#: What a side of a split is called, without case, digits and marks.
_SIDE_OF: dict[str, Side] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "eval", "evaluation"), "val"),
    **dict.fromkeys(("test", "testing", "holdout"), "test"),
}
_POOL = ("unlabelled", "unlabeled")


@dataclass(frozen=True)
class Place:
    """What an image's folders say of it: its class, None where it has none, and its side of a given split."""

    label: str | None = None
    split: Side | None = None


@dataclass(frozen=True)
class Layout:
    """What the folders of a data set say.

    Attributes
    ----------
    places : tuple of Place or None
        One per image; None where it lies beside the class folders, and not in one.
    remarks : tuple of AuditEntry
        What was decided that a user should know.
    """

    places: tuple[Place | None, ...]
    remarks: tuple[AuditEntry, ...] = ()


def read_layout(paths: Sequence[str], root: str, *, no_given_split: bool = False) -> Layout:
    """Classes and sides of images by the folders that they lie in.

    The top-level folder of an image is its class, or where every one of them is called as a side of a split is, its
    side, and the next one its class. Images in a folder ``unlabelled`` beside the class folders have no label. Where
    there are fewer than two class folders, no image has one.

    Parameters
    ----------
    paths : sequence of str
        Of all images below the root, with ``/`` between folders.
    root : str
        As messages name it.
    no_given_split : bool
        Take folders for classes, whatever they are called.

    Raises
    ------
    UserError
        If only some of the folders are called as sides are, or there is nothing to train on.
    """
    tops = sorted({path.partition("/")[0] for path in paths if "/" in path and not _is_pool(path.partition("/")[0])})
    sides = {} if no_given_split else {top: side for top in tops if (side := side_of(top)) is not None}
    as_split = _by_folders(paths, sides)
    given = len(sides) == len(tops) > 0 and (len(sides) > 1 or _classes(as_split) > 1)
    if given:
        _refuse_useless_split(as_split, tops, root)
        return Layout(tuple(as_split), (_given(sides),))
    if len(sides) > 1:
        raise UserError(
            f"The folders {', '.join(sides)} of '{root}' look like the sides of a split, and {_others(tops, sides)} "
            "beside them do not; move these away, or take all of them for classes with --no-given-split."
        )
    places = _by_folders(paths, {})
    if _classes(places) < 2:
        return Layout((Place(),) * len(paths))
    remarks = [AuditEntry(f"{top}/", "looks like a split", "its images are learned as a class") for top in sides]
    return Layout(tuple(places), tuple(remarks))


def _by_folders(paths: Iterable[str], sides: dict[str, Side]) -> list[Place | None]:
    """Places of images; in folders that are `sides`, the class folders are those below."""
    places: list[Place | None] = []
    for path in paths:
        *folders, _ = path.split("/")
        side = sides.get(folders[0]) if folders else None
        if side is not None:
            del folders[0]
        if not folders or (_is_pool(folders[0]) and side in ("val", "test")):
            places.append(None)
        else:
            places.append(Place(None if _is_pool(folders[0]) else folders[0], side))
    return places


def _classes(places: Iterable[Place | None]) -> int:
    return len({place.label for place in places if place is not None} - {None})


def _refuse_useless_split(places: Sequence[Place | None], sides: Sequence[str], root: str) -> None:
    folders = f"The {'folders' if len(sides) > 1 else 'folder'} {', '.join(sides)} of '{root}'"
    if _classes(places) < 2:
        raise UserError(
            f"{folders} look like the sides of a split, and do not hold two class folders or more; put the images of "
            "each class into a folder of its own there, or leave the labels out with --unlabelled."
        )
    if not any(place is not None and place.label is not None and place.split == "train" for place in places):
        raise UserError(
            f"{folders} look like the sides of a split, and none of them is for training; add a folder 'train', or "
            "give the folder of the classes itself."
        )


def _given(sides: dict[str, Side]) -> AuditEntry:
    """The line that says which folders are which side."""
    called = [
        f"'{top}'" if top == side else f"'{top}' ({side})" for side in SIDES for top in sides if sides[top] == side
    ]
    listed = " and ".join([", ".join(called[:-1]), called[-1]] if len(called) > 1 else called)
    detail = f"by the folder{'s' * (len(called) > 1)} {listed}, whose folders are the classes"
    return AuditEntry("*", "given split", f"{detail} (with --no-given-split they are classes themselves)")


def _others(tops: Sequence[str], sides: dict[str, Side]) -> str:
    others = [f"'{top}'" for top in tops if top not in sides]
    return f"{', '.join(others[:3])}{', …' * (len(others) > 3)}"


def side_of(folder: str) -> Side | None:
    """Side of a split that a folder is called as: train, test_set, Validation-Images, val2017."""
    word = _word(folder)
    return _SIDE_OF.get(word) or _SIDE_OF.get(re.sub(r"(data)?(set|data|images?|imgs?|split)$", "", word))


def _is_pool(folder: str) -> bool:
    """Whether a folder is called as one of images without a label is."""
    return _word(folder) in _POOL


@lru_cache(maxsize=4096)  # of a million paths few folders differ
def _word(folder: str) -> str:
    return re.sub(r"[\W\d_]", "", folder.lower())
