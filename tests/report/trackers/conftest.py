"""A small real study: a baseline, a training that went well, and one that diverged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tracked import CELLS, GRID, copy_study, log_to

import selfsup
from selfsup.record.folder import StudyFolder


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = selfsup.compare("digits", out=tmp_path_factory.mktemp("tracking") / "study", **GRID)
    assert set(study.results.cell) == CELLS
    assert set(study.results.status) == {"done", "diverged"}
    return study.path


@pytest.fixture(scope="session", autouse=True)
def _trackers_of_its_own() -> Iterator[None]:
    """Nothing goes where the developer's own trackers are."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE", "WANDB_PROJECT"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture
def folder(finished_study: Path, tmp_path: Path) -> StudyFolder:
    """A copy of the study, nothing logged yet."""
    return copy_study(finished_study, tmp_path)


@pytest.fixture(scope="module")
def logged(
    request: pytest.FixtureRequest, finished_study: Path, tmp_path_factory: pytest.TempPathFactory
) -> StudyFolder:
    """A copy of the study, logged to the tracker that the test file names; only to be read."""
    folder = copy_study(finished_study, tmp_path_factory.mktemp("logged"))
    log_to(request.module.TRACKER, folder)
    return folder
