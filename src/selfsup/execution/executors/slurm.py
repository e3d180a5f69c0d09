"""Slurm: cells as jobs of a Slurm cluster, through submitit; they go on when this process is closed."""

from __future__ import annotations

import math
import re
import shutil
import signal
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from selfsup.errors import UserError
from selfsup.execution.executors._host import Assignment, Host
from selfsup.execution.executors._queues import ProcessQueue, SlurmQueue
from selfsup.execution.executors._remote import JobEnd, RemoteRun
from selfsup.execution.executors._submission import submissions
from selfsup.execution.executors.base import Executor, ExecutorOptions, Listener, Resolve, Resources

if TYPE_CHECKING:
    from selfsup.config.grid import Job
    from selfsup.config.schema import StudyConfig
    from selfsup.record.folder import StudyFolder

#: Jobs of one array; Slurm's default limit is 1001.
JOBS_PER_ARRAY = 1000
#: Cells at a time where --workers is auto.
MOST_AT_A_TIME = 256
#: How often a job may reach its time limit; each time it has trained on from its checkpoint.
TIME_LIMITS = 1000
#: Seconds before the time limit at which Slurm signals a job; at most a quarter of the limit.
SIGNALLED_BEFORE = 120


def _pairs(value: Any) -> Any:
    """Let ``"nice=100,exclude=n1"`` stand for a table, as on the command line."""
    if not isinstance(value, str):
        return value
    parts = [part.partition("=") for part in value.split(",")]
    if not all(name and equals for name, equals, _ in parts):
        raise ValueError("must be NAME=VALUE, several of them with commas between")
    return {name.strip().lstrip("-"): given.strip() for name, _, given in parts}


class SlurmOptions(ExecutorOptions):
    """What a user can tell Slurm."""

    partition: str | None = Field(None, description="Slurm's partition. Default: the cluster's.")
    time: str = Field(
        "4:00:00", description="Time limit of a job, as Slurm writes it; a cell that needs more goes on in a new job."
    )
    cpus: int | None = Field(
        None, ge=1, description="CPUs of one cell. Default: its threads, or else 1, times --devices."
    )
    gpus: int | None = Field(None, ge=0, description="GPUs of one cell. Default: --devices with --device cuda, else 0.")
    memory: float | None = Field(None, gt=0, description="Main memory of one cell in GB. Default: the cluster's.")
    account: str | None = Field(None, description="Account to charge.")
    qos: str | None = Field(None, description="Quality of service.")
    sbatch: Annotated[dict[str, str], BeforeValidator(_pairs)] = Field(
        {}, description="Any other options of sbatch: NAME=VALUE,NAME=VALUE."
    )
    slurm_cluster: Literal["slurm", "local"] = Field(
        "slurm", description="local: submitit's stand-in on this machine, for trying out."
    )

    @field_validator("time")
    @classmethod
    def _time(cls, value: str) -> str:
        minutes_of(value)
        return value


