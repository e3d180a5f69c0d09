"""What is recorded of a job: the statuses of its cells, and the failure of one that cannot be finished."""

from __future__ import annotations

from selfsup.config.grid import Job
from selfsup.record.folder import StudyFolder
from selfsup.record.results import FINAL, CellResult

#: How often a job is begun before it counts as failed.
ATTEMPTS = 2


def recorded_statuses(folder: StudyFolder, job: Job) -> dict[str, str]:
    """Statuses of the job's cells by id if all are final, else nothing."""
    statuses = {cell.id: folder.metrics(cell.id).get("status", "") for cell in job.cells}
    return statuses if all(status in FINAL for status in statuses.values()) else {}


def record_failure(folder: StudyFolder, job: Job, reason: str) -> dict[str, str]:
    """Record the job's cells that are not finished as failed, with its log; their statuses by id.

    Its checkpoint stays for the next run: what ended it may be of that hour, such as want of memory.
    """
    log_path = folder.log(job.id)
    log = log_path.read_bytes() if log_path.exists() else b""
    finished = folder.finished()
    failed = [cell for cell in job.cells if cell.id not in finished]
    for cell in failed:
        folder.write_cell(CellResult.of(cell, "failed", message=reason), {"log.txt": log})
    return {cell.id: "failed" for cell in failed}
