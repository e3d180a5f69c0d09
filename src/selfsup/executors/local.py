"""Local: cells in worker processes of this machine; a crash costs a cell, not the study."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

from selfsup.device import Hardware, count_devices
from selfsup.errors import UserError
from selfsup.executors import _protocol
from selfsup.executors._stop import StopFlag
from selfsup.executors.base import EpochDone, JobDone, JobRetried, JobStarted, Listener, Resources
from selfsup.grid import Job
from selfsup.record import CellResult, StudyFolder

#: How often a job is begun before it counts as failed.
ATTEMPTS = 2
#: Seconds that workers get to save their checkpoints when the study is stopped.
GRACE_SECONDS = 60.0


class LocalExecutor:
    """Runs jobs in worker processes that are started once and kept."""

    def run(self, folder: StudyFolder, jobs: Sequence[Job], resources: Resources, listener: Listener) -> None:
        _Pool(folder, jobs, resources, listener).run()


executor = LocalExecutor()


class _Worker:
    """One worker process and the job it has in hand."""

    def __init__(
        self, number: int, folder: StudyFolder, hardware: Hardware, threads: int, inbox: queue.Queue[Any]
    ) -> None:
        self.number = number
        self.job: Job | None = None
        self.error: str | None = None
        command = [sys.executable, "-m", "selfsup.executors._worker", str(folder.path)]
        command += [hardware.device, hardware.precision, str(threads)]
        environment = os.environ | dict.fromkeys(
            ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), str(threads)
        )
        self._log = folder.running / f"worker-{number}.log"
        with open(self._log, "wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment
            )
        threading.Thread(target=self._listen, args=(inbox,), daemon=True).start()

    def _listen(self, inbox: queue.Queue[Any]) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            inbox.put((self, _protocol.decode(line)))
        self.process.wait()
        inbox.put((self, {"event": "exit"}))

    def send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(_protocol.encode(message))
            self.process.stdin.flush()
        except OSError:
            pass  # it died; its exit is on the way

    def why_it_died(self) -> str:
        """The reason, in words."""
        code = self.process.returncode
        if self.error:
            return self.error
        if code == -signal.SIGKILL:
            return "its process was killed (SIGKILL), most often for want of memory"
        if code is not None and code < 0:
            return f"its process died of {signal.Signals(-code).name}"
        return f"its process ended with exit code {code}"

    def output(self) -> bytes:
        """What it printed before its first job."""
        return self._log.read_bytes() if self._log.exists() else b""


class _Pool:
    """The loop that hands out jobs and hears of them."""

    def __init__(self, folder: StudyFolder, jobs: Sequence[Job], resources: Resources, listener: Listener) -> None:
        self.folder, self.resources, self.listener = folder, resources, listener
        self.pending = deque(jobs)
        self.attempts: Counter[str] = Counter()
        self.inbox: queue.Queue[tuple[_Worker, dict[str, Any]]] = queue.Queue()
        self.workers: dict[int, _Worker] = {}
        self.refusal: str | None = None
        self.devices = count_devices(resources.hardware.kind)

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
        hardware = self.resources.hardware
        if hardware.device == "cuda" and self.devices > 1:
            hardware = Hardware(f"cuda:{number % self.devices}", hardware.precision)
        self.workers[number] = _Worker(number, self.folder, hardware, self.resources.threads, self.inbox)

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
        worker.send({"job": _protocol.job_to_dict(worker.job)})

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

    def _on_error(self, worker: _Worker, message: dict[str, Any]) -> None:
        worker.error = message["message"]

    def _on_refused(self, worker: _Worker, message: dict[str, Any]) -> None:
        self.refusal = message["message"]

    def _on_exit(self, worker: _Worker, message: dict[str, Any]) -> None:
        del self.workers[worker.number]
        if self.refusal is not None:
            return
        if worker.job is None:
            if worker.process.returncode != 0:
                self.refusal = _could_not_start(worker)
            return
        job, reason = worker.job, worker.why_it_died()
        if self.attempts[job.id] < ATTEMPTS:
            self.listener(JobRetried(job, worker.number, reason))
            self.pending.appendleft(job)
        else:
            self._record_failure(job, worker.number, reason)
        if self.pending:
            self._start(worker.number)

    def _record_failure(self, job: Job, number: int, reason: str) -> None:
        log_path = self.folder.log(job.id)
        log = log_path.read_bytes() if log_path.exists() else b""
        finished = self.folder.finished()
        for cell in job.cells:
            if cell.id not in finished:
                self.folder.write_cell(CellResult.of(cell, "failed", message=reason), {"log.txt": log})
        self.folder.clear_job(job.id)
        self.listener(JobDone(job, number, {cell.id: "failed" for cell in job.cells if cell.id not in finished}))

    def _shut_down(self) -> None:
        """Ask every worker to save and go; after the grace, or a second Ctrl-C, end them."""
        for worker in self.workers.values():
            worker.send({"stop": True})
        deadline = time.monotonic() + GRACE_SECONDS
        try:
            for worker in self.workers.values():
                worker.process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            pass
        for worker in self.workers.values():
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()
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


def _could_not_start(worker: _Worker) -> str:
    lines = worker.output().decode(errors="replace").strip().splitlines()
    last = f": {lines[-1]}" if lines else ""
    return f"A worker process could not start ({worker.why_it_died()}){last}"
