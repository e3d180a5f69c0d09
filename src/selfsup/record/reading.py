"""Files of a study that are read again: one that is damaged is said to be, and not taken for one that is not there."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfsup.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How to bring files back, by the beginning of their name.
ANEW = "remove the cell's folder and run the same command again"
_REMEDIES = {
    "metrics": ANEW,
    "probe": ANEW,
    "split": "remove it and run the same command again, which divides the images as before",
    "run.json": "remove it, with which only the history of commands is lost",
}


def unreadable(path: Path) -> UserError:
    """The error for a file that has to be there and cannot be read: names it, and what to do."""
    found = (remedy for name, remedy in _REMEDIES.items() if path.name.startswith(name))
    remedy = next(found, "bring it back from a copy, or begin anew with another --out")
    return UserError(f"'{path}' is missing or damaged; {remedy}.")


def read_json(path: Path) -> dict[str, Any]:
    """What a JSON file holds; empty where there is none.

    Raises
    ------
    UserError
        If it cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise unreadable(path)
    return content


def read_arrays(path: Path, names: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
    """Arrays of an ``.npz`` file, all of them by default.

    Raises
    ------
    UserError
        If the file, or one of the arrays, is missing or damaged.
    """
    import numpy as np  # not as the command line starts

    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in (arrays.files if names is None else names)}
    except (OSError, KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        raise unreadable(path) from None
