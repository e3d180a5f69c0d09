"""Follows a running study and logs every cell that has ended, each tracker in a thread of its own.

A tracker reads what is recorded and has no part in the recording, so that it can be slow, or fail, without a
result being late or lost. What it has missed is logged by the next run of the study.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping

from selfsup import registry
from selfsup.errors import UserError
from selfsup.record.folder import StudyFolder
from selfsup.report.trackers._ledger import Ledger
from selfsup.report.trackers.base import Tracker, read_cell

#: Seconds that trackers get at the end before the user is told what is waited for.
PATIENCE = 5.0
#: Failures in a row after which a round ends: one may be the fault of a cell, a second is likely the tracker's.
FAILURES = 2

Say = Callable[[str], None]


def load_trackers(names: Iterable[str]) -> dict[str, Tracker]:
    """The trackers by name, with all that they need imported.

    Raises
    ------
    UserError
        If a package is missing; says which extra brings it.
    """
    return {name: _load(name) for name in names}


def _load(name: str) -> Tracker:
    tracker: Tracker = registry.load(registry.TRACKER, name)
    for package in tracker.packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise UserError(
                f"--track {name} needs a package that is not installed ({error}); "
                f"install it with: pip install 'selfsup[track]'"
            ) from None
    return tracker


@contextlib.contextmanager
def following(
    folder: StudyFolder, trackers: Mapping[str, Tracker], say: Say, *, weights: bool = False
) -> Iterator[Callable[[], None]]:
    """Log the study's finished cells, those of earlier runs included, while the body runs.

    Parameters
    ----------
    folder : StudyFolder
        The study; locked by the caller.
    trackers : mapping of str to Tracker
        As :func:`load_trackers` gives them.
    say : callable
        Takes a sentence for people; called in the caller's thread only.
    weights : bool
        Log the weights of a cell too, if it has them.

    Yields
    ------
    callable
        To be called when a cell has ended.

    Notes
    -----
    At the end of the body all that can be logged has been; an exception in the body does not wait for it.
    """
    followers = [_Follower(folder, name, tracker, weights) for name, tracker in trackers.items()]

    def notice() -> None:
        for follower in followers:
            follower.notice(say)

    for follower in followers:
        follower.start()
    notice()
    try:
        yield notice
    except BaseException:
        for follower in followers:
            follower.abandon()
        raise
    for follower in followers:
        follower.finish(say)


class _Follower(threading.Thread):
    """One tracker and how far it has come."""

    def __init__(self, folder: StudyFolder, tracker_name: str, tracker: Tracker, weights: bool) -> None:
        super().__init__(name=f"track-{tracker_name}", daemon=True)  # a hanging server does not hold the process
        self._folder, self._tracker_name, self._tracker, self._weights = folder, tracker_name, tracker, weights
        self._home = folder.path.resolve() / "tracking" / tracker_name
        self._news = threading.Event()
        self._last_round = self._abandoned = self._told = False
        self._trouble: Exception | None = None
        self._logged = 0

    def run(self) -> None:
        last = False
        while not last:
            self._news.wait()
            self._news.clear()
            last = self._last_round
            try:
                self._catch_up()
            except Exception as error:  # whatever it is, it is the tracker's trouble, and costs no result
                self._trouble = error

    def _catch_up(self) -> None:
        ledger = Ledger(self._home, self._tracker.store(self._home))
        failures = 0
        # Cells that failed before come last: they keep no other from the tracker.
        for cell_id in sorted(self._folder.finished() - ledger.cells, key=lambda cell: (cell in ledger.failed, cell)):
            if self._abandoned or failures == FAILURES:
                return
            try:
                self._log(cell_id, ledger)
                failures = 0
            except Exception as error:
                self._trouble = error
                failures += 1
                ledger.enter_failed(cell_id)

    def _log(self, cell_id: str, ledger: Ledger) -> None:
        cell = read_cell(self._folder, cell_id, key=ledger.key_of(cell_id), weights=self._weights)
        self._tracker.log(cell, self._home)
        ledger.enter(cell_id)
        self._logged += 1

    # -- called by the thread that runs the study -----------------------------------------------

    def notice(self, say: Say) -> None:
        """Have the cells logged that are not yet."""
        self._news.set()
        self._tell_once(say)

    def finish(self, say: Say) -> None:
        """Wait until everything is logged or refused, and say how it ended."""
        self._last_round = True
        self._news.set()
        self.join(PATIENCE)
        if self.is_alive():
            say(f"All cells are recorded; waiting for {self._tracker_name} (Ctrl-C leaves the rest for the next run).")
            self.join()
        self._tell_once(say)
        if self._logged:
            cells = f"{self._logged} cell{'s' * (self._logged > 1)}"
            say(f"{self._tracker_name}: {cells} logged; {self._tracker.hint(self._home)}")

    def abandon(self) -> None:
        """Log no further cell; the next run does."""
        self._abandoned = self._last_round = True
        self._news.set()
        self.join(PATIENCE)

    def _tell_once(self, say: Say) -> None:
        if self._trouble is not None and not self._told:
            self._told = True
            say(
                f"{self._tracker_name} could not log a cell ({_in_a_line(self._trouble)}); the study goes on, and the "
                f"same command logs what is missing."
            )


def _in_a_line(error: Exception) -> str:
    """An error of someone else's library, short enough for a sentence."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}".rstrip(".: ")
