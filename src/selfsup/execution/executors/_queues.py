"""Asks the systems that submitit hands jobs to which of them are left, and interrupts or ends them."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path

import psutil

from selfsup.errors import UserError

#: Most jobs that one command of Slurm's is asked about.
JOBS_PER_COMMAND = 200


class SlurmQueue:
    """Slurm's jobs, through its own commands: ``squeue`` needs no accounting data base, as ``sacct`` does."""

    def left(self, ids: Collection[str]) -> set[str]:
        """Those that wait or run.

        Raises
        ------
        UserError
            If Slurm's controller does not answer.
        """
        if not ids:
            return set()
        if shutil.which("squeue") is None:
            raise UserError(
                "The study has jobs in Slurm, whose command squeue is not on this machine; run selfsup where jobs are "
                "submitted or, if they are long gone, remove the study's folder running/submitted."
            )
        answer = subprocess.run(
            ["squeue", "--me", "--noheader", "--array", "--format=%i"], capture_output=True, text=True, check=False
        )
        if answer.returncode:
            raise UserError(f"Slurm does not answer ({answer.stderr.strip()}); its jobs go on, so try again later.")
        return set(ids) & set(answer.stdout.split())

    def interrupt(self, ids: Collection[str]) -> None:
        """Drop those that wait, send SIGINT to those that run."""
        _scancel(ids, "--state=PENDING")
        _scancel(ids, "--state=RUNNING", "--signal=INT")

    def kill(self, ids: Collection[str]) -> None:
        _scancel(ids)


def _scancel(ids: Collection[str], *options: str) -> None:
    every = sorted(ids)
    for start in range(0, len(every), JOBS_PER_COMMAND):
        command = ["scancel", "--quiet", *options, *every[start : start + JOBS_PER_COMMAND]]
        subprocess.run(command, capture_output=True, check=False)  # a job that just ended is no error


class ProcessQueue:
    """submitit's stand-in for a cluster: processes of this machine; an id is that of a controller with one task.

    Parameters
    ----------
    folder : Path
        submitit's folder, which its processes name in their command.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def left(self, ids: Collection[str]) -> set[str]:
        """Those that run; all are started at once."""
        return {number for number in ids if self._process(number) is not None}

    def interrupt(self, ids: Collection[str]) -> None:
        # Not the controller, which gives its task one second.
        for process in self._processes(ids):
            for task in process.children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    task.send_signal(signal.SIGINT)

    def kill(self, ids: Collection[str]) -> None:
        for process in self._processes(ids):
            for one in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()

    def _processes(self, ids: Collection[str]) -> Iterator[psutil.Process]:
        for number in ids:
            process = self._process(number)
            if process is not None:
                yield process

    def _process(self, number: str) -> psutil.Process | None:
        """The controller; None if it ended, also if another process has got its number."""
        try:
            process = psutil.Process(int(number))
            alive = process.status() != psutil.STATUS_ZOMBIE and self._folder in process.cmdline()
        except psutil.NoSuchProcess:
            return None
        return process if alive else None
