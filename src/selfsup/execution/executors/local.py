"""Local: cells in worker processes of this machine; a crash costs a cell, not the study."""

from __future__ import annotations

import queue
import subprocess
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from selfsup.errors import UserError
from selfsup.execution.executors._forkserver import ForkServer
from selfsup.execution.executors._outcome import ATTEMPTS, record_failure
from selfsup.execution.executors._process import GRACE_SECONDS, WorkerProcess
from selfsup.execution.executors._stop import StopFlag
from selfsup.execution.executors.base import (
    EpochDone,
    JobDone,
    JobRetried,
    JobStarted,
    Listener,
    OnThisMachine,
    Resources,
)

if TYPE_CHECKING:
    from selfsup.config.grid import Job
    from selfsup.record.folder import StudyFolder


class LocalExecutor(OnThisMachine):
    """Runs jobs in worker processes that are started once and kept."""

    _fork_server: ForkServer | None = None

    @contextmanager
    def standing_by(self) -> Iterator[None]:
        """Meanwhile imports are made, and workers forked that have them."""
        if not ForkServer.fits():
            yield
            return
        with ForkServer() as self._fork_server:
            yield
        self._fork_server = None

    def run(self, folder: StudyFolder, jobs: Sequence[Job], resources: Resources, listener: Listener) -> None:
        _Pool(folder, jobs, resources, listener, self._fork_server).run()


executor = LocalExecutor


class _Worker(WorkerProcess):
    """One worker process and the job it has in hand."""

    def __init__(
        self,
        number: int,
        folder: StudyFolder,
        device: str,
        resources: Resources,
        fork_server: ForkServer | None,
        inbox: queue.Queue[Any],
    ) -> None:
        super().__init__(folder, device, resources.hardware.precision, resources.threads, fork_server=fork_server)
        self.number = number
        self.job: Job | None = None
        threading.Thread(target=self._listen, args=(inbox,), daemon=True).start()

    def _listen(self, inbox: queue.Queue[Any]) -> None:
        for message in self.messages():
            inbox.put((self, message))
        inbox.put((self, {"event": "exit"}))


class _Pool:
    """The loop that hands out jobs and hears of them."""

    def __init__(
        self,
        folder: StudyFolder,
        jobs: Sequence[Job],
        resources: Resources,
        listener: Listener,
        fork_server: ForkServer | None,
    ) -> None:
        self.folder, self.resources, self.listener, self.fork_server = folder, resources, listener, fork_server
        self.pending = deque(jobs)
        self.attempts: Counter[str] = Counter()
        self.inbox: queue.Queue[tuple[_Worker, dict[str, Any]]] = queue.Queue()
        self.workers: dict[int, _Worker] = {}
        self.refusal: str | None = None

    def run(self) -> None:
        with StopFlag() as stop:
            try:
                for number in range(min(self.resources.workers, len(self.pending))):
                    self._start(number)
                while (self.pending or self._busy()) and not stop() and self.refusal is None:
                    self._handle_one()
            finally:
                self._shut_down()
            if self.refusal is not None:
                raise UserError(self.refusal)
            stop.raise_if_set()

    def _busy(self) -> bool:
        return any(worker.job is not None for worker in self.workers.values())

    def _start(self, number: int) -> None:
        from selfsup.training.device import count_devices

        device = self.resources.hardware.device
        each = self.folder.read_running_config().devices
        if device == "cuda" and (devices := count_devices("cuda")) > 1:
            device = f"cuda:{number * each % (devices - devices % each)}"
        self.workers[number] = _Worker(number, self.folder, device, self.resources, self.fork_server, self.inbox)

    def _handle_one(self) -> None:
        try:
            worker, message = self.inbox.get(timeout=0.2)
        except queue.Empty:
            return
        handler = getattr(self, f"_on_{message['event']}")
        handler(worker, message)

    def _give_job(self, worker: _Worker) -> None:
        if not self.pending:
            return
        worker.job = self.pending.popleft()
        self.attempts[worker.job.id] += 1
        self.listener(JobStarted(worker.job, worker.number))
        worker.send({"job": worker.job.to_dict()})

    def _on_ready(self, worker: _Worker, message: dict[str, Any]) -> None:
        self._give_job(worker)

    def _on_epoch(self, worker: _Worker, message: dict[str, Any]) -> None:
        assert worker.job is not None
        loss = float("nan") if message["loss"] is None else message["loss"]
        self.listener(EpochDone(worker.job, worker.number, message["epoch"], message["epochs"], loss, message["rate"]))

    def _on_done(self, worker: _Worker, message: dict[str, Any]) -> None:
        assert worker.job is not None
        job, worker.job = worker.job, None
        self.listener(JobDone(job, worker.number, message["statuses"]))
        self._give_job(worker)

    def _on_refused(self, worker: _Worker, message: dict[str, Any]) -> None:
        self.refusal = message["message"]

    def _on_exit(self, worker: _Worker, message: dict[str, Any]) -> None:
        del self.workers[worker.number]
        if self.refusal is not None:
            return
        if worker.job is None:
            if worker.process.returncode is None and self.pending:  # the fork server is gone; without it, then
                self._start(worker.number)
            elif worker.process.returncode != 0:
                self.refusal = worker.could_not_start()
            return
        job, reason = worker.job, worker.why_it_died()
        if self.attempts[job.id] < ATTEMPTS:
            self.listener(JobRetried(job, worker.number, reason))
            self.pending.appendleft(job)
        else:
            self.listener(JobDone(job, worker.number, record_failure(self.folder, job, reason)))
        if self.pending:
            self._start(worker.number)

    def _shut_down(self) -> None:
        """Ask every worker to save and go; after the grace, or a second Ctrl-C, end them."""
        for worker in self.workers.values():
            worker.stop()
        deadline = time.monotonic() + GRACE_SECONDS
        try:
            for worker in self.workers.values():
                worker.process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            pass
        for worker in self.workers.values():
            worker.kill()
        self._drain()

    def _drain(self) -> None:
        """Hear what was still said: jobs that were done while the study was being stopped."""
        while True:
            try:
                worker, message = self.inbox.get_nowait()
            except queue.Empty:
                return
            if message["event"] == "done" and worker.job is not None:
                self.listener(JobDone(worker.job, worker.number, message["statuses"]))
                worker.job = None
