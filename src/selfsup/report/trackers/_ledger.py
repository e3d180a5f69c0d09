"""What a tracker has logged already.

A cell is entered after it was logged. A crash between the two logs the cell once more, in place of the first
run; no cell is ever left out.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from pathlib import Path

from selfsup.atomic import replace_file
from selfsup.record.folder import to_json


class Ledger:
    """The cells that are whole in one store of a tracker.

    Parameters
    ----------
    home : Path
        The tracker's folder in the study; to remove it is to forget what was logged.
    store : str
        Where the runs go. Cells logged to another server count as not logged.
    """

    def __init__(self, home: Path, store: str) -> None:
        self._path, self._store = home / "logged.json", store
        if not self._path.exists():
            home.mkdir(parents=True, exist_ok=True)
            # The random number tells studies of one name apart on a shared server.
            replace_file(self._path, to_json({"study": secrets.token_hex(16), "cells": {}}))
        content = json.loads(self._path.read_text(encoding="utf-8"))
        self._study: str = content["study"]
        self._cells: dict[str, list[str]] = content["cells"]
        #: Cells that a tracker could not log, of late or before they could be.
        self.failed: list[str] = content.get("failed", [])

    @property
    def cells(self) -> frozenset[str]:
        """Ids of the cells in the store."""
        return frozenset(self._cells.get(self._store, ()))

    def enter(self, cell_id: str) -> None:
        """Note that a cell is in the store."""
        self._cells.setdefault(self._store, []).append(cell_id)
        self._write()

    def enter_failed(self, cell_id: str) -> None:
        """Note that a cell could not be logged."""
        if cell_id not in self.failed:
            self.failed.append(cell_id)
            self._write()

    def _write(self) -> None:
        replace_file(self._path, to_json({"study": self._study, "cells": self._cells, "failed": self.failed}))

    def key_of(self, cell_id: str) -> str:
        """16 hexadecimal digits that name a cell, the same at every attempt and in no other study."""
        return hashlib.sha256(f"{self._study}/{cell_id}".encode()).hexdigest()[:16]
