"""Processes that train one cell together: this one, and followers that it starts, on devices of one machine."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from selfsup.config.grid import Job
from selfsup.training.device import Hardware

#: Seconds that a process waits for the others before it gives up,
PATIENCE = 600
#: and for what the first decides, which judges on the way, on a CPU for hours: it goes with that process anyway.
DECISION_PATIENCE = 30 * 24 * 3600
#: Seconds that a follower gets to go when it is no longer needed.
GRACE_SECONDS = 10.0


def joined_fabric(hardware: Hardware, rank: int, count: int, port: int) -> Any:
    """A Lightning Fabric over `count` processes of this machine, launched; waits until all have come.

    Its attribute `decisions` is their group in which the first says what holds for all.

    Parameters
    ----------
    hardware : Hardware
        Of the first process; each other one takes the device so many after it.
    rank : int
        Which of the processes this is, from 0.
    count : int
        At least 2.
    port : int
        Where the process of rank 0 listens, on 127.0.0.1.
    """
    import torch.distributed as dist
    from lightning_fabric.strategies.ddp import DDPStrategy

    first = int(hardware.device.partition(":")[2] or 0)
    devices = count if hardware.kind == "cpu" else list(range(first, first + count))
    no_sending: dict[str, Any] = {_sending_buffers(): False}  # every process computes the same buffers
    strategy = DDPStrategy(
        # What the processes agree on lies on the CPU, so that nobody waits for a GPU.
        process_group_backend="gloo" if hardware.kind == "cpu" else "cpu:gloo,cuda:nccl",
        timeout=timedelta(seconds=PATIENCE),
        **no_sending,
    )
    fabric = hardware.launch(devices, _environment(rank, port), strategy=strategy)
    fabric.decisions = dist.new_group(backend="gloo", timeout=timedelta(seconds=DECISION_PATIENCE))
    return fabric


def _sending_buffers() -> str:
    """The argument of DDP that says whether buffers are sent before each step: torch 2.13 renamed it."""
    from torch.nn.parallel import DistributedDataParallel

    known = inspect.signature(DistributedDataParallel.__init__).parameters
    return "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"


class Followers:
    """The other processes of a training, and the Fabric that joins them; started at the first job.

    A follower that dies breaks the connection, which ends this process's training with an error; if this process
    dies, its followers see the end of their standard input and go.

    Parameters
    ----------
    module : str
        What each of them runs (``python -m``); by its name, for it stands after this one.
    study : Path
        The study's folder.
    hardware : Hardware
        Of the first device; the followers use those after it.
    count : int
        Devices of a training, this process's included.
    store : Path, optional
        As for :class:`selfsup.execution.jobs.context.StudyContext`.
    """

    def __init__(self, module: str, study: Path, hardware: Hardware, count: int, store: Path | None) -> None:
        self._module, self._study = module, study
        self._hardware, self._count, self._store = hardware, count, store
        self._processes: list[subprocess.Popen[bytes]] = []

    def start_job(self, job: Job) -> None:
        """Have the followers take part in the training of `job`, which must begin here too."""
        line = json.dumps(job.to_dict()).encode() + b"\n"
        if not self._processes:
            self._start()
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(line)
            process.stdin.flush()
        _ = self.fabric

    @cached_property
    def fabric(self) -> Any:
        """A Lightning Fabric over all processes; there once every follower has joined."""
        return joined_fabric(self._hardware, 0, self._count, self._port)

    def close(self) -> None:
        """Send the followers away."""
        import torch.distributed as dist

        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes:
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._processes and dist.is_initialized():
            dist.destroy_process_group()
        self._processes = []
        vars(self).pop("fabric", None)

    def _start(self) -> None:
        import torch
        from lightning_fabric.plugins.environments.lightning import find_free_network_port

        self._port = find_free_network_port()
        threads = str(torch.get_num_threads())
        for rank in range(1, self._count):
            command = [sys.executable, "-m", self._module, str(self._study)]
            command += [self._hardware.device, self._hardware.precision, threads]
            command += [str(rank), str(self._count), str(self._port), *([str(self._store)] if self._store else [])]
            self._processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL))


def _environment(rank: int, port: int) -> Any:
    """What Fabric must know of processes that we start."""
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment

    class Environment(LightningEnvironment):
        """Asks no environment variable: inside an allocation of Slurm's they speak of other processes."""

        creates_processes_externally = True
        main_address = "127.0.0.1"
        main_port = port

        def local_rank(self) -> int:
            return rank

        def node_rank(self) -> int:
            return 0

    return Environment()
