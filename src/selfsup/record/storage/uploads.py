"""Uploads a study while it runs, in a thread of its own: no cell waits for the network, and none is lost with it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from selfsup.data.addresses import explained, first_line, shown
from selfsup.errors import UserError
from selfsup.record.storage.lease import RENEW_SECONDS, Lease
from selfsup.record.storage.mirror import Mirror

#: Seconds between two looks at what is new, and what share of the time looking and sending may take.
EVERY, SHARE = 15.0, 0.2
#: Seconds to wait before each further attempt to upload what is left at the end.
LAST_WAITS = (1.0, 4.0, 10.0)

Say = Callable[[str], None]


@contextlib.contextmanager
def kept_in_step(mirror: Mirror, say: Say) -> Iterator[Uploads]:
    """Hold the address, fetch what is there, and upload what the body makes.

    Raises
    ------
    UserError
        If another run holds the address, it cannot be reached, or in the end not all could be uploaded.
    """
    lease = mirror.lease()
    lease.acquire()
    try:
        if fetched := mirror.pull():
            say(f"Fetched {fetched} files of '{shown(mirror.address)}' to {mirror.folder}.")
        uploads = Uploads(mirror, lease)
        uploads.start()
        try:
            yield uploads
        except BaseException:
            if left := uploads.finish():
                say(f"{left}; the same command uploads it.")
            raise
        if left := uploads.finish():
            raise UserError(f"{left}; the same command uploads it.")
    finally:
        with contextlib.suppress(Exception):  # it lapses
            lease.release()


def upload(address: str, paths: Iterable[Path]) -> None:
    """Send single files of a study's working folder, such as a page written anew.

    Raises
    ------
    UserError
        If the address cannot be written to.
    """
    mirror = Mirror(address)
    with explained(address, "written to"):
        mirror.push([path.relative_to(mirror.folder).as_posix() for path in paths])


class Uploads(threading.Thread):
    """Sends what is new every few seconds, while another thread renews the lease: an upload may outlast it."""

    def __init__(self, mirror: Mirror, lease: Lease) -> None:
        super().__init__(name="selfsup-upload", daemon=True)
        self._mirror, self._lease = mirror, lease
        self._ending = threading.Event()
        self._trouble: str | None = None
        self._said: str | None = None
        self._lost = False
        self._uploaded = threading.Event()
        self._renewal = threading.Thread(target=self._renew, name="selfsup-lease", daemon=True)

    def run(self) -> None:
        self._renewal.start()
        pause = EVERY
        while not self._ending.wait(pause) and not self._lost:
            started = time.monotonic()
            try:
                if self._lease.holds():
                    self._push()
                else:
                    self._lost = True
                self._trouble = None
            except Exception as error:  # the network's trouble, which costs no result
                self._trouble = first_line(error)
            pause = max(EVERY, (time.monotonic() - started) / SHARE)

    def notice(self, say: Say) -> None:
        """To be called now and then by the thread that runs the study.

        Raises
        ------
        UserError
            If another run has taken the address, as it may when this one was cut off for long.
        """
        if self._lost:
            raise UserError(
                f"Another selfsup has taken over '{shown(self._mirror.address)}' meanwhile; what was done here is in "
                f"{self._mirror.folder}. Stop one of the two."
            )
        trouble = self._trouble
        if trouble and not self._said:
            say(
                f"'{shown(self._mirror.address)}' cannot be written to ({trouble}); the study goes on in "
                f"{self._mirror.folder} and is uploaded as soon as that works again."
            )
        self._said = trouble

    def finish(self) -> str | None:
        """End the thread and upload what is left; where that fails, or another run has the address, half a sentence."""
        self._ending.set()
        self.join()
        try:
            return self._push_the_rest()
        finally:
            self._uploaded.set()
            self._renewal.join()

    def _push_the_rest(self) -> str | None:
        where = f"'{shown(self._mirror.address)}'"
        for wait in (0.0, *LAST_WAITS):
            time.sleep(wait)
            try:
                if not self._lease.holds():
                    return f"{where} is another run's now, and what was done here is in {self._mirror.folder} alone"
                self._push()
                return None
            except Exception as error:
                reason = first_line(error)
        return f"Not all could be uploaded to {where} ({reason}): the study is complete in {self._mirror.folder}"

    def _renew(self) -> None:
        while not self._uploaded.wait(RENEW_SECONDS) and not self._lost:
            with contextlib.suppress(Exception):  # the network's trouble, of which uploading tells
                self._lost = not self._lease.renew()

    def _push(self) -> None:
        if (self._mirror.folder / "config.toml").is_file():  # else no study has begun
            self._mirror.push()
