"""Which images a study is of, wherever their files lie and whenever they were copied there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from selfsup.csv_files import csv_rows, csv_text
from selfsup.data.audit import printable
from selfsup.data.store import Store

COLUMNS = ("path", "class", "digest")


@dataclass(frozen=True)
class Contents:
    """The readable images of a data set, as far as they determine a study's numbers.

    Attributes
    ----------
    images : mapping
        From the path of each image to its class (empty where it has no label) and the hash of
        its decoded pixels; in the order of the store.
    """

    images: Mapping[str, tuple[str, str]]

    @classmethod
    def of(cls, store: Store) -> Contents:
        """Contents of a store."""
        classes = [store.items.class_of(index) or "" for index in range(len(store))]
        digests = [digest.decode() for digest in store.digests.tolist()]
        return cls(dict(zip(store.names, zip(classes, digests, strict=True), strict=True)))

    @classmethod
    def from_csv(cls, content: bytes) -> Contents:
        """Contents in the file that :meth:`to_csv` made."""
        return cls({printable(row["path"]): (printable(row["class"]), row["digest"]) for row in csv_rows(content)})

    def to_csv(self) -> bytes:
        """A row for each image: path, class, digest."""
        return csv_text(COLUMNS, ((path, *facts) for path, facts in self.images.items())).encode()

    def changes_since(self, before: Contents) -> str:
        """How many images were added, are missing or have changed, and the first of each; empty if none."""
        old, new = before.images, self.images
        changes = {
            "added": [path for path in new if path not in old],
            "missing or unreadable": [path for path in old if path not in new],
            "changed": [path for path in new if path in old and new[path] != old[path]],
        }
        return ", ".join(_count(paths, what) for what, paths in changes.items() if paths)


def _count(paths: Sequence[str], what: str) -> str:
    example = f"'{paths[0]}'" if len(paths) == 1 else f"the first is '{paths[0]}'"
    return f"{len(paths)} {what} ({example})"
