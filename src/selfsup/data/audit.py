"""What was noticed in the data: files set aside, duplicates, classes with few images; and its wording."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from selfsup.config.grid import PerClass, percent_of
from selfsup.csv_files import csv_text
from selfsup.data.split import Split, has_several

Problem = Literal[
    "unreadable",
    "empty",
    "no class",
    "ignored",
    "passed over",
    "empty class",
    "looks like a split",
    "small class",
    "class missing on a side",
    "label conflict",
    "duplicate across split",
    "duplicate",
    "near duplicate",
    "same pixels",
    "too large",
    "pages",
    "transparency",
    "brightness scale",
    "beyond the scale",
    "little contrast",
]

#: What the terminal calls all that has one problem, in the order of its lines.
HEADINGS: dict[Problem, str] = {
    "unreadable": "Files and folders that cannot be read, set aside",
    "empty": "Files of no bytes, set aside",
    "no class": "Images beside the class folders, set aside",
    "ignored": "Files not taken for images",
    "passed over": "Folders and hidden images passed over",
    "empty class": "Folders without an image, which are no classes",
    "looks like a split": "Taken for a class, though it is called as a side of a split is",
    "small class": "Classes with fewer training images than asked for",
    "class missing on a side": "Classes without an image on one side of the split",
    "label conflict": "Images whose pixels stand under several classes, left out of validation and test",
    "duplicate across split": "Copies of images on another side of the split",
    "duplicate": "Images with the pixels of an earlier one",
    "near duplicate": "Images that are earlier ones in another size or compression",
    "same pixels": "Many images are alike",
    "too large": "Images of too many pixels, set aside (shrink or tile them, or raise --max-pixels in a new study)",
    "pages": "Several pages or frames",
    "transparency": "Transparency",
    "brightness scale": "Brightness (see --full-scale)",
    "beyond the scale": "Beyond the brightness scale",
    "little contrast": "Little contrast",
}
#: What may make all results of a study worthless: the report begins with it.
ALARMING: tuple[Problem, ...] = ("same pixels", "little contrast")
#: How many of a kind are named in its line.
EXAMPLES = 2


@dataclass(frozen=True)
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
    return csv_text(["path", "problem", "detail"], rows).encode("utf-8", "backslashreplace")


def summarize(entries: Iterable[AuditEntry]) -> list[str]:
    """A line for each kind of problem: how many have it, and the first of them."""
    found: dict[Problem, list[AuditEntry]] = {}
    for entry in entries:
        found.setdefault(entry.problem, []).append(entry)
    return [f"{heading}: {_in_a_line(found[problem])}." for problem, heading in HEADINGS.items() if problem in found]


def _in_a_line(entries: Sequence[AuditEntry]) -> str:
    if entries[0].path == "*":  # of all images together
        return "; ".join(entry.detail for entry in entries)
    examples = [f"{entry.path}: {entry.detail}" for entry in entries[:EXAMPLES]] + ["…"] * (len(entries) > EXAMPLES)
    return f"{sum(entry.count for entry in entries):,} ({'; '.join(examples)})"


def printable(text: str) -> str:
    r"""`text` as valid Unicode in composed form (NFC): bytes of a file name that are no UTF-8 become ``\udcXX``.

    File names on POSIX systems are bytes; Python hands those that are not UTF-8 over as lone
    surrogates, which no CSV, HTML or terminal can take. A name with an accent may come back from another
    system with letter and accent apart, and is the same name.
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text.encode("utf-8", "backslashreplace").decode())


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
    for side, indices in (("train", split.train), ("val", split.val), ("test", split.test)):
        for index, original in zip(indices.tolist(), originals[indices].tolist(), strict=True):
            twin, where = first_seen.setdefault(original, (index, side))
            if where != side:
                detail = f"in {side}, and a copy of '{names[twin]}' in {where}"
                entries.append(AuditEntry(names[index], "duplicate across split", detail))
    return entries


def copies(names: Sequence[str], digests: np.ndarray, originals: np.ndarray) -> list[AuditEntry]:
    """Images that are copies of earlier ones, exact ones by their `digests`; else as :func:`find_duplicates`."""
    first: dict[bytes, int] = {}
    entries = []
    for index, (digest, original) in enumerate(zip(digests.tolist(), originals.tolist(), strict=True)):
        twin = first.setdefault(digest, index)
        if twin != index:
            entries.append(AuditEntry(names[index], "duplicate", f"same pixels as '{names[twin]}'"))
        elif original != index:
            entries.append(AuditEntry(names[index], "near duplicate", f"nearly the same as '{names[original]}'"))
    return entries


def label_conflicts(
    names: Sequence[str], digests: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> list[AuditEntry]:
    """Images whose pixels also stand under another class, each with one of those; `labels` are indices of `classes`."""
    found = np.flatnonzero(has_several(labels, digests)).tolist()
    first: dict[bytes, dict[int, int]] = {}
    for index in found:
        first.setdefault(digests[index], {}).setdefault(int(labels[index]), index)
    entries = []
    for index in found:
        other = next(twin for label, twin in first[digests[index]].items() if label != labels[index])
        detail = f"is of class '{classes[labels[index]]}', and '{names[other]}' of class '{classes[labels[other]]}'"
        entries.append(AuditEntry(names[index], "label conflict", detail))
    return entries


def small_classes(
    labels: np.ndarray, classes: Sequence[str], split: Split, per_class: Sequence[PerClass]
) -> list[AuditEntry]:
    """Classes that cannot give what the study asks of them.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
        Index into `classes` of each image.
    classes : sequence of str
    split : Split
    per_class : sequence of int or str
        Numbers, or shares, of training images per class that the study asks for.

    Returns
    -------
    list of AuditEntry
        One per class with fewer training images than asked for, or of which a share is less than one image, and one
        per class and side of the split that has no image of it.
    """
    counts = {
        side: np.bincount(labels[indices], minlength=len(classes))
        for side, indices in (("train", split.train), ("val", split.val), ("test", split.test))
    }
    entries = []
    for index, name in enumerate(classes):
        have = int(counts["train"][index])
        too_many = sorted({n for n in per_class if isinstance(n, int) and n > have})
        too_small = [n for n in per_class if (percent := percent_of(n)) is not None and percent * have < 100]
        if have and too_small:
            detail = f"{have} training images, of which {', '.join(map(str, too_small))} is less than one: it gives one"
            entries.append(AuditEntry(f"{name}/", "small class", detail))
        if too_many:
            asked = ", ".join(map(str, too_many))
            detail = f"{have} training images where {asked} per class are asked for: it gives all it has"
            entries.append(AuditEntry(f"{name}/", "small class", detail))
        for side, count in counts.items():
            if count[index] == 0:
                entries.append(AuditEntry(f"{name}/", "class missing on a side", f"no image in {side}"))
    return entries
