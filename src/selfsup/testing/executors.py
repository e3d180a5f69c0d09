"""What an executor must keep; an outside executor runs it in its own tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selfsup.execution.executors.base import Event
from selfsup.execution.watchers import Watcher
from selfsup.record.results import MEASURED_COLUMNS

#: A study of two jobs, one that trains and one that does not.
TINY_STUDY: dict[str, Any] = {
    "methods": "moco,random",
    "augmentations": "weak",
    "lrs": "0.03",
    "per_class": "5",
    "epochs": 3,
    "backbone": "test_resnet",
    "weights": "none",
    "references": "none",
    "image_size": 16,
    "batch_size": 64,
    "device": "cpu",
    "precision": "fp32",
    "threads": 1,
    "map_points": 10,
}


def check_executor(name: str, folder: Path, **options: Any) -> None:
    """Check that an executor keeps what :class:`selfsup.execution.executors.base.Executor` promises, by a small study.

    Parameters
    ----------
    name : str
        Of the executor.
    folder : Path
        On a file system that all its workers see; empty, or that of another check.
    **options
        Its options, and fields of the configuration, such as ``plugin="my_executor.py"``.

    Raises
    ------
    AssertionError
        Names the promise that is broken.
    """
    from selfsup.study import compare

    events = _Events()
    study = compare("digits", out=folder / name, executor=name, watcher=events, **{**TINY_STUDY, **options})
    reference = compare("digits", out=folder / "inline", executor="inline", **TINY_STUDY)
    found, expected = (s.results.drop(columns=list(MEASURED_COLUMNS)) for s in (study, reference))
    assert found.equals(expected), f"the numbers are not those of the inline executor:\n{found.compare(expected)}"
    left = [path.name for path in study.folder.running.glob("*/*")]
    assert not left, f"work in progress was left behind: {left}"
    assert set(events.seen) == {"moco-test_resnet-weak-lr0.03-n5-s0", "random-test_resnet-nall-s0-shared"}, (
        "a job was not heard of"
    )
    for job, seen in events.seen.items():
        epochs = list(range(1, TINY_STUDY["epochs"] + 1)) if job.startswith("moco") else []
        assert seen == ["JobStarted", *epochs, "JobDone"], f"{job}: heard {seen}"


class _Events(Watcher):
    """Keeps what was heard of every job: kinds of events, and numbers of epochs."""

    def __init__(self) -> None:
        self.seen: dict[str, list[Any]] = {}

    def on_event(self, event: Event) -> None:
        self.seen.setdefault(event.job.id, []).append(getattr(event, "epoch", type(event).__name__))
