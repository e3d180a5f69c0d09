"""Records the cells of a job that cannot be finished."""

from __future__ import annotations

from selfsup.grid import Job
from selfsup.record import CellResult, StudyFolder

#: How often a job is begun before it counts as failed.
ATTEMPTS = 2


def record_failure(folder: StudyFolder, job: Job, reason: str) -> dict[str, str]:
    """Record the job's cells that are not finished as failed, with its log; their statuses by id."""
    log_path = folder.log(job.id)
    log = log_path.read_bytes() if log_path.exists() else b""
    finished = folder.finished()
    failed = [cell for cell in job.cells if cell.id not in finished]
    for cell in failed:
        folder.write_cell(CellResult.of(cell, "failed", message=reason), {"log.txt": log})
    folder.clear_job(job.id)
    return {cell.id: "failed" for cell in failed}
