"""A Slurm of one node on the loopback device: its daemons are started in a folder and stopped again."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

#: What a machine needs: Debian's packages slurm-wlm and munge.
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch")

CONFIGURATION = """\
ClusterName=selfsup-tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=sched_interval=2,bf_interval=2
MpiDefault=none
KillWait=10
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=cells Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes={host} Default=NO MaxTime=INFINITE State=UP PriorityTier=2
"""


def why_not() -> str | None:
    """Why Slurm cannot be started here; None if it can."""
    missing = [name for name in PROGRAMS if _find(name) is None]
    if missing:
        return f"Slurm is not installed (no {', '.join(missing)}): apt-get install slurm-wlm munge"
    return None if os.geteuid() == 0 else "Slurm's daemons need root"


@contextlib.contextmanager
def slurm_on_this_machine(folder: Path, *, cpus: int = 1) -> Iterator[None]:
    """Run Slurm's and munge's daemons with all their files in `folder`; ``SLURM_CONF`` is set meanwhile."""
    folder.chmod(0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    conf = folder / "slurm.conf"
    conf.write_text(
        CONFIGURATION.format(
            host=platform.node().partition(".")[0],
            folder=folder,
            user="root",
            cpus=cpus,
            controller_port=_free_port(),
            node_port=_free_port(),
        )
    )
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(conf)
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        munge = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"]
        munge += [f"--{name}-file={folder}/munged.{name}" for name in ("log", "pid", "seed")]
        daemons.append(_start(munge, folder))
        _wait_for((folder / "munge.socket").exists)
        daemons.append(_start(["slurmctld", "-D", "-f", str(conf)], folder))
        daemons.append(_start(["slurmd", "-D", "-f", str(conf)], folder))
        _wait_for(_is_idle)
        yield
    finally:
        subprocess.run(["scancel", "--user=root"], check=False, capture_output=True)
        for daemon in reversed(daemons):
            _stop(daemon)
        os.environ.pop("SLURM_CONF")
        if before is not None:
            os.environ["SLURM_CONF"] = before


def slurm(*command: str) -> str:
    """What a command of Slurm prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _start(command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    program = _find(command[0])
    assert program is not None
    with open(folder / f"{command[0]}.out", "wb") as output:
        return subprocess.Popen([program, *command[1:]], stdout=output, stderr=output, start_new_session=True)


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    """End a daemon and what is left of the jobs below it."""
    below = psutil.Process(daemon.pid).children(recursive=True) if daemon.poll() is None else []
    daemon.send_signal(signal.SIGTERM)
    try:
        daemon.wait(15)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
    for process in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _is_idle() -> bool:
    found = subprocess.run(["sinfo", "-h", "-p", "cells", "-o", "%T"], check=False, capture_output=True, text=True)
    return found.stdout.strip() == "idle"


def _wait_for(condition: object, seconds: float = 60) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "Slurm did not start; its logs are in its folder"
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
