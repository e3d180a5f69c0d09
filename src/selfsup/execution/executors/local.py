"""Local: cells in worker processes of this machine; a crash costs a cell, not the study."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from selfsup.errors import UserError
from selfsup.execution.executors._outcome import ATTEMPTS, record_failure
from selfsup.execution.executors._process import GRACE_SECONDS, WorkerProcess
from selfsup.execution.executors._stop import StopFlag
from selfsup.execution.executors.base import (
    EpochDone,
    Executor,
    JobDone,
    JobRetried,
    JobStarted,
    JobWarned,
    Listener,
    Resources,
)

if TYPE_CHECKING:
    from selfsup.config.grid import Job
    from selfsup.record.folder import StudyFolder


class LocalExecutor(Executor):
    """Runs jobs in worker processes that are started once and kept."""

    @contextmanager
    def standing_by(self) -> Iterator[None]:
        """A worker makes its imports while the study is prepared; all stay until it has run."""
        with closing(_Pool()) as self._pool:
            yield

    def run(self, folder: StudyFolder, jobs: Sequence[Job], resources: Resources, listener: Listener) -> None:
        self._pool.run(folder, jobs, resources, listener)


executor = LocalExecutor


class _Worker:
    """One worker process of a study and the job it has in hand."""

    def __init__(self, number: int, process: WorkerProcess, inbox: queue.Queue[Any]) -> None:
        self.number, self.process = number, process
        self.ready = False
        self.job: Job | None = None
        threading.Thread(target=self._listen, args=(inbox,), daemon=True).start()

    def _listen(self, inbox: queue.Queue[Any]) -> None:
        for message in self.process.messages():
            inbox.put((self, message))
        inbox.put((self, {"event": "exit"}))


class _Pool:
    """Workers, and the loop that hands out jobs to them and hears of them."""

    def __init__(self) -> None:
        self.early = [WorkerProcess()]
        self.inbox: queue.Queue[tuple[_Worker, dict[str, Any]]] = queue.Queue()
        self.workers: dict[int, _Worker] = {}

    def run(self, folder: StudyFolder, jobs: Sequence[Job], resources: Resources, listener: Listener) -> None:
        """Run jobs; the workers stay for the next ones."""
        self.folder, self.resources, self.listener = folder, resources, listener
        self.pending = deque(jobs)
        self.attempts: Counter[str] = Counter()
        self.lost_starts: Counter[int] = Counter()
        self.refusal: str | None = None
        with StopFlag(resources.until) as stop:
            try:
                for number in range(min(resources.workers, len(jobs))):
                    self._start(number)
                while (self.pending or self._busy()) and not stop() and self.refusal is None:
                    self._handle_one()
            finally:
                self._stop_jobs(stop)
            stop.raise_if_set()
            if self.refusal is not None:
                raise UserError(self.refusal)

    def close(self) -> None:
        """Send all workers away."""
        for process in [*self.early, *(worker.process for worker in self.workers.values())]:
            process.kill()

    def _busy(self) -> bool:
        return any(worker.job is not None for worker in self.workers.values())

    def _start(self, number: int) -> None:
        """Have a worker of this number, and give it a job as soon as it can take one."""
        from selfsup.training.device import count_devices

        if number in self.workers:
            if self.workers[number].ready:
                self._give_job(self.workers[number])
            return
        device = self.resources.hardware.device
        each = self.folder.read_running_config().devices
        if device == "cuda" and (devices := count_devices("cuda")) > 1:
            device = f"cuda:{number * each % (devices - devices % each)}"
        process = self.early.pop() if self.early else WorkerProcess()
        process.open_study(self.folder, device, self.resources.hardware.precision, self.resources.threads)
        self.workers[number] = _Worker(number, process, self.inbox)

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
        worker.process.send({"job": worker.job.to_dict()})

    def _on_ready(self, worker: _Worker, message: dict[str, Any]) -> None:
        worker.ready = True
        self.lost_starts[worker.number] = 0
        self._give_job(worker)

    def _on_epoch(self, worker: _Worker, message: dict[str, Any]) -> None:
        assert worker.job is not None
        done = (message[name] for name in ("epoch", "epochs", "loss", "rate"))
        self.listener(EpochDone(worker.job, worker.number, *done))

    def _on_warned(self, worker: _Worker, message: dict[str, Any]) -> None:
        assert worker.job is not None
        self.listener(JobWarned(worker.job, worker.number, message["message"]))

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
        self.lost_starts[worker.number] += not worker.ready and worker.process.process.returncode != 0
        if worker.job is not None:
            self._on_death(worker, worker.job, worker.process.why_it_died())
        elif self.lost_starts[worker.number] == ATTEMPTS:
            self.refusal = worker.process.could_not_start()
        elif self.pending:
            self._start(worker.number)

    def _on_death(self, worker: _Worker, job: Job, reason: str) -> None:
        if self.attempts[job.id] < ATTEMPTS:
            self.listener(JobRetried(job, worker.number, reason))
            self.pending.appendleft(job)
        else:
            self.listener(JobDone(job, worker.number, record_failure(self.folder, job, reason)))
        if self.pending:
            self._start(worker.number)

    def _stop_jobs(self, stop: StopFlag) -> None:
        """Ask workers that are not done to save and go; after the grace, or a second Ctrl-C, end them."""
        busy = [worker.process for worker in self.workers.values() if worker.job is not None]
        for worker in busy:
            worker.stop()
        deadline = time.monotonic() + GRACE_SECONDS
        while any(worker.process.poll() is None for worker in busy):
            if stop.at_once or time.monotonic() >= deadline:
                break
            time.sleep(0.02)
        for worker in busy:
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
