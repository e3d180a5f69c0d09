"""What is recorded of every cell of a study, read while workers publish and replace cells."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from selfsup.record.reading import read_json

#: Seconds to wait before each look, as long as a cell is away that is being replaced.
LOOKS = (0.0, 0.01, 0.05, 0.25)


class CellRows:
    """The content of every ``metrics.json`` below the folder `cells`; one that is as it was is not read again."""

    def __init__(self, cells: Path) -> None:
        self._cells = cells
        self._known: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {}

    def read(self) -> dict[str, dict[str, Any]]:
        """All that is recorded of every cell, by its id.

        A cell is away for a moment while it is replaced. One that was there before, or goes while it is read, is waited
        for; at the first look at a study it may be missing.

        Raises
        ------
        UserError
            If what is recorded of a cell cannot be read.
        """
        found: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {}
        wanted = set(self._known)
        for wait in LOOKS:
            time.sleep(wait)
            with contextlib.suppress(FileNotFoundError):
                for path in self._cells.glob("*/metrics.json"):
                    cell = path.parent.name
                    wanted.add(cell)
                    state = path.stat()
                    key = (state.st_ino, state.st_mtime_ns)
                    known = self._known.get(cell)
                    if known is None or known[0] != key:
                        known = key, read_json(path)
                    if known[1]:
                        found[cell] = known
            if found.keys() == wanted:
                break
        self._known = found
        return {cell: row for cell, (_, row) in found.items()}
