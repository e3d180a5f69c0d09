"""What folders say of the images in them: their class, and the side of a split that they are given for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence, Set
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


#: What folders say, by their paths below the root; None of images beside the class folders.
_Places = dict[str, "Place | None"]


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
    side, and the next one its class. Images in a folder ``unlabelled`` beside the class folders have no label. One
    folder around all the others is stepped into. Where there are fewer than two class folders, no image has a label.

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
    folders = [path.rpartition("/")[0] for path in paths]
    places, remarks = _read_folders(set(folders), root, no_given_split)
    return Layout(tuple(map(places.__getitem__, folders)), tuple(remarks))


def _read_folders(folders: Set[str], root: str, no_given_split: bool) -> tuple[_Places, list[AuditEntry]]:
    """What each of the folders that hold images says, and what to say of that."""
    top_of = {folder: folder.partition("/")[0] for folder in folders}
    tops = sorted({top for top in top_of.values() if top and not _is_pool(top)})
    sides = {} if no_given_split else {top: side for top in tops if (side := side_of(top)) is not None}
    as_split = _places(folders, sides)
    given = len(sides) == len(tops) > 0 and (len(sides) > 1 or _classes(as_split) > 1)
    if given:
        _refuse_useless_split(as_split, tops, root)
        return as_split, [_given(sides)]
    if len(sides) > 1:
        raise UserError(
            f"The folders {', '.join(sides)} of '{root}' look like the sides of a split, and {_others(tops, sides)} "
            "beside them do not; move these away, or take all of them for classes with --no-given-split."
        )
    places = _places(folders, {})
    if _classes(places) > 1:
        return places, [
            AuditEntry(f"{top}/", "looks like a split", "its images are learned as a class") for top in sides
        ]
    if len(set(top_of.values())) == len(tops) == 1 and not folders & {*tops}:
        return _step_into(tops[0], folders, root, no_given_split)
    return dict.fromkeys(folders, Place()), []


def _step_into(top: str, folders: Set[str], root: str, no_given_split: bool) -> tuple[_Places, list[AuditEntry]]:
    """What the folders below the only one say, as if that had been given."""
    within = {folder: folder.removeprefix(f"{top}/") for folder in folders}
    places, remarks = _read_folders(set(within.values()), f"{root}/{top}", no_given_split)
    if _classes(places):
        hint = f"'{top}', whose folders say what is known of the images (--unlabelled leaves that out)"
        remarks = [AuditEntry("*", "one folder", hint), *remarks]
    return {folder: places[inner] for folder, inner in within.items()}, remarks


def _places(folders: Iterable[str], sides: dict[str, Side]) -> _Places:
    """Places of folders; in those that are `sides`, the class folders are those below."""
    places: _Places = {}
    for folder in folders:
        parts = folder.split("/") if folder else []
        side = sides.get(parts[0]) if parts else None
        if side is not None:
            del parts[0]
        if not parts or (_is_pool(parts[0]) and side in ("val", "test")):
            places[folder] = None
        else:
            places[folder] = Place(None if _is_pool(parts[0]) else parts[0], side)
    return places


def _classes(places: _Places) -> int:
    return len({place.label for place in places.values() if place is not None} - {None})


def _refuse_useless_split(places: _Places, sides: Sequence[str], root: str) -> None:
    folders = f"The {'folders' if len(sides) > 1 else 'folder'} {', '.join(sides)} of '{root}'"
    if _classes(places) < 2:
        raise UserError(
            f"{folders} look like the sides of a split, and do not hold two class folders or more; put the images of "
            "each class into a folder of its own there, or leave the labels out with --unlabelled."
        )
    if not any(place is not None and place.label is not None and place.split == "train" for place in places.values()):
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


@lru_cache(maxsize=4096)  # asked more than once of every folder
def _word(folder: str) -> str:
    return re.sub(r"[\W\d_]", "", folder.lower())
