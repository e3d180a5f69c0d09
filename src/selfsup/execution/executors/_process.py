"""A worker process as its parent sees it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selfsup.execution.executors._submission import read_event
from selfsup.record.folder import StudyFolder

#: Seconds that a worker gets to save its checkpoint when it is told to stop.
GRACE_SECONDS = 60.0
#: Where libraries read how many threads they are to use.
THREADS_OF = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


class WorkerProcess:
    """Starts ``selfsup.execution.executors._worker`` and talks with it.

    It takes seconds to import what it needs, and does so before it is told which study it is for.

    Parameters
    ----------
    own_session : bool
        Keep it out of the reach of signals that are meant for its parent.
    """

    def __init__(self, *, own_session: bool = False) -> None:
        self.error: str | None = None
        self.leaving = False  # whether its end, and nothing else, is waited for
        self._ready = False
        # What it prints before its first job, which has a log; gone with this object.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "selfsup.execution.executors._worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output,
            env=os.environ | dict.fromkeys(THREADS_OF, "1"),  # until it knows better
            start_new_session=own_session,
        )

    def open_study(
        self, folder: StudyFolder, device: str, precision: str, threads: int, store: Path | None = None
    ) -> None:
        """Tell it which study its jobs are of, once; then it says that it is ready.

        Parameters
        ----------
        folder : StudyFolder
        device, precision : str
            As in :class:`selfsup.training.device.Hardware`.
        threads : int
        store : Path, optional
            The decoded images, if not where the study was begun.
        """
        place = {"study": str(folder.path), "store": str(store) if store else None}
        self.send({**place, "device": device, "precision": precision, "threads": threads})

    def wait_until_ready(self) -> bool:
        """Wait until it can take a job; False if it ended instead."""
        if not self._ready:
            self._ready = any(message["event"] == "ready" for message in self.messages())
        return self._ready

    def messages(self) -> Iterator[dict[str, Any]]:
        """What it says, until it has ended."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = read_event(line)  # or what an import, or the site's Python, has printed
            if message is None:
                continue
            if message["event"] == "error":  # it is about to end
                self.error = message["message"]
            else:
                yield message
        self.leaving = True
        self.process.wait()

    def send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            pass  # it died; its exit is on the way

    def stop(self) -> None:
        """Ask it to save its job's checkpoint and go."""
        self.send({"stop": True})

    def kill(self) -> None:
        """End it, whatever it does."""
        self.leaving = True
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def why_it_died(self) -> str:
        """The reason, in words."""
        code = self.process.returncode
        if self.error:
            return self.error
        if code == -signal.SIGKILL:
            return "its process was killed (SIGKILL), most often for want of memory"
        if code < 0:
            return f"its process died of {signal.Signals(-code).name}"
        return f"its process ended with exit code {code}"

    def could_not_start(self) -> str:
        """A sentence for a worker that ended before its first job."""
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").strip().splitlines()
        last = f": {lines[-1]}" if lines else ""
        return f"A worker process could not start ({self.why_it_died()}){last}"
