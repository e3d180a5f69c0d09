"""Inline: cells one after another in this process; simple to debug, no protection from a crash."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from selfsup.execution.executors._stop import StopFlag
from selfsup.execution.executors.base import (
    EpochDone,
    Executor,
    JobDone,
    JobStarted,
    JobWarned,
    Listener,
    Resolve,
    Resources,
)

if TYPE_CHECKING:
    from selfsup.config.grid import Job
    from selfsup.config.schema import StudyConfig
    from selfsup.record.folder import StudyFolder
    from selfsup.training.state import EpochLog


class InlineExecutor(Executor):
    """Runs jobs in the calling process."""

    def resources(self, config: StudyConfig, jobs: int, this_machine: Resolve) -> Resources:
        """One worker, whatever was asked for, with all cores."""
        return this_machine(config.model_copy(update={"workers": 1}), jobs)

    def run(self, folder: StudyFolder, jobs: Sequence[Job], resources: Resources, listener: Listener) -> None:
        from selfsup.execution.jobs.context import StudyContext
        from selfsup.execution.jobs.job import run_job
        from selfsup.training.device import make_deterministic

        make_deterministic(resources.threads)
        study = StudyContext(folder, resources.hardware)
        with StopFlag(resources.until, breaks_off=True) as stop, closing(study):
            for job in jobs:
                listener(JobStarted(job, 0))

                def on_epoch(log: EpochLog, epochs: int, job: Job = job) -> None:
                    listener(EpochDone(job, 0, log.epoch, epochs, log.loss, log.images_per_second))

                def on_warning(message: str, job: Job = job) -> None:
                    listener(JobWarned(job, 0, message))

                results = run_job(study, job, on_epoch=on_epoch, on_warning=on_warning, should_stop=stop)
                listener(JobDone(job, 0, {r.cell: r.status for r in results}))
                stop.raise_if_set()


executor = InlineExecutor
