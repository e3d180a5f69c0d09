"""Ray: cells as tasks on the nodes of a Ray cluster; a node that dies costs no cell."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import platform
import socket
import sys
from collections.abc import Collection, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from selfsup.errors import UserError
from selfsup.execution.executors._host import Assignment, Host
from selfsup.execution.executors._remote import JobEnd, RemoteRun
from selfsup.execution.executors.base import Event, Executor, ExecutorOptions, Listener, Resolve, Resources
from selfsup.record.folder import StudyFolder

if TYPE_CHECKING:
    from selfsup.config.grid import Job
    from selfsup.config.schema import StudyConfig
    from selfsup.training.device import Hardware


#: Seconds in which something must answer at the address of a cluster.
LISTENER_SECONDS = 10


class RayOptions(ExecutorOptions):
    """What a user can tell Ray."""

    ray_address: str = Field("auto", description="The Ray cluster: auto, HOST:PORT, or local to start one here.")
    cpus: float | None = Field(
        None, gt=0, description="CPUs of one cell. Default: its threads, or else 1, times --devices."
    )
    gpus: float | None = Field(
        None, ge=0, description="GPUs of one cell; Ray also shares one GPU, as in 0.5. Default: 1 if cells use a GPU."
    )
    copy_store: bool = Field(
        False, description="Copy the decoded images to every node's own cache, also where it can read the originals."
    )


class RayExecutor(Executor):
    """Runs jobs as Ray tasks, which Ray ends when the run is gone."""

    Options = RayOptions
    here = False

    @contextlib.contextmanager
    def standing_by(self) -> Iterator[None]:
        """Refuse, before images are decoded, where Ray is not installed or its cluster does not answer."""
        _require_cluster(self.options.ray_address)
        yield

    def resources(self, config: StudyConfig, jobs: int, this_machine: Resolve) -> Resources:
        """What the first node with enough free CPUs and GPUs has.

        Raises
        ------
        UserError
            If there is no cluster, or no node of it is large enough.
        """
        with _connected(self.options.ray_address) as ray:
            nodes = _nodes(ray)
            share = self._share_of_a_cell(config, nodes)
            room = sum(_cells_that_fit(node, share) for node in nodes)
            if room == 0:
                raise UserError(
                    f"No node of the Ray cluster '{self.options.ray_address}' has the {share['num_cpus']:g} CPUs and "
                    f"{share['num_gpus']:g} GPUs that one cell is to have; set --cpus and --gpus to less, or add such "
                    f"a node."
                )
            hardware = _hardware_of_a_node(ray, config, share)
        threads = config.threads or max(1, int(share["num_cpus"]) // config.devices)
        most = room if config.workers == "auto" else min(room, int(config.workers))
        return Resources(hardware, min(most, jobs), threads)

    def run(self, folder: StudyFolder, jobs: Sequence[Job], resources: Resources, listener: Listener) -> None:
        config = folder.read_running_config()
        most = None if config.workers == "auto" else int(config.workers)
        with _connected(self.options.ray_address) as ray, _ray_off_stdout(listener) as heard:
            share = self._share_of_a_cell(config, _nodes(ray))
            engine = _RayEngine(ray, share, folder, copy_store=self.options.copy_store)
            RemoteRun(engine, folder, jobs, resources, heard).run(most)

    def _share_of_a_cell(self, config: StudyConfig, nodes: Sequence[dict[str, float]]) -> dict[str, float]:
        cpus, gpus = self.options.cpus, self.options.gpus
        if gpus is None:
            wanted = config.device.startswith("cuda") or config.device == "auto"
            gpus = float(wanted and any(node.get("GPU", 0) >= 1 for node in nodes))
            gpus *= config.devices
        return {"num_cpus": cpus or float(config.threads or 1) * config.devices, "num_gpus": gpus}


executor = RayExecutor


class _RayEngine:
    """Ray's queue, as :class:`selfsup.execution.executors._remote.Engine`."""

    name = "ray"
    ask_seconds = 1.0

    def __init__(self, ray: Any, share: dict[str, float], folder: StudyFolder, *, copy_store: bool) -> None:
        self._ray = ray
        # Retried by RemoteRun, which knows a cell's fault from a node's.
        self._serve = ray.remote(_serve).options(max_retries=0, **share)
        about = folder.read_json("dataset.json")
        stores = [about["store"], *([about["external"]["store"]] if "external" in about else [])]
        self._stores = {store: _reader_here(ray, store) for store in stores}
        self._copy_store = copy_store
        self._tasks: dict[str, Any] = {}

    def submit(self, assignments: Sequence[Assignment]) -> list[str]:
        handles = []
        for assignment in assignments:
            task = self._serve.remote(assignment, self._stores, self._copy_store)
            handles.append(task.hex())
            self._tasks[task.hex()] = task
        return handles

    def ended(self, handles: Collection[str]) -> dict[str, JobEnd]:
        ends = {handle: JobEnd("its run is gone", lost=True) for handle in handles if handle not in self._tasks}
        tasks = [self._tasks[handle] for handle in handles if handle in self._tasks]
        if tasks:
            ready, _ = self._ray.wait(tasks, num_returns=len(tasks), timeout=0)
            ends |= {task.hex(): self._end_of(task) for task in ready}
        return ends

    def stop(self, handles: Collection[str]) -> None:
        self._cancel(handles, force=False)

    def kill(self, handles: Collection[str]) -> None:
        self._cancel(handles, force=True)

    def _cancel(self, handles: Collection[str], *, force: bool) -> None:
        for handle in handles:
            self._ray.cancel(self._tasks[handle], force=force)

    def _end_of(self, task: Any) -> JobEnd:
        errors = self._ray.exceptions
        try:
            refusal = self._ray.get(task)
        except errors.OutOfMemoryError:
            return JobEnd("Ray killed it for want of memory on its node")
        except errors.RayTaskError as error:
            return JobEnd(f"{type(error.cause).__name__}: {error.cause}"[:500])
        except errors.RayError:
            return JobEnd("its node died", lost=True)
        return JobEnd("it was told to stop on its node", lost=True, refusal=refusal)


