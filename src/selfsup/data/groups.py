"""Which images belong together (a patient, a plant, a video): by regular expression or by table."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from selfsup.config.data_fields import is_table
from selfsup.data.audit import printable
from selfsup.data.items import GROUP, ItemTable
from selfsup.errors import UserError


def read_groups(spec: str, names: Sequence[str]) -> list[str]:
    """Group of every image.

    Parameters
    ----------
    spec : str
        A CSV file with the columns ``path,group``, or else a regular expression that is searched
        in each name: its first group, or the whole match, names the image's group. An image that
        it does not match is a group of its own.
    names : sequence of str
        Names of the images, paths with ``/``.

    Returns
    -------
    list of str
        One group per image.

    Raises
    ------
    UserError
        If the expression is faulty or matches nothing, or the table lacks a column or an image.
    """
    if is_table(spec):
        return _from_table(Path(spec), names)
    return _from_expression(spec, names)


def given_groups(items: ItemTable) -> list[str]:
    """Group of every image as the data set gives it; an image without one is a group of its own."""
    return list(map(_named, items.groups, items.names))


def joined(groups: Sequence[str], originals: np.ndarray) -> list[str]:
    """Groups of which one holds copies of more than half of another, as one with the name of the first of them.

    Parameters
    ----------
    groups : sequence of str, length N
    originals : ndarray of int64, shape (N,)
        Of each image the one that it is a copy of, or itself. A few that are alike, such as blank pages, join nothing.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names, group = np.unique(np.asarray(groups, dtype=object), return_inverse=True)
    size = np.bincount(group)
    pairs, shared = np.unique(np.stack([group, group[originals]]), axis=1, return_counts=True)
    one, other = pairs[:, 2 * shared > size[pairs].min(axis=0)]
    links = coo_array((np.ones(len(one)), (one, other)), shape=(len(names), len(names)))
    part = connected_components(links, directed=False)[1]
    first = np.unique(part, return_index=True)[1]
    found: list[str] = names[first[part[group]]].tolist()
    return found


def _named(group: str | None, name: str) -> str:
    return f"{GROUP}{group}" if group else f"alone {name}"


def _from_expression(spec: str, names: Sequence[str]) -> list[str]:
    try:
        expression = re.compile(printable(spec))
    except re.error as error:
        raise UserError(
            f"--group '{spec}' is not a regular expression: {error}; mend it, or give a CSV file."
        ) from None
    named = min(expression.groups, 1)  # its first group, or the whole match
    found = [match[named] if (match := expression.search(name)) else None for name in names]
    if names and not any(found):
        raise UserError(
            f"--group '{spec}' matches none of the {len(names)} images (such as '{names[0]}'); "
            "mend the regular expression."
        )
    return list(map(_named, found, names))


def _from_table(path: Path, names: Sequence[str]) -> list[str]:
    group_of: dict[str, str] = {}
    for row in _rows(path):
        name, group = _normal(row["path"] or ""), row["group"] or ""
        if group_of.setdefault(name, group) != group:
            raise UserError(f"'{path}' puts '{name}' into two groups ('{group_of[name]}' and '{group}'); keep one row.")
    missing = [name for name in names if not group_of.get(_normal(name))]
    if missing:
        raise UserError(
            f"'{path}' names no group for {len(missing)} of {len(names)} images (such as '{missing[0]}'); "
            "add a row for each, with its path relative to the data folder."
        )
    return [group_of[_normal(name)] for name in names]


def _rows(path: Path) -> list[dict[str, str | None]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            columns = table.fieldnames or []
            rows = list(table)
    except FileNotFoundError:
        raise UserError(f"There is no file '{path}'; check the path given to --group.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"'{path}' cannot be read as CSV: {error}; mend the file given to --group.") from None
    lacking = [column for column in ("path", "group") if column not in columns]
    if lacking:
        raise UserError(
            f"'{path}' has no column '{lacking[0]}' (it has: {', '.join(columns) or 'none'}); "
            "--group needs the columns path,group."
        )
    return rows


def _normal(path: str) -> str:
    return printable(path).strip().replace("\\", "/").removeprefix("./")
