"""What was noticed in the data: files set aside, duplicates, classes with few images; and its wording."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from selfsup.config.grid import PerClass, percent_of
from selfsup.csv_files import csv_bytes
from selfsup.data.items import BETWEEN_LABELS, NO_SIDE, SIDES, TEST, UNKNOWN, VAL, ItemTable
from selfsup.data.split import Split, has_several

Problem = Literal[
    "unreadable",
    "empty",
    "no class",
    "one folder",
    "table",
    "ignored",
    "passed over",
    "empty class",
    "given split",
    "groups",
    "labels",
    "labels alike",
    "labels with a comma",
    "no label",
    "left out",
    "looks like a split",
    "small class",
    "class missing on a side",
    "rare label",
    "label missing on a side",
    "label conflict",
    "duplicate across split",
    "duplicate",
    "near duplicate",
    "copy in the external test",
    "same pixels",
    "too large",
    "other channels",
    "channels",
    "pages",
    "transparency",
    "brightness scale",
    "two brightness scales",
    "beyond the scale",
    "little contrast",
]

#: Ends what is said of a rendering that was not decided from these images.
AS_GIVEN = ", as given"

#: What the terminal calls all that has one problem, in the order of its lines.
HEADINGS: dict[Problem, str] = {
    "unreadable": "Files and folders that cannot be read, set aside",
    "empty": "Files of no bytes, set aside",
    "no class": "Images beside the class folders, set aside",
    "one folder": "One folder is around all others",
    "table": "A table beside the images",
    "ignored": "Files not taken for images",
    "passed over": "Folders and hidden images passed over",
    "empty class": "Folders without an image, which are no classes",
    "given split": "The split is given",
    "groups": "Groups of images, each on one side of the split",
    "labels": "Labels",
    "labels alike": "Labels that differ only by case or spaces",
    "labels with a comma": "Labels with a comma, each taken as one",
    "no label": "Images without a label",
    "left out": "Images that training may not see, left out",
    "looks like a split": "Taken for a class, though it is called as a side of a split is",
    "small class": "Classes with fewer training images than asked for",
    "class missing on a side": "Classes without an image on one side of the split",
    "rare label": "Labels with fewer training images than asked for",
    "label missing on a side": "Labels without an image on one side of the split",
    "label conflict": "Images whose pixels stand under several classes, left out of validation and test",
    "duplicate across split": "Copies of images on another side of the split",
    "duplicate": "Images with the pixels of an earlier one",
    "near duplicate": "Images that are earlier ones in another size or compression",
    "copy in the external test": "Images of the external test that are copies of the study's own",
    "same pixels": "Many images are alike",
    "too large": "Images of too many pixels, set aside (shrink or tile them, or raise --max-pixels in a new study)",
    "other channels": "Images of another number of channels than most, set aside",
    "channels": "Channels (see --channels)",
    "pages": "Several pages or frames",
    "transparency": "Transparency",
    "brightness scale": "Brightness (see --full-scale)",
    "two brightness scales": "Two brightness scales",
    "beyond the scale": "Beyond the brightness scale",
    "little contrast": "Little contrast",
}
#: What may make all results of a study worthless: the report begins with it.
ALARMING: tuple[Problem, ...] = ("same pixels", "little contrast")
#: How many of a kind are named in its line.
EXAMPLES = 2


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that a user should know of the data.

    Attributes
    ----------
    path : str
        Image, path relative to the root with ``/``; ``class/`` for a class; a pattern such as
        ``*.txt`` or ``*`` for many files.
    problem : str
        Kind of problem, one of ``Problem``.
    detail : str
        The reason, in words.
    count : int
        For how many files, images or classes it stands.
    """

    path: str
    problem: Problem
    detail: str
    count: int = 1


def audit_csv(entries: Iterable[AuditEntry]) -> bytes:
    """The entries as a CSV file with the columns path, problem, detail."""
    rows = ((entry.path, entry.problem, entry.detail) for entry in entries)
    return csv_bytes(["path", "problem", "detail"], rows, "backslashreplace")


def summarize(entries: Iterable[AuditEntry]) -> list[str]:
    """A line for each kind of problem: how many have it, and the first of them."""
    found: dict[Problem, list[AuditEntry]] = {}
    for entry in entries:
        found.setdefault(entry.problem, []).append(entry)
    return [f"{heading}: {_in_a_line(found[problem])}." for problem, heading in HEADINGS.items() if problem in found]