# -- on the nodes -----------------------------------------------------------------------------------


def _serve(assignment: Assignment, stores: dict[str, Any], copy_store: bool) -> str | None:
    """Ray task: run one job on the images of these stores, that of the study first, or what their readers read.

    A sentence if this node cannot run any.
    """
    import ray

    from selfsup.execution.executors._store_copy import store_on_this_node

    if not StudyFolder(Path(assignment.study)).exists():
        return (
            f"Node {platform.node()} of the Ray cluster does not see the study '{assignment.study}'; give an --out on "
            f"a file system that all nodes share."
        )
    copies: list[Path] = []

    def copied(store: str, reader: Any) -> Path:
        return store_on_this_node(
            Path(store),
            lambda: ray.get(reader.files.remote()),
            lambda name, offset: ray.get(reader.read.remote(name, offset)),
        ).path

    try:
        if copy_store or not all(Path(store).is_dir() for store in stores):
            copies = [copied(store, reader) for store, reader in stores.items()]
    except UserError as error:
        return f"On node {platform.node()} of the Ray cluster: {error}"
    Host(assignment, copies[0] if copies else None, keep=True).serve()
    return None


def _choose_hardware(device: str, precision: str, fused: bool) -> Hardware | str:
    """Ray task: what this node has, or why it does not fit."""
    from selfsup.training.device import choose_hardware

    try:
        return choose_hardware(device, precision, fused=fused)
    except UserError as error:
        return str(error)


# -- here -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _ray_off_stdout(listener: Listener) -> Iterator[Listener]:
    """Send what Ray prints about dying nodes to standard error, and what the listener prints where it would go."""
    out = sys.stdout

    def heard(event: Event) -> None:
        with contextlib.redirect_stdout(out):
            listener(event)

    with contextlib.redirect_stdout(sys.stderr):
        yield heard


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    """The module ``ray``, connected; a connection that was there before stays.

    Raises
    ------
    UserError
        If there is no cluster.
    """
    import ray

    if ray.is_initialized():
        yield ray
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        raise _unreachable(address, error) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _require_cluster(address: str) -> None:
    """Refuse where Ray is not installed, or nothing listens at HOST:PORT, which Ray would try for a minute and more."""
    if find_spec("ray") is None:
        raise UserError("--executor ray needs Ray, which is not installed; pip install 'selfsup[ray]'.")
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "/" not in host:
        try:
            socket.create_connection((host, int(port)), timeout=LISTENER_SECONDS).close()
        except OSError as error:
            raise _unreachable(address, error) from None


def _unreachable(address: str, error: Exception) -> UserError:
    return UserError(
        f"--ray-address {address} cannot be reached ({_first_line(error)}); start a cluster with `ray start --head`, "
        f"or give the address of one."
    )


def _nodes(ray: Any) -> list[dict[str, float]]:
    """Resources of every node that is there."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _hardware_of_a_node(ray: Any, config: StudyConfig, share: dict[str, float]) -> Hardware:
    task = ray.remote(_choose_hardware).options(**share)
    try:
        found: Hardware | str = ray.get(task.remote(config.device, config.precision, config.fuses))
    except ray.exceptions.RayError as error:
        raise UserError(
            f"The nodes of the Ray cluster cannot run selfsup ({_last_line(error)}); install the same selfsup on all."
        ) from None
    if isinstance(found, str):
        raise UserError(f"On a node of the Ray cluster: {found}")
    return found


def _reader_here(ray: Any, store: str) -> Any:
    """An actor on this machine that reads the store for nodes that do not see it."""
    from selfsup.execution.executors._store_copy import StoreReader

    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    return ray.remote(StoreReader).options(num_cpus=0, scheduling_strategy=here).remote(store)


def _cells_that_fit(node: dict[str, float], share: dict[str, float]) -> int:
    """How many cells a node can train at a time."""
    asked = {"CPU": share["num_cpus"], "GPU": share["num_gpus"]}
    # Three cells of 0.2 fit into 0.6, which floats would deny.
    return min(math.floor(node.get(kind, 0) / amount + 1e-9) for kind, amount in asked.items() if amount)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].rstrip(".")
