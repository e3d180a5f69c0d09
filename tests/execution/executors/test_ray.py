"""Ray: a real cluster of several nodes on this machine; nodes die, the numbers stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

import selfsup
from selfsup.config.schema import StudyConfig
from selfsup.errors import UserError
from selfsup.execution.executors import load_executor
from selfsup.execution.executors.base import EpochDone, Event, JobRetried
from selfsup.execution.resources import resolve_resources
from selfsup.execution.watchers import Watcher
from selfsup.record.results import MEASURED_COLUMNS
from selfsup.testing.executors import TINY_STUDY, check_executor

cluster_utils = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed: pip install 'selfsup[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.ray]

GRID: dict[str, Any] = {**TINY_STUDY, "epochs": 60, "checkpoint_seconds": 0.05}
VICTIM = "moco-test_resnet-weak-lr0.03-n5-s0"


@pytest.fixture(scope="module")
def nodes_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache-of-the-nodes")


@pytest.fixture(scope="module")
def cluster(nodes_cache: Path) -> Iterator[Any]:
    """A head that runs no cells, and one node for one cell."""
    started = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    started.add_node(num_cpus=1, env_vars={"SELFSUP_CACHE": str(nodes_cache)})
    yield started
    started.shutdown()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """What the local executor finds."""
    return numbers(selfsup.compare("digits", out=tmp_path_factory.mktemp("local") / "study", workers=1, **GRID))


def numbers(study: selfsup.Study) -> pd.DataFrame:
    return study.results.drop(columns=list(MEASURED_COLUMNS))


def test_it_keeps_what_every_executor_promises(cluster: Any, tmp_path: Path) -> None:
    check_executor("ray", tmp_path, ray_address=cluster.address)


class NodeKiller(Watcher):
    """Kills the only node once a cell has trained a few epochs, and gives the cluster another."""

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster
        self.epochs: list[int] = []
        self.retried: list[JobRetried] = []
        self.epochs_before = 0

    def on_event(self, event: Event) -> None:
        if isinstance(event, JobRetried):
            self.retried.append(event)
        if isinstance(event, EpochDone) and event.job.id == VICTIM:
            self.epochs.append(event.epoch)
            if event.epoch >= 3 and not self.epochs_before:
                self.epochs_before = len(self.epochs)
                (node,) = self.cluster.worker_nodes
                self.cluster.remove_node(node, allow_graceful=False)
                self.cluster.add_node(num_cpus=2)


def test_a_node_that_dies_costs_no_cell_and_no_digit(cluster: Any, local: pd.DataFrame, tmp_path: Path) -> None:
    killer = NodeKiller(cluster)
    study = selfsup.compare(
        "digits", out=tmp_path / "study", executor="ray", ray_address=cluster.address, watcher=killer, **GRID
    )
    assert [(event.job.id, event.reason) for event in killer.retried] == [(VICTIM, "its node died")]
    assert killer.epochs[killer.epochs_before] > 1, "it went on from its checkpoint"
    pd.testing.assert_frame_equal(numbers(study), local, check_exact=True)
    assert list(study.folder.submitted.iterdir()) == []


def test_a_node_can_work_from_its_own_copy_of_the_images(
    cluster: Any, local: pd.DataFrame, nodes_cache: Path, tmp_path: Path
) -> None:
    node = cluster.add_node(num_cpus=1, resources={"here": 1}, env_vars={"SELFSUP_CACHE": str(nodes_cache)})
    others = [other for other in cluster.worker_nodes if other is not node]
    for other in others:
        cluster.remove_node(other)
    study = selfsup.compare(
        "digits", out=tmp_path / "study", executor="ray", ray_address=cluster.address, copy_store=True, **GRID
    )
    pd.testing.assert_frame_equal(numbers(study), local, check_exact=True)
    original = Path(study.folder.read_json("dataset.json")["store"])
    copy = nodes_cache / "copies" / original.name
    for path in original.iterdir():
        assert (copy / path.name).read_bytes() == path.read_bytes()


def test_ctrl_c_saves_the_running_cell_and_another_executor_goes_on(
    cluster: Any, local: pd.DataFrame, tmp_path: Path
) -> None:
    out = tmp_path / "study"
    process = _run(cluster, out)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "the same command goes on from here" in errors
    assert "Traceback" not in errors
    assert (out / "running" / VICTIM / "checkpoint.pt").exists()
    study = selfsup.compare("digits", out=out, workers=1, **GRID)
    pd.testing.assert_frame_equal(numbers(study), local, check_exact=True)


def test_tasks_end_with_the_run_that_is_killed_and_the_same_command_goes_on(
    cluster: Any, local: pd.DataFrame, tmp_path: Path
) -> None:
    out = tmp_path / "study"
    process = _run(cluster, out)
    process.kill()
    process.communicate()
    _wait_until(lambda: not any(_works_on(process, VICTIM) for process in psutil.process_iter()))
    study = selfsup.compare("digits", out=out, executor="ray", ray_address=cluster.address, **GRID)
    pd.testing.assert_frame_equal(numbers(study), local, check_exact=True)


def _run(cluster: Any, out: Path) -> subprocess.Popen[str]:
    """A run in another process, whose first cell has begun to train; it saves no checkpoint of its own accord."""
    options = {**GRID, "checkpoint_seconds": 1000, "executor": "ray", "ray_address": cluster.address, "out": out}
    given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "selfsup", "run", "digits", *given]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    journal = out / "running" / "submitted" / f"{VICTIM}.jsonl"
    _wait_until(lambda: journal.exists() and '"epoch"' in journal.read_text())
    return process


def test_a_worker_killed_twice_fails_its_cell_alone(cluster: Any, tmp_path: Path) -> None:
    study = selfsup.compare(
        "digits",
        out=tmp_path / "study",
        executor="ray",
        ray_address=cluster.address,
        watcher=_WorkerKiller(),
        **GRID,
    )
    statuses = study.results.set_index("cell").status
    assert statuses[VICTIM] == "failed"
    assert set(statuses.drop(VICTIM)) == {"done"}
    assert "SIGKILL" in study.result(VICTIM).message


class _WorkerKiller(Watcher):
    """Kills the worker of one cell whenever it has trained an epoch."""

    def on_event(self, event: Event) -> None:
        if isinstance(event, EpochDone) and event.job.id == VICTIM:
            for process in psutil.process_iter():
                if _works_on(process, VICTIM):
                    process.kill()


def _works_on(process: psutil.Process, job: str) -> bool:
    log = os.path.join("running", job, "log.txt")
    try:
        return any(file.path.endswith(log) for file in process.open_files())
    except psutil.Error:
        return False


@pytest.mark.parametrize(("gpus", "cells"), [(1, 1), (0.5, 2), (0.3, 3), (0.2, 4)])
def test_cells_share_a_gpu_as_far_as_it_and_the_cpus_go(cluster: Any, gpus: float, cells: int) -> None:
    node = cluster.add_node(num_cpus=4, num_gpus=1)
    try:
        ray = load_executor("ray", ray_address=cluster.address, gpus=gpus)
        resources = ray.resources(StudyConfig(device="cpu", precision="fp32"), 100, resolve_resources)
    finally:
        cluster.remove_node(node)
    assert resources.workers == cells


def test_more_gpus_than_any_node_has_are_refused(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="7 GPUs that one cell is to have"):
        selfsup.compare("digits", out=tmp_path / "study", executor="ray", ray_address=cluster.address, gpus=7, **GRID)


def _wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_address_without_a_cluster_is_named() -> None:
    ray = load_executor("ray", ray_address="127.0.0.1:1")
    with pytest.raises(UserError, match=r"--ray-address 127\.0\.0\.1:1 cannot be reached"), ray.standing_by():
        pass
