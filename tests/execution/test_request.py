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


@pytest.mark.parametrize("name", ["data", "data_root", "data_url", "manifest", "pool", "group", "test_data"])
def test_text_that_is_empty_is_not_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As an unset variable of a shell gives it, or a file of options."""
    save_picture(tmp_path / "0.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UserError, match=f"--{name.replace('_', '-')} = '' does not fit: must be text that is not empty"
    ):
        out_of(**{name: ""})


def test_an_expression_for_groups_is_none_of_the_folder_or_the_long_name_that_it_could_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plate1").mkdir()
    (tmp_path / "table").touch()
    monkeypatch.chdir(tmp_path)
    for group, meant in {"plate1": "plate1", "(a|b)" * 100: "(a|b)" * 100, "table": str(tmp_path / "table")}.items():
        values, _ = requested_run(None, preset="quick", config=None, options={"group": group}, anew=True)
        assert values["group"] == meant
