"""A process that has imported what workers need, and forks them: each is there at once, and shares its memory.

Imports take seconds of a core, for every worker anew. This process makes them once, while the study is being prepared.
``multiprocessing`` has a fork server too, which would import the script that called us a second time in every worker.
"""

from __future__ import annotations

import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NoReturn, Self

#: Signs of a GPU whose driver does not survive a fork, should a package have asked for it while being imported.
GPU_SIGNS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
#: What jobs import when they first need it; imported beforehand, once for all workers.
NEEDED_LATER = ("timm", "lightning_fabric.plugins.environments.lightning", "sklearn.cluster")
#: Most bytes of a message.
MESSAGE_BYTES = 2**16


class ForkServer:
    """The parent's end: starts the process, and workers through it.

    A context manager; what it started is ended with it. Messages are JSON objects.
    """

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", __name__, str(theirs.fileno())]
        # One thread for all libraries until a worker says otherwise: a process with several must not fork.
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        with theirs:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # where it fails, a worker is started without it and says why
                pass_fds=[theirs.fileno()],
                env=os.environ | one_thread,
            )
        self._started: dict[int, ForkedProcess] = {}
        self._gone = False
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    @staticmethod
    def fits() -> bool:
        """Whether workers of this machine can be forked."""
        return sys.platform == "linux" and not any(Path(sign).exists() for sign in GPU_SIGNS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._socket.close()

    def start(
        self, arguments: Iterable[str], environment: Mapping[str, str], errors: IO[bytes]
    ) -> ForkedProcess | None:
        """A worker with `arguments` and these variables besides its own; None if it cannot be forked.

        What it writes to standard error goes to the file `errors`.
        """
        (stdin, to_worker), (from_worker, stdout) = os.pipe(), os.pipe()
        process = ForkedProcess(os.fdopen(to_worker, "wb"), os.fdopen(from_worker, "rb"))
        message = {"start": id(process), "arguments": list(arguments), "environment": dict(environment)}
        try:
            with self._lock:
                if self._gone:
                    return None
                self._started[id(process)] = process
            socket.send_fds(self._socket, [json.dumps(message).encode()], [stdin, stdout, errors.fileno()])
        except OSError:
            return None
        finally:
            os.close(stdin)
            os.close(stdout)
        return process

    def _listen(self) -> None:
        """Hear which workers have started and ended, until the server has."""
        with suppress(OSError):
            while packet := self._socket.recv(MESSAGE_BYTES):
                message = json.loads(packet)
                process = self._started[message["worker"]]
                if "pid" in message:
                    process.has_started(message["pid"])
                else:
                    del self._started[message["worker"]]
                    process.has_ended(message["code"])
        with self._lock:
            self._gone = True
        for process in self._started.values():
            threading.Thread(target=process.watch, daemon=True).start()


class ForkedProcess:
    """A forked worker, with what is used of :class:`subprocess.Popen`.

    Attributes
    ----------
    stdin, stdout : file
        Its pipes.
    returncode : int or None
        As of ``Popen``; None also where the server that would know is gone.
    """

    def __init__(self, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self.stdin, self.stdout = stdin, stdout
        self.returncode: int | None = None
        self._pid: int | None = None
        self._begun, self._ended = threading.Event(), threading.Event()

    def poll(self) -> int | None:
        """Its return code, None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for its end.

        Raises
        ------
        subprocess.TimeoutExpired
            If it has not ended within `timeout` seconds.
        """
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired("selfsup.execution.executors._worker", timeout or 0.0)
        return self.returncode

    def kill(self) -> None:
        """End it, whatever it does."""
        self._begun.wait()
        if self._pid is not None and not self._ended.is_set():
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def watch(self) -> None:
        """Wait for its end without the server, who alone could tell the return code."""
        if self._pid is not None:
            with suppress(ProcessLookupError):
                handle = os.pidfd_open(self._pid)
                select.select([handle], [], [])
                os.close(handle)
        self.has_ended(None)

    def has_started(self, pid: int) -> None:
        """Told by the server."""
        self._pid = pid
        self._begun.set()

    def has_ended(self, code: int | None) -> None:
        """Told by the server."""
        self.returncode = code
        self._begun.set()
        self._ended.set()


# -- the process itself -------------------------------------------------------------------------


class _Server:
    """Forks a worker for every message, and tells of its end."""

    def __init__(self, parent: socket.socket) -> None:
        self.parent = parent
        self.deaths, self.wakeup = socket.socketpair()
        self.selector = selectors.DefaultSelector()
        self.workers: dict[int, int] = {}

    def serve(self) -> None:
        """Go on until the parent is gone."""
        for end in (self.deaths, self.wakeup):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self.wakeup.fileno())
        for end in (self.parent, self.deaths):
            self.selector.register(end, selectors.EVENT_READ)
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is self.deaths:
                    self.deaths.recv(MESSAGE_BYTES)
                    self._tell_of_the_dead()
                elif not self._take_message():
                    return

    def _take_message(self) -> bool:
        packet, handles, _, _ = socket.recv_fds(self.parent, MESSAGE_BYTES, 3)
        if not packet:
            return False
        message = json.loads(packet)
        pid = os.fork()
        if pid == 0:
            self._let_go()
            _become_worker(message["arguments"], message["environment"], handles)
        for handle in handles:  # or the worker's end would not be seen at the other end of its pipes
            os.close(handle)
        self.workers[pid] = message["start"]
        self._tell(worker=message["start"], pid=pid)
        return True

    def _let_go(self) -> None:
        """Close, in a worker, what is the server's."""
        signal.set_wakeup_fd(-1)
        for end in (self.parent, self.deaths, self.wakeup, self.selector):
            end.close()

    def _tell_of_the_dead(self) -> None:
        while self.workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            self._tell(worker=self.workers.pop(pid), code=os.waitstatus_to_exitcode(status))

    def _tell(self, **message: Any) -> None:
        with suppress(OSError):  # the parent is gone, which the next message will show
            self.parent.send(json.dumps(message).encode())


def _become_worker(arguments: list[str], environment: dict[str, str], handles: list[int]) -> NoReturn:
    """Be what ``python -m selfsup.execution.executors._worker`` would be."""
    try:
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        for standard, handle in enumerate(handles):
            os.dup2(handle, standard)
            os.close(handle)
        os.environ.update(environment)

        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        from selfsup.execution.executors import _worker

        threadpool_limits(int(environment["OMP_NUM_THREADS"]))  # what they read when they were loaded is the server's
        _worker.serve(arguments)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(1)


def main(handle: str) -> None:
    """Import, and serve until the parent is gone."""
    # To stop, and to let workers stop, is the parent's.
    for name in ("SIGINT", "SIGTERM", "SIGUSR2"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    import importlib

    for module in ("selfsup.execution.executors._worker", *NEEDED_LATER):
        importlib.import_module(module)
    with socket.socket(fileno=int(handle)) as parent:
        _Server(parent).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