def minutes_of(time: str) -> int:
    """Minutes, rounded up, in a time limit as Slurm writes it: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", time, flags=re.ASCII)
    if not found:
        raise ValueError("must be minutes, H:MM:SS or D-HH:MM:SS")
    days, *parts = found.groups()
    first, second, third = (int(part or 0) for part in parts)
    if days is not None:
        hours, minutes, seconds = 24 * int(days) + first, second, third
    elif parts[2] is not None:
        hours, minutes, seconds = first, second, third
    else:
        hours, minutes, seconds = 0, first, second
    total = 60 * hours + minutes + math.ceil(seconds / 60)
    if total < 1:
        raise ValueError("must be at least a minute")
    return total


class SlurmExecutor(Executor):
    """Runs jobs as Slurm's."""

    Options = SlurmOptions
    here = False

    @contextmanager
    def standing_by(self) -> Iterator[None]:
        """Refuse, before images are decoded, where submitit or Slurm is not installed."""
        if find_spec("submitit") is None:
            raise UserError("--executor slurm needs submitit; pip install 'selfsup[slurm]'.")
        if self.options.slurm_cluster == "slurm" and shutil.which("sbatch") is None:
            raise UserError("Slurm's command sbatch is not on this machine; run selfsup where jobs are submitted.")
        yield

    def resources(self, config: StudyConfig, jobs: int, this_machine: Resolve) -> Resources:
        """What was asked for: this machine need not be like the nodes.

        Raises
        ------
        UserError
            If the precision of a GPU that nobody has seen is left to selfsup.
        """
        from selfsup.training.device import Hardware

        gpus = self._gpus(config)
        device = ("cuda" if gpus else "cpu") if config.device == "auto" else config.device
        if config.precision == "auto" and device != "cpu":
            raise UserError(
                "--precision auto cannot be decided here, for the GPUs are in the nodes; give --precision bf16 (Ampere "
                "and later), fp16 or fp32."
            )
        precision = "fp32" if config.precision == "auto" else config.precision
        reason = f"Training on {device} of Slurm's nodes in {precision}."
        workers = MOST_AT_A_TIME if config.workers == "auto" else int(config.workers)
        threads = config.threads or max(1, (self.options.cpus or 1) // config.devices)
        return Resources(Hardware(device, precision, reason), min(workers, jobs), threads)

    def has_jobs(self, folder: StudyFolder) -> bool:
        """Whether Slurm has jobs of an earlier run."""
        handles = [ticket.handle for _, ticket in submissions(folder) if ticket.executor == _SlurmEngine.name]
        return len(_left(folder, handles)) > 0

    def run(self, folder: StudyFolder, jobs: Sequence[Job], resources: Resources, listener: Listener) -> None:
        engine = _SlurmEngine(folder, self._submitter(folder, resources), self.options.slurm_cluster)
        RemoteRun(engine, folder, jobs, resources, listener).run()
        if not submissions(folder):
            shutil.rmtree(_submitit_folder(folder), ignore_errors=True)

    def _gpus(self, config: StudyConfig) -> int:
        if self.options.gpus is None:
            return config.devices if config.device.startswith("cuda") else 0
        return self.options.gpus

    def _submitter(self, folder: StudyFolder, resources: Resources) -> Any:
        """submitit's executor."""
        import submitit

        options, config = self.options, folder.read_running_config()
        minutes = minutes_of(options.time)
        submitter = submitit.AutoExecutor(
            _submitit_folder(folder), cluster=options.slurm_cluster, slurm_max_num_timeout=TIME_LIMITS
        )
        submitter.update_parameters(
            name=f"selfsup-{folder.path.resolve().name}",
            timeout_min=minutes,
            cpus_per_task=options.cpus or resources.threads * config.devices,
            gpus_per_node=self._gpus(config) or None,
            mem_gb=options.memory,
            stderr_to_stdout=True,
            slurm_partition=options.partition,
            slurm_account=options.account,
            slurm_qos=options.qos,
            slurm_signal_delay_s=min(SIGNALLED_BEFORE, 15 * minutes),
            slurm_array_parallelism=resources.workers,
            slurm_additional_parameters={"requeue": True, **options.sbatch},
        )
        return submitter


executor = SlurmExecutor


class _SlurmEngine:
    """Slurm's queue, as :class:`selfsup.execution.executors._remote.Engine`."""

    name = "slurm"

    def __init__(self, folder: StudyFolder, submitter: Any, cluster: str) -> None:
        self._folder, self._submitter, self._cluster = folder, submitter, cluster
        self.ask_seconds = 10.0 if cluster == "slurm" else 1.0

    def submit(self, assignments: Sequence[Assignment]) -> list[str]:
        """Queue jobs as arrays.

        Raises
        ------
        UserError
            If Slurm refuses them.
        """
        tasks = [SlurmTask(assignment) for assignment in assignments]
        handles: list[str] = []
        try:
            for start in range(0, len(tasks), JOBS_PER_ARRAY):
                submitted = self._submitter.submit_array(tasks[start : start + JOBS_PER_ARRAY])
                handles += [f"{self._cluster}:{job.job_id}" for job in submitted]
        except Exception as error:  # submitit has no class for what sbatch says
            self.kill(handles)
            raise UserError(f"Slurm refused the jobs: {_last_line(str(error))}") from error
        return handles

    def ended(self, handles: Collection[str]) -> dict[str, JobEnd]:
        gone = set(handles) - _left(self._folder, handles)
        return {handle: JobEnd(self._why(handle)) for handle in gone}

    def stop(self, handles: Collection[str]) -> None:
        for queue, ids in _queues(self._folder, handles):
            queue.interrupt(ids)

    def kill(self, handles: Collection[str]) -> None:
        for queue, ids in _queues(self._folder, handles):
            queue.kill(ids)

    def _why(self, handle: str) -> str:
        """What is known of a job that is gone."""
        log = _submitit_folder(self._folder) / f"{handle.partition(':')[2]}_0_log.out"
        said = f": {_last_line(log.read_text(errors='replace'))}" if log.exists() else ""
        return f"its job left the queue; it was cancelled, its node died, or it wanted more memory than --memory{said}"


class SlurmTask:
    """What a Slurm job runs; submitit calls `checkpoint` when Slurm wants the node back or the time is up."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._host: Host | None = None

    def __call__(self) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever a batch script's shell made of it
        self._host = Host(self._assignment)
        self._host.serve()

    def checkpoint(self) -> Any:
        """Save and stop; the same task is queued again."""
        from submitit.helpers import DelayedSubmission

        if self._host is not None:
            self._host.pause("its time was up, or its node was wanted for another job")
        return DelayedSubmission(SlurmTask(self._assignment))


def _submitit_folder(folder: StudyFolder) -> Path:
    return folder.running.resolve() / "submitit"


def _left(folder: StudyFolder, handles: Collection[str]) -> set[str]:
    """Those of the jobs that wait or run."""
    left = set()
    for queue, ids in _queues(folder, handles):
        alive = queue.left(ids)
        left |= {handle for handle in handles if handle.partition(":")[2] in alive}
    return left


def _queues(folder: StudyFolder, handles: Collection[str]) -> list[tuple[SlurmQueue | ProcessQueue, list[str]]]:
    """The ids in each queue; a handle is ``slurm:<id>`` or ``local:<process>``."""
    ids: dict[str, list[str]] = {"slurm": [], "local": []}
    for handle in handles:
        cluster, _, number = handle.partition(":")
        ids[cluster].append(number)
    return [(SlurmQueue(), ids["slurm"]), (ProcessQueue(_submitit_folder(folder)), ids["local"])]


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]
