"""A process that trains its share of every batch beside the process that started it; writes nothing but the log.

Reads jobs as lines on standard input. When that ends, its starter is gone or done, and so is it.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path

from selfsup.config.grid import Job
from selfsup.errors import Interrupted
from selfsup.execution.executors._worker import log_to
from selfsup.execution.jobs.context import StudyContext
from selfsup.execution.jobs.job import follow_job
from selfsup.record.folder import StudyFolder
from selfsup.training.device import Hardware, keep_freed_memory, make_deterministic
from selfsup.training.processes import joined_fabric


def main(
    study: str, device: str, precision: str, threads: str, rank: str, count: str, port: str, store: str | None = None
) -> None:
    """Take part in one training after another, as long as the starter lives."""
    # To stop is decided by the first process, for all at the same step.
    for name in ("SIGINT", "SIGTERM", "SIGUSR2"):
        signal.signal(getattr(signal, name, signal.SIGINT), signal.SIG_IGN)
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
    keep_freed_memory()
    make_deterministic(int(threads))
    hardware = Hardware(device, precision)
    opened = StudyContext(StudyFolder(Path(study)), hardware, Path(store) if store else None)
    fabric = None
    while True:
        job = jobs.get()
        log_to(opened.folder.log(job.id))
        fabric = fabric or joined_fabric(hardware, int(rank), int(count), int(port))
        with suppress(Interrupted):  # the first process saved the checkpoint
            follow_job(opened, job, fabric)


def _listen(jobs: queue.SimpleQueue[Job]) -> None:
    for line in sys.stdin.buffer:
        jobs.put(Job.from_dict(json.loads(line)))
    os._exit(0)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # at once: the others wait, and notice by the broken connection
