"""Which images a study is of, wherever their files lie and whenever they were copied there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from selfsup.csv_files import csv_bytes, csv_rows, in_quotes
from selfsup.data.audit import printable
from selfsup.data.store import Store

COLUMNS = ("path", "class", "digest")
#: The readable images of a data set, as far as they determine a study's numbers: from the path of each to its class
#: (empty where it has no label) and the hash of its decoded pixels.
Contents = Mapping[str, tuple[str, str]]


def contents_csv(store: Store) -> bytes:
    """Contents of a store, a row for each image in its order: equal bytes are equal contents."""
    kinds = [*map(in_quotes, store.items.kinds), '""']  # the last of which is that of no label
    rows = zip(map(in_quotes, store.names), store.labels.tolist(), store.digests.tolist(), strict=True)
    return csv_bytes(COLUMNS, ()) + "".join([f'{name},{kinds[k]},"{d.decode()}"\n' for name, k, d in rows]).encode()


def read_contents(content: bytes) -> Contents:
    """Contents in the file that :func:`contents_csv` made."""
    return {printable(row["path"]): (printable(row["class"]), row["digest"]) for row in csv_rows(content)}


def changes(old: Contents, new: Contents) -> str:
    """How many images were added, are missing or have changed, and the first of each; empty if none.

    Where all are there, whether they are in another order: a study knows its images by their places.
    """
    found = {
        "added": [path for path in new if path not in old],
        "missing or unreadable": [path for path in old if path not in new],
        "changed": [path for path in new if path in old and new[path] != old[path]],
    }
    said = ", ".join(_count(paths, what) for what, paths in found.items() if paths)
    if not said and list(old) != list(new):
        return f"all are there, in another order (the first was '{next(iter(old))}')"
    return said


def _count(paths: Sequence[str], what: str) -> str:
    example = f"'{paths[0]}'" if len(paths) == 1 else f"the first is '{paths[0]}'"
    return f"{len(paths)} {what} ({example})"