def _in_a_line(entries: Sequence[AuditEntry]) -> str:
    if entries[0].path == "*":  # of all images together
        return "; ".join(entry.detail for entry in entries)
    examples: list[str] = []
    for entry in entries:
        if any(quoted(entry.path) in example for example in examples):
            continue  # the other one of a pair
        if len(examples) == EXAMPLES:
            examples.append("…")
            break
        examples.append(f"{entry.path}: {entry.detail}")
    return f"{sum(entry.count for entry in entries):,} ({'; '.join(examples)})"


def printable(text: str) -> str:
    r"""`text` as valid Unicode in composed form (NFC): bytes of a file name that are no UTF-8 become ``\udcXX``.

    File names on POSIX systems are bytes; Python hands those that are not UTF-8 over as lone
    surrogates, which no CSV, HTML or terminal can take. A name with an accent may come back from another
    system with letter and accent apart, and is the same name.
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text.encode("utf-8", "backslashreplace").decode())


def quoted(name: str) -> str:
    """`name` in quotes that it does not hold itself, where there are such."""
    return f'"{name}"' if "'" in name and '"' not in name else f"'{name}'"


def find_duplicates(names: Sequence[str], originals: np.ndarray, split: Split) -> list[AuditEntry]:
    """Images of which a copy, exact or nearly so, is on another side of the split.

    Parameters
    ----------
    names : sequence of str, length N
    originals : ndarray of int64, shape (N,)
        Of each image the one that it is a copy of, or itself.
    split : Split

    Returns
    -------
    list of AuditEntry
        One per image of test (or val) that has a copy in train (or, failing that, in val), each
        naming both files.
    """
    entries = []
    first_seen: dict[int, tuple[int, str]] = {}
    copied = _copied(originals)
    for side, indices in (("train", split.train), ("val", split.val), ("test", split.test)):
        indices = indices[copied[indices]]
        for index, original in zip(indices.tolist(), originals[indices].tolist(), strict=True):
            twin, where = first_seen.setdefault(original, (index, side))
            if where != side:
                detail = f"in {side}, and a copy of {quoted(names[twin])} in {where}"
                entries.append(AuditEntry(names[index], "duplicate across split", detail))
    return entries


def odd_labels(items: ItemTable, *, listed: bool) -> list[AuditEntry]:
    """Labels that may be meant as one, and, where a table has `listed` them, as several; each kind in one entry."""
    alike: dict[str, list[str]] = {}
    for name in items.classes:
        alike.setdefault(" ".join(name.casefold().split()), []).append(quoted(name))
    pairs = [" and ".join(names) for names in alike.values() if len(names) > 1]
    commas = [quoted(name) for name in items.classes if "," in name] if listed and not items.several else []
    hint = f" (several labels of an image stand with {BETWEEN_LABELS} between)"
    found: list[tuple[Problem, list[str], str]] = [("labels alike", pairs, ""), ("labels with a comma", commas, hint)]
    return [AuditEntry("*", problem, _first(names) + more) for problem, names, more in found if names]


def _first(names: Sequence[str]) -> str:
    """The first of the names."""
    return ", ".join([*names[:EXAMPLES], *["…"][: len(names) - EXAMPLES]])


def _copied(originals: np.ndarray) -> np.ndarray:
    """Which images are copies of another, or have one; bool."""
    return np.bincount(originals)[originals] > 1


def describe_given(items: ItemTable, split: Split, originals: np.ndarray | None = None) -> str:
    """How many images are given for which side, what is drawn, and how many test images training has a copy of."""
    counts = np.bincount(items.sides[items.sides != NO_SIDE], minlength=len(SIDES))
    parts = [f"{count:,} images for {side}" for side, count in zip(SIDES, counts.tolist(), strict=True) if count]
    drawn = [side for side, count in zip(SIDES, counts.tolist(), strict=True) if not count and side != "train"]
    text = ", ".join(parts)
    if drawn:
        source = "the others" if (items.sides == NO_SIDE).any() else "those for train"
        text += f"; {' and '.join(drawn)} {'are' if len(drawn) > 1 else 'is'} drawn from {source}"
    if originals is not None:
        copied = int(np.isin(originals[split.test], originals[split.train]).sum())
        text += f"; {copied:,} of {len(split.test):,} test images have a copy in train, and stay" * (copied > 0)
    return text


def describe_groups(groups: Sequence[str] | np.ndarray, split: Split) -> str:
    """How many groups there are, and how many on each side."""
    counts = {side: len(np.unique(np.asarray(groups)[getattr(split, side)])) for side in SIDES}
    return f"{sum(counts.values()):,}, of them {', '.join(f'{count:,} in {side}' for side, count in counts.items())}"


def left_out(items: ItemTable, split: Split, originals: np.ndarray | None = None) -> list[AuditEntry]:
    """Images that training may not see and that are for no evaluation, each with the reason."""
    held_out = np.concatenate([split.val, split.test])
    twins = {} if originals is None else dict(zip(originals[held_out].tolist(), held_out.tolist(), strict=True))
    unused = np.setdiff1d(np.arange(len(items.names)), np.concatenate([split.train, held_out]))
    entries = []
    for index in unused.tolist():
        twin = None if originals is None else twins.get(int(originals[index]))
        if twin is not None:
            detail = f"is a copy of {quoted(items.names[twin])}, which is held out"
        elif items.labels[index] != UNKNOWN:
            continue  # its pixels stand under several classes, which is said of it elsewhere
        elif items.sides[index] in (VAL, TEST):
            detail = f"is given for {SIDES[items.sides[index]]}, where a label is needed"
        else:
            detail = "belongs to a group that is held out"
        entries.append(AuditEntry(items.names[index], "left out", detail))
    return entries


def copies(names: Sequence[str], digests: np.ndarray, originals: np.ndarray) -> list[AuditEntry]:
    """Images that are copies of earlier ones, exact ones by their `digests`; else as :func:`find_duplicates`."""
    first: dict[bytes, int] = {}
    entries = []
    for index in np.flatnonzero(_copied(originals)).tolist():
        twin, original = first.setdefault(digests[index], index), originals[index]
        if twin != index:
            entries.append(AuditEntry(names[index], "duplicate", f"same pixels as {quoted(names[twin])}"))
        elif original != index:
            entries.append(AuditEntry(names[index], "near duplicate", f"nearly the same as {quoted(names[original])}"))
    return entries


def label_conflicts(items: ItemTable, digests: np.ndarray) -> list[AuditEntry]:
    """Images whose pixels also stand under another class, each with one of those."""
    found = np.flatnonzero(has_several(items.labels, digests)).tolist()
    first: dict[bytes, dict[int, int]] = {}
    for index in found:
        first.setdefault(digests[index], {}).setdefault(int(items.labels[index]), index)
    entries = []
    for index in found:
        other = next(twin for label, twin in first[digests[index]].items() if label != items.labels[index])
        own, others = (quoted(str(items.class_of(image))) for image in (index, other))
        detail = f"is of class {own}, and {quoted(items.names[other])} of class {others}"
        entries.append(AuditEntry(items.names[index], "label conflict", detail))
    return entries


def small_classes(items: ItemTable, split: Split, per_class: Sequence[PerClass]) -> list[AuditEntry]:
    """Classes, or labels, that cannot give what the study asks of them.

    Parameters
    ----------
    items : ItemTable
    split : Split
    per_class : sequence of int or str
        Numbers, or shares, of training images per class that the study asks for.

    Returns
    -------
    list of AuditEntry
        One per class with fewer training images than asked for where another has as many, or of which a share is less
        than one image, and one per class of which a side of the split has no image.
    """
    counts = {
        side: items.count(indices)
        for side, indices in (("train", split.train), ("val", split.val), ("test", split.test))
    }
    entries = []
    kinds: dict[bool, tuple[Problem, Problem]] = {
        False: ("small class", "class missing on a side"),
        True: ("rare label", "label missing on a side"),
    }
    small, missing = kinds[items.several]
    most = int(counts["train"].max(initial=0))
    for index, name in enumerate(items.classes):
        have = int(counts["train"][index])
        too_many = sorted({n for n in per_class if isinstance(n, int) and have < n <= most})
        too_small = [n for n in per_class if (percent := percent_of(n)) is not None and percent * have < 100]
        if have and too_small:
            detail = f"{have} training images, of which {', '.join(map(str, too_small))} is less than one: it gives one"
            entries.append(AuditEntry(f"{name}/", small, detail))
        if too_many:
            asked = ", ".join(map(str, too_many))
            detail = f"{have} training images where {asked} per {items.category} are asked for: it gives all it has"
            entries.append(AuditEntry(f"{name}/", small, detail))
        if without := [side for side, count in counts.items() if count[index] == 0]:
            entries.append(AuditEntry(f"{name}/", missing, f"no image in {' and '.join(without)}"))
    return entries
