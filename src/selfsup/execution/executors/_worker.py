"""The worker process: imports once, then runs one job after another.

Reads jobs as lines on standard input and writes events as lines on what was its standard output;
everything that anything prints goes to the running job's log. If the parent dies, standard input
ends and the worker goes at once: what it had not published is done again from its checkpoint.
"""

from __future__ import annotations

import json
import math
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from selfsup.config.grid import Job
from selfsup.errors import Interrupted, UserError
from selfsup.execution.context import StudyContext
from selfsup.execution.job import run_job
from selfsup.record.folder import StudyFolder
from selfsup.training.device import Hardware, keep_freed_memory, make_deterministic
from selfsup.training.state import EpochLog


class _Parent:
    """The other end of the pipes."""

    def __init__(self) -> None:
        # Nothing but events may reach the parent, so the pipe moves out of the way of print().
        self._events: BinaryIO = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        self.jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin.buffer:
            message = json.loads(line)
            if "job" in message:
                self.jobs.put(Job.from_dict(message["job"]))
            else:
                self.stop()
        os._exit(1)  # the parent is gone

    def stop(self, *_: object) -> None:
        """Save the running job and go; also what SIGTERM, sent to all processes at once, asks for."""
        self._stop.set()
        self.jobs.put(None)

    def should_stop(self) -> bool:
        return self._stop.is_set()

    def send(self, event: str, **values: Any) -> None:
        self._events.write(json.dumps({"event": event, **values}).encode() + b"\n")
        self._events.flush()


def main(study: str, device: str, precision: str, threads: str, store: str | None = None) -> int:
    """Serve until told to stop. Returns the exit code."""
    # A terminal's Ctrl-C, and what Slurm sends to every process of a job, is the parent's to handle.
    for number in (signal.SIGINT, getattr(signal, "SIGUSR2", signal.SIGINT)):
        signal.signal(number, signal.SIG_IGN)
    parent = _Parent()
    signal.signal(signal.SIGTERM, parent.stop)
    keep_freed_memory()
    make_deterministic(int(threads))
    opened = StudyContext(StudyFolder(Path(study)), Hardware(device, precision), Path(store) if store else None)
    parent.send("ready")
    while (job := parent.jobs.get()) is not None:
        code = _serve(parent, opened, job)
        if code is not None:
            return code
    return 0


def _serve(parent: _Parent, opened: StudyContext, job: Job) -> int | None:
    """Run one job; an exit code where the worker cannot go on."""

    def on_epoch(log: EpochLog, epochs: int) -> None:
        loss = log.loss if math.isfinite(log.loss) else None
        parent.send("epoch", epoch=log.epoch, epochs=epochs, loss=loss, rate=log.images_per_second)

    log_to(opened.folder.log(job.id))
    try:
        results = run_job(opened, job, on_epoch=on_epoch, should_stop=parent.should_stop)
    except Interrupted:
        return 0
    except UserError as error:
        parent.send("refused", message=str(error))
        return 2
    except BaseException as error:
        traceback.print_exc()
        parent.send("error", message=f"{type(error).__name__}: {error}"[:500])
        return 1
    parent.send("done", statuses={r.cell: r.status for r in results})
    return None


def log_to(path: Path) -> None:
    """Send all further output of this process to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)


def serve(arguments: Sequence[str]) -> NoReturn:
    """Be a worker, to the end of this process."""
    code = main(*arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # Python's own end would abort: a thread still waits for standard input


if __name__ == "__main__":
    serve(sys.argv[1:])
