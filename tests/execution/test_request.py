"""What a command asks for: where its study is by default."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.pictures import save_picture

from selfsup.errors import UserError
from selfsup.execution.executors import executor_name
from selfsup.execution.request import default_out, requested_run


def out_of(data: Path | None = None, **options: object) -> Path:
    values, _ = requested_run(data, preset="quick", config=None, options=options, anew=True)
    return default_out(values)


def test_every_manifest_of_a_folder_has_a_study_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_picture(tmp_path / "photos/0.png")
    for name in ("adults.csv", "young.v2.csv"):
        (tmp_path / "photos" / name).write_text("path,label\n0.png,cow\n")
    monkeypatch.chdir(tmp_path / "photos")
    assert out_of(manifest="adults.csv") == Path("studies/photos-adults")
    assert out_of(tmp_path / "photos", manifest="adults.csv") == Path("studies/photos-adults")
    assert out_of(manifest="young.v2.csv") == Path("studies/photos-young.v2")
    assert out_of(tmp_path / "photos") == Path("studies/photos")
    assert out_of() == Path("studies/digits")


def test_a_file_for_a_cluster_serves_another_executor_that_the_command_names(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text('executor = "slurm"\npartition = "gpu"\n')
    values, where = requested_run(None, preset=None, config=file, options={"executor": "inline"}, anew=True)
    assert (executor_name(where), "partition" in values) == ("inline", False)
    with pytest.raises(UserError, match="--partition is an option of --executor slurm"):
        requested_run(None, preset=None, config=file, options={"executor": "inline", "partition": "gpu"}, anew=True)
    file.write_text('partition = "gpu"\n')
    with pytest.raises(UserError, match="--partition is an option of --executor slurm, and this is --executor local"):
        requested_run(None, preset=None, config=file, options={}, anew=True)
