"""None: every training goes on to its last epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from selfsup.config.grid import Job
from selfsup.config.schema import StudyConfig
from selfsup.execution.schedulers.base import Record, without_finished
from selfsup.record.folder import StudyFolder


class NoScheduler:
    """Runs all that is not finished, trainings that a scheduler had stopped early included."""

    resumes: ClassVar[bool] = True

    def __init__(self, config: StudyConfig, folder: StudyFolder) -> None: ...

    def next_round(self, jobs: Sequence[Job], records: Mapping[str, Record]) -> list[Job]:
        return [left for job in jobs if (left := without_finished(job, records)) is not None]

    def compares_at(self, job: Job, epoch: int) -> bool:
        return False

    def goes_on(self, job: Job, epoch: int, score: float) -> bool:
        return True

    def share(self, candidates: int) -> float:
        return 1.0


scheduler = NoScheduler
