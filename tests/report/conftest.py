"""Made-up studies for the tests of the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from study_folder import FolderWriter


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., FolderWriter]:
    """Write a study's folder; returns what it was written from."""

    def make(name: str = "study", **settings) -> FolderWriter:
        writer = FolderWriter(tmp_path / name, **settings)
        writer.write()
        return writer

    return make
