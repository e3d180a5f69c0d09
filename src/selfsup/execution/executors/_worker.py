"""The worker process: imports, is told which study it is for, then runs one job after another.

Reads lines of JSON on standard input, the study first and then jobs, and writes events as lines on what
was its standard output; everything that anything prints goes to the running job's log. If the parent dies, standard
input ends and the worker goes at once: what it had not published is done again from its checkpoint.
"""

from __future__ import annotations

import gc
import json
import os
import queue
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, BinaryIO

from selfsup.execution.garbage import uncollected

with uncollected():  # what a first step needs; they take seconds
    import lightning_fabric  # noqa: F401
    import timm  # noqa: F401
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from selfsup.config.grid import Job
    from selfsup.errors import Interrupted, UserError
    from selfsup.execution.executors._process import THREADS_OF
    from selfsup.execution.executors._submission import event_line
    from selfsup.execution.jobs.context import StudyContext
    from selfsup.execution.jobs.job import run_job
    from selfsup.record.folder import StudyFolder
    from selfsup.training.device import Hardware, keep_freed_memory, make_deterministic
    from selfsup.training.state import EpochLog


class _Parent:
    """The other end of the pipes."""

    def __init__(self) -> None:
        # Nothing but events may reach the parent, so the pipe moves out of the way of print().
        self._events: BinaryIO = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        self.orders: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin.buffer:
            message = json.loads(line)
            if "stop" in message:
                self.stop()
            else:
                self.orders.put(message)
        os._exit(1)  # the parent is gone

    def stop(self, *_: object) -> None:
        """Save the running job and go; also what SIGTERM, sent to all processes at once, asks for."""
        self._stop.set()
        self.orders.put(None)

    def should_stop(self) -> bool:
        return self._stop.is_set()

    def send(self, event: str, **values: Any) -> None:
        self._events.write(event_line(event, **values))
        self._events.flush()


def main() -> int:
    """Serve until told to stop. Returns the exit code."""
    # A terminal's Ctrl-C, and what Slurm sends to every process of a job, is the parent's to handle.
    for number in (signal.SIGINT, getattr(signal, "SIGUSR2", signal.SIGINT)):
        signal.signal(number, signal.SIG_IGN)
    parent = _Parent()
    signal.signal(signal.SIGTERM, parent.stop)
    keep_freed_memory()
    gc.freeze()  # what was imported is no garbage
    order = parent.orders.get()
    if order is None:
        return 0
    study = _open(**order)
    parent.send("ready")
    while (order := parent.orders.get()) is not None:
        code = _serve(parent, study, Job.from_dict(order["job"]))
        if code is not None:
            return code
    return 0


def _open(study: str, device: str, precision: str, threads: int, store: str | None) -> StudyContext:
    """The study, with as many threads for every library as its jobs are to use."""
    os.environ.update(dict.fromkeys(THREADS_OF, str(threads)))  # for those that are loaded later
    threadpool_limits(threads)
    make_deterministic(threads)
    return StudyContext(StudyFolder(Path(study)), Hardware(device, precision), Path(store) if store else None)


def _serve(parent: _Parent, opened: StudyContext, job: Job) -> int | None:
    """Run one job; an exit code where the worker cannot go on."""

    def on_epoch(log: EpochLog, epochs: int) -> None:
        parent.send("epoch", epoch=log.epoch, epochs=epochs, loss=log.loss, rate=log.images_per_second)

    def on_warning(message: str) -> None:
        parent.send("warned", message=message)

    log_to(opened.folder.log(job.id))
    try:
        results = run_job(opened, job, on_epoch=on_epoch, on_warning=on_warning, should_stop=parent.should_stop)
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


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # Python's own end would abort: a thread still waits for standard input
