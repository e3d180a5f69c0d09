"""One run at a time at an address: a lock there that its holder renews, and that lapses when it does not."""

from __future__ import annotations

import json
import os
import platform
import time
import uuid
from pathlib import Path
from typing import Any

import psutil

from selfsup.data.addresses import explained, shown
from selfsup.errors import UserError

#: The lock's name beside the study's files.
LOCK = "selfsup.lock"
#: Seconds between two renewals, and without one until anybody may take the lock.
RENEW_SECONDS, LAPSES_SECONDS = 60.0, 600.0
#: Seconds before each attempt to read it: it may be read while it is written, by this run's own renewal too.
READS = (0.0, 0.05, 0.25)


class Lease:
    """The right to write to a study at an address.

    `folder` is where this run works on the study, locked for it: a lock that was left from there is its own to take.
    Where the file system can create a file only if there is none (local ones, S3), two runs cannot
    both have it. Elsewhere each reads back what it wrote, which leaves a moment for both to fail.
    """

    def __init__(self, fs: Any, root: str, address: str, folder: Path) -> None:
        self._fs, self._path, self._address, self._folder = fs, f"{root}/{LOCK}", address, str(folder)
        self._owner = uuid.uuid4().hex

    def acquire(self) -> None:
        """Take the lock.

        Raises
        ------
        UserError
            If another run has it, or the address cannot be written to.
        """
        with explained(self._address, "written to"):
            for _ in range(3):
                if self._create() and self.holds():
                    return
                held = self._read()
                if held is not None and not self._lapsed(held):
                    raise UserError(
                        f"Another selfsup is at work on '{shown(self._address)}' (on {held.get('host')}); wait for it, "
                        f"stop it, or choose another --out."
                    )
                if held is not None:
                    self._fs.rm_file(self._path)
        raise UserError(f"Several selfsup want to work on '{shown(self._address)}'; start one of them again.")

    def holds(self) -> bool:
        """Whether the lock is still this run's, as it is taken to be as long as it cannot be read."""
        held = self._read()
        return held is not None and held.get("owner", self._owner) == self._owner

    def renew(self) -> bool:
        """Renew the lock; False if another run has taken it."""
        if not self.holds():
            return False
        self._fs.pipe_file(self._path, self._content())
        return True

    def release(self) -> None:
        """Give the lock back, if it is still this run's."""
        if self.holds():
            self._fs.rm_file(self._path)

    def _create(self) -> bool:
        try:
            self._fs.pipe_file(self._path, self._content(), mode="create")
        except FileExistsError:
            return False
        except (NotImplementedError, TypeError):  # it cannot create exclusively
            if self._fs.exists(self._path):
                return False
            self._fs.pipe_file(self._path, self._content())
            time.sleep(1)
        return True

    def _read(self) -> dict[str, Any] | None:
        """What stands in the lock; None where there is none, and no owner where it was half-written every time."""
        for wait in READS:
            time.sleep(wait)
            self._fs.invalidate_cache()
            try:
                return json.loads(self._fs.cat_file(self._path))
            except FileNotFoundError:
                return None
            except ValueError:
                continue
        return {"renewed": time.time()}

    def _content(self) -> bytes:
        about = {"owner": self._owner, "host": platform.node(), "folder": self._folder, "pid": os.getpid()}
        return json.dumps({**about, "renewed": time.time()}).encode()

    def _lapsed(self, held: dict[str, Any]) -> bool:
        """Whether the run that has the lock is gone: seen to be, or not heard of for long."""
        here = held.get("host") == platform.node()
        if here and (held.get("folder") == self._folder or not psutil.pid_exists(int(held.get("pid", -1)))):
            return True
        return time.time() - float(held.get("renewed", 0)) > LAPSES_SECONDS
