"""What is durable: cells appear whole or not at all, tables can be made anew, one writer at a time."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from selfsup.atomic import replace_file
from selfsup.config.grid import Cell, expand
from selfsup.config.schema import StudyConfig
from selfsup.config.validation import validate
from selfsup.errors import UserError
from selfsup.methods import method_class
from selfsup.record.folder import StudyFolder, to_json
from selfsup.record.results import FINAL, STATUSES, CellResult, result_columns

CELL = Cell("moco", "resnet18", "weak", 0.06, 20, 0)
FILES = {"loss.png": b"\x89PNG", "training_log.csv": b"epoch,loss\n1,0.5\n", "backbone.safetensors": b"weights"}
CONFIG = validate(
    {
        "methods": "moco,byol,frozen", "augmentations": "weak,simclr", "lrs": "0.1,0.01", "per_class": "all,20,5",
        "seeds": 2,
    }
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    study = StudyFolder(tmp_path / "study")
    study.create()
    study.write_config(CONFIG)
    return study


def row(cell: Cell = CELL, status: str = "done", **values: Any) -> CellResult:
    return CellResult.of(cell, status, **values)


def cells_of(config: StudyConfig) -> list[Cell]:
    return expand(
        methods=config.methods,
        backbones=config.networks,
        augmentations=config.augmentations,
        lrs=config.lrs,
        per_class=config.per_class,
        seeds=config.seeds,
        tags={name: method_class(name).tags for name in config.methods},
    )


# -- a crash at any step -----------------------------------------------------------------------------


class Crash(BaseException):
    """The process ends here: nothing catches this."""


class Failing:
    """Counts the calls that touch the disk, and raises at the k-th, before or after it had its effect."""

    CALLS = ("mkdir", "open", "fsync", "rename", "replace")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Callable[[], BaseException]) -> None:
        self.error, self.count, self.at, self.late = error, 0, 0, False
        for name in self.CALLS:
            monkeypatch.setattr(os, name, self.wrap(getattr(os, name)))
        monkeypatch.setattr("builtins.open", self.wrap(open))

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.count != self.at:
                return call(*args, **kwargs)
            if self.late:
                call(*args, **kwargs)
            raise self.error()

        return counted

    def arm(self, at: int, *, late: bool = False) -> None:
        self.count, self.at, self.late = 0, at, late


def steps_of(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> int:
    """Number of calls that touch the disk."""
    with monkeypatch.context() as patch:
        failing = Failing(patch, Crash)
        action()
        return failing.count


def content(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir()}


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_a_crash_at_any_step_leaves_a_cell_whole_or_absent(
    folder: StudyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    place = folder.cells / CELL.id
    whole = StudyFolder(tmp_path / "whole")
    whole.create()
    whole.aside.mkdir()
    steps = steps_of(monkeypatch, lambda: whole.write_cell(row(), FILES))
    expected = content(whole.cells / CELL.id)
    assert steps > 2 * len(FILES)
    seen = set()
    for step in range(1, steps + 1):
        folder.aside.mkdir()
        with monkeypatch.context() as patch:
            Failing(patch, Crash).arm(step, late=late)
            with pytest.raises(Crash):
                folder.write_cell(row(), FILES)
        assert folder.statuses() == ({CELL.id: "done"} if place.exists() else {})
        assert not place.exists() or content(place) == expected
        seen.add(place.exists())
        if place.exists():
            os.rename(place, tmp_path / f"published-{step}")
        folder.sweep()
    assert seen == {False, True}
    folder.write_cell(row(), FILES)
    assert content(place) == expected


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_a_crash_while_a_failed_cell_is_replaced_leaves_the_old_one_the_new_one_or_none(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    place = folder.cells / CELL.id
    failure = row(status="failed", message="it broke"), {"log.txt": b"Traceback"}
    folder.write_cell(*failure)
    before = content(place)
    steps = steps_of(monkeypatch, lambda: folder.write_cell(row(), FILES))
    after = content(place)
    for step in range(1, steps + 1):
        folder.write_cell(*failure)
        with monkeypatch.context() as patch:
            Failing(patch, Crash).arm(step, late=late)
            with pytest.raises(Crash):
                folder.write_cell(row(), FILES)
        assert not place.exists() or content(place) in (before, after)
        folder.sweep()
        assert folder.finished() == ({CELL.id} if place.exists() and content(place) == after else set())


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_a_crash_at_any_step_leaves_the_old_or_the_new_checkpoint(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    checkpoint = folder.checkpoint("job")
    checkpoint.parent.mkdir(parents=True)
    steps = steps_of(monkeypatch, lambda: replace_file(checkpoint, b"new" * 1000))
    assert steps >= 4
    for step in range(1, steps + 1):
        checkpoint.write_bytes(b"old")
        with monkeypatch.context() as patch:
            Failing(patch, Crash).arm(step, late=late)
            with pytest.raises(Crash):
                replace_file(checkpoint, b"new" * 1000)
        assert checkpoint.read_bytes() in (b"old", b"new" * 1000)


def test_a_cell_is_flushed_to_the_disk_before_it_gets_its_name(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("fsync"), fsync(handle)))
    monkeypatch.setattr(os, "rename", lambda *paths: (calls.append("rename"), rename(*paths)))
    folder.write_cell(row(), FILES)
    # Every file and metrics.json, then their folder; and the name itself after it was given.
    assert calls == ["fsync"] * (len(FILES) + 2) + ["rename", "fsync"]


def test_sweeping_removes_what_was_half_written_and_keeps_what_was_published(folder: StudyFolder) -> None:
    folder.write_cell(row(), FILES)
    published = content(folder.cells / CELL.id)
    (folder.aside / "half").mkdir(parents=True)
    (folder.aside / "half" / "loss.png").touch()
    (folder.path / f".results.csv.{uuid.uuid4().hex}.partial").touch()
    folder.checkpoint("job").parent.mkdir(parents=True)
    folder.checkpoint("job").write_bytes(b"state")
    (folder.running / "job" / f".checkpoint.pt.{uuid.uuid4().hex}.partial").touch()
    mine = folder.path / "notes" / "download.partial"
    mine.parent.mkdir()
    mine.touch()
    folder.sweep()
    assert not folder.aside.exists()
    assert list(folder.path.rglob("*.partial")) == [mine]
    assert content(folder.cells / CELL.id) == published
    assert folder.checkpoint("job").read_bytes() == b"state"


# -- errors of the disk ------------------------------------------------------------------------------


def full_disk() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_at_any_step_is_a_sentence_and_leaves_no_half_cell(
    folder: StudyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = StudyFolder(tmp_path / "whole")
    whole.create()
    whole.aside.mkdir()
    steps = steps_of(monkeypatch, lambda: whole.write_cell(row(), FILES))
    folder.aside.mkdir()
    for step in range(1, steps + 1):
        with monkeypatch.context() as patch:
            Failing(patch, full_disk).arm(step)
            with pytest.raises(UserError, match=r"cannot be written \(No space left on device\); free some space"):
                folder.write_cell(row(), FILES)
        assert set(folder.statuses().values()) <= {"done"}
    folder.write_cell(row(), FILES)
    assert folder.finished() == {CELL.id}


def test_a_full_disk_keeps_the_old_file_and_leaves_nothing_beside_it(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write("results.csv", b"old")
    names = sorted(path.name for path in folder.path.iterdir())
    for step in range(1, 5):  # open, open, fsync, replace
        with monkeypatch.context() as patch:
            Failing(patch, full_disk).arm(step)
            with pytest.raises(UserError, match=r"results\.csv.* cannot be written \(No space left on device\)"):
                folder.write("results.csv", b"new")
        assert (folder.path / "results.csv").read_bytes() == b"old"
        assert sorted(path.name for path in folder.path.iterdir()) == names


def test_a_study_that_was_deleted_while_it_ran_is_a_sentence(folder: StudyFolder, tmp_path: Path) -> None:
    os.rename(folder.path, tmp_path / "moved")
    with pytest.raises(UserError, match="mend the folder"):
        folder.write("results.csv", b"x")


# -- the study's folder ------------------------------------------------------------------------------


def test_a_new_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    study = StudyFolder(tmp_path / "a" / "b" / "study")
    assert not study.exists()
    study.create()
    study.create()
    assert study.cells.is_dir()
    assert not study.exists()
    study.write_config(CONFIG)
    assert study.exists()
    assert study.read_config() == CONFIG
    study.create()


def test_a_file_in_the_place_of_the_study_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study").touch()
    with pytest.raises(UserError, match=r"--out .*study is a file, not a folder; choose another place"):
        StudyFolder(tmp_path / "study").create()
    with pytest.raises(UserError, match=r"--out .* cannot be written \(Not a directory\); choose another folder"):
        StudyFolder(tmp_path / "study" / "below").create()


def test_a_folder_with_foreign_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"is not a study and not empty \(it holds 'thesis\.tex'\); choose "):
        StudyFolder(tmp_path).create()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("also", [(), ("running/aside", "initial_weights", "teachers")])
def test_a_folder_of_the_user_that_is_named_like_a_studys_is_refused_and_left_alone(
    tmp_path: Path, also: tuple[str, ...]
) -> None:
    for name in ("cells", *also):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "precious.partial").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=r"is not a study and not empty \(it holds 'cells'\)"):
        StudyFolder(tmp_path).create()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("made", [(), ("running",), ("running", "cells")])
def test_a_study_that_was_stopped_while_its_folders_were_made_can_be_begun(
    tmp_path: Path, made: tuple[str, ...]
) -> None:
    for name in made:
        (tmp_path / name).mkdir()
    StudyFolder(tmp_path).create()


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    StudyFolder(tmp_path).create()
    assert (tmp_path / "cells").is_dir()


def test_a_study_that_was_stopped_before_it_was_laid_out_can_be_begun_again(tmp_path: Path) -> None:
    """Files are written before config.toml; a crash or a refusal in between must not block the folder."""
    study = StudyFolder(tmp_path / "study")
    study.create()
    with study.lock():
        study.write("split.npz", b"x")
        study.write_json("dataset.json", {})
    (study.path / f".config.toml.{uuid.uuid4().hex}.partial").touch()
    study.create()
    with study.lock():
        study.sweep()
        study.write_config(CONFIG)
    assert study.exists()
    assert not list(study.path.glob("*.partial"))


def test_a_run_that_began_no_study_leaves_nothing_that_it_made(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    study = StudyFolder(tmp_path / "mine" / "studies" / "a")
    study.create()
    with study.lock():
        study.write("split.npz", b"x")
        study.write_json("dataset.json", {})
        study.remove_if_unbegun()
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]


def test_a_folder_that_was_there_before_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    study = StudyFolder(tmp_path)
    study.create()
    with study.lock():
        study.write("split.npz", b"x")
        study.remove_if_unbegun()
    assert [path.name for path in tmp_path.rglob("*")] == ["cells"]


def test_a_study_that_has_begun_is_never_removed(tmp_path: Path) -> None:
    study = StudyFolder(tmp_path / "study")
    study.create()
    with study.lock():
        study.write_config(CONFIG)
        study.remove_if_unbegun()
    assert study.read_config() == CONFIG


@pytest.mark.parametrize("kind", [StudyFolder.initial_weights, StudyFolder.teacher])
def test_weights_and_teachers_of_a_run_that_was_killed_before_its_study_began_are_not_used(
    tmp_path: Path, kind: Callable[[StudyFolder, str], Path]
) -> None:
    study = StudyFolder(tmp_path / "study")
    study.create()
    weights = kind(study, "resnet18@imagenet")
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"of other settings")
    study.sweep()
    assert not weights.exists()
    study.write_config(CONFIG)
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"of this study")
    study.sweep()
    assert weights.exists()


def test_what_holds_for_one_run_reaches_its_workers_and_not_the_studys_configuration(tmp_path: Path) -> None:
    study = StudyFolder(tmp_path / "study")
    study.create()
    hurried = CONFIG.model_copy(update={"checkpoint_seconds": 0.5, "workers": 3, "data_root": "here"})
    study.write_config(hurried)
    assert study.read_running_config() == hurried
    assert study.read_config() == CONFIG
    study.write_config(CONFIG)
    assert study.read_running_config() == CONFIG


def test_a_configuration_with_a_password_or_token_is_for_its_owner_alone(tmp_path: Path) -> None:
    study = StudyFolder(tmp_path / "study")
    study.create()
    files = study.path / "config.toml", study.running / "runtime.toml"
    study.write_config(CONFIG)
    assert not any(file.stat().st_mode & 0o777 == 0o600 for file in files)
    secret = {"data": "ftp://me:secret@host/photos", "data_url": "https://host/photos.zip?token=1"}
    study.write_config(CONFIG.model_copy(update=secret))
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]
    running = study.read_running_config()  # workers, and the same command, have it whole
    assert {name: getattr(running, name) for name in secret} == secret


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs permissions that bind this user")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match=r"cannot be written \(Permission denied\); choose another folder"):
        StudyFolder(tmp_path / "study").create()


def test_a_disk_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = StudyFolder(tmp_path / "study")
    with monkeypatch.context() as patch:
        Failing(patch, lambda: OSError(errno.EROFS, os.strerror(errno.EROFS))).arm(1)
        with pytest.raises(UserError, match=r"--out .* cannot be written \(Read-only file system\)"):
            study.create()
    study.create()

    def refuse(*args: Any, **kwargs: Any) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UserError, match=r"--out .* cannot be written \(Read-only file system\)"), study.lock():
        pass


# -- the lock ----------------------------------------------------------------------------------------

HOLD = """
import sys, time
from pathlib import Path
from selfsup.record.folder import StudyFolder
with StudyFolder(Path(sys.argv[1])).lock():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_a_killed_one_leaves_no_lock(folder: StudyFolder) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(folder.path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=r"Another selfsup is at work on '.*study'; wait for it"), folder.lock():
            pass
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with folder.lock():
        pass


def test_the_lock_is_free_again_after_an_error(folder: StudyFolder) -> None:
    with pytest.raises(RuntimeError), folder.lock():
        raise RuntimeError
    with folder.lock():
        pass


# -- cells -------------------------------------------------------------------------------------------


def test_a_cell_holds_its_files_its_row_and_what_else_is_known(folder: StudyFolder) -> None:
    folder.write_cell(row(test_accuracy=0.5), FILES, {"confusion": [[3, 1], [0, 4]]})
    place = folder.cells / CELL.id
    assert {name: data for name, data in content(place).items() if name != "metrics.json"} == FILES
    metrics = json.loads((place / "metrics.json").read_text())
    assert metrics["confusion"] == [[3, 1], [0, 4]]
    assert metrics["test_accuracy"] == 0.5
    assert CellResult.read(metrics) == row(test_accuracy=0.5)


def test_a_failed_cell_is_tried_again_and_replaced_as_a_whole(folder: StudyFolder) -> None:
    folder.write_cell(row(status="failed", message="it broke"), {"log.txt": b"Traceback"})
    assert folder.statuses() == {CELL.id: "failed"}
    assert folder.finished() == set()
    folder.write_cell(row(test_accuracy=0.5), FILES)
    assert folder.finished() == {CELL.id}
    assert set(content(folder.cells / CELL.id)) == {*FILES, "metrics.json"}
    assert [path.name for path in folder.cells.iterdir()] == [CELL.id]


@pytest.mark.parametrize("status", STATUSES)
def test_only_failed_and_pruned_cells_may_run_again(folder: StudyFolder, status: str) -> None:
    folder.write_cell(row(status=status), {})
    assert (folder.finished() == {CELL.id}) == (status not in ("failed", "pruned")) == (status in FINAL)


def test_weights_can_be_dropped_and_nothing_else_changes(folder: StudyFolder) -> None:
    folder.write_cell(row(), FILES)
    before = content(folder.cells / CELL.id)
    assert folder.weights(CELL.id).read_bytes() == b"weights"
    folder.drop_weights(CELL.id)
    folder.drop_weights(CELL.id)
    assert before.items() - content(folder.cells / CELL.id).items() == {("backbone.safetensors", b"weights")}


def test_a_file_that_cells_share_is_one_on_the_disk(folder: StudyFolder) -> None:
    other = replace(CELL, per_class=50)
    shared = folder.job_weights("job")
    shared.parent.mkdir(parents=True)
    shared.write_bytes(b"weights")
    for cell in (CELL, other):
        folder.write_cell(CellResult.of(cell, "done"), {}, shared={shared.name: shared})
    folder.clear_job("job")
    assert folder.weights(CELL.id).samefile(folder.weights(other.id))
    folder.drop_weights(CELL.id)
    assert folder.weights(other.id).read_bytes() == b"weights"


def test_without_links_a_shared_file_is_copied(folder: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("not here")

    monkeypatch.setattr(os, "link", refuse)
    shared = folder.running / "weights"
    shared.write_bytes(b"weights")
    folder.write_cell(row(), {}, shared={"backbone.safetensors": shared})
    assert folder.weights(CELL.id).read_bytes() == b"weights"


def test_work_in_progress_is_kept_by_job_and_cleared(folder: StudyFolder) -> None:
    for job in ("one", "two"):
        folder.checkpoint(job).parent.mkdir()
        folder.checkpoint(job).touch()
        folder.log(job).touch()
    folder.clear_job("one")
    folder.clear_job("never was")
    assert not folder.checkpoint("one").parent.exists()
    assert folder.checkpoint("two").exists()
    assert folder.log("two").exists()


# -- results -----------------------------------------------------------------------------------------

AWKWARD = {
    "val_accuracy": 0.1 + 0.2,
    "test_accuracy": 1 / 3,
    "final_loss": 5e-324,
    "alignment": 1e22,
    "uniformity": -0.0,
}


def test_numbers_survive_the_cell_the_csv_and_the_parquet_to_the_last_bit(folder: StudyFolder) -> None:
    folder.write_cell(row(**AWKWARD, clusters=7, train_images=100), {})
    table = folder.write_results()
    from_csv = pd.read_csv(folder.path / "results.csv", float_precision="round_trip")
    from_parquet = pd.read_parquet(folder.path / "results.parquet")
    for name, value in AWKWARD.items():
        for source in (table, from_csv, from_parquet):
            assert np.float64(source[name][0]).tobytes() == np.float64(value).tobytes(), name
    for source in (table, from_csv, from_parquet):
        assert (source["clusters"][0], source["train_images"][0], source["lr"][0]) == (7, 100, 0.06)


def test_csv_parquet_and_table_are_the_same(folder: StudyFolder) -> None:
    for number, cell in enumerate(cells_of(CONFIG)):
        message = (None, f'a "quoted", comma and é {number}', f"steps\r{number}\nof 9")[number % 3]
        values = {"test_accuracy": number / 7, "message": message}
        folder.write_cell(row(cell, STATUSES[number % 4], **values), {})
    table = folder.write_results()
    assert list(table.columns) == [column.name for column in result_columns()]
    text = dict.fromkeys(("cell", "method", "backbone", "augmentation", "per_class", "status", "message"), str)
    from_csv = pd.read_csv(folder.path / "results.csv", dtype=text, float_precision="round_trip")
    from_parquet = pd.read_parquet(folder.path / "results.parquet")
    pd.testing.assert_frame_equal(from_parquet, table, check_dtype=False)
    pd.testing.assert_frame_equal(from_csv, table.astype(from_csv.dtypes), check_exact=True)
    assert len(table) == len(cells_of(CONFIG))


def test_rows_come_in_the_order_of_the_grid_with_learning_rates_rising(folder: StudyFolder) -> None:
    cells = cells_of(CONFIG)
    for index in np.random.default_rng(0).permutation(len(cells)):
        folder.write_cell(row(cells[index]), {})
    axis = [*CONFIG.methods], [*CONFIG.augmentations, None], [str(n) for n in CONFIG.per_class]

    def place(cell: Cell) -> tuple[Any, ...]:
        n = axis[2].index(str(cell.per_class))
        return cell.seed, axis[0].index(cell.method), axis[1].index(cell.augmentation), cell.lr or 0, n

    assert list(folder.results().cell) == [cell.id for cell in sorted(cells, key=place)]


def test_cells_of_an_earlier_and_larger_grid_stay_in_the_table(folder: StudyFolder) -> None:
    stranger = Cell("simclr", "resnet18", "weak", 0.5, 7, 0)
    folder.write_cell(row(stranger), {})
    folder.write_cell(row(), {})
    assert list(folder.results().cell) == [CELL.id, stranger.id]


def test_the_tables_are_made_anew_from_the_cells_alone(folder: StudyFolder) -> None:
    folder.write_cell(row(test_accuracy=0.25), {})
    folder.write_results()
    csv, parquet = ((folder.path / f"results.{kind}").read_bytes() for kind in ("csv", "parquet"))
    for kind in ("csv", "parquet"):
        (folder.path / f"results.{kind}").write_bytes(b"torn")
    folder.write_results()
    assert (folder.path / "results.csv").read_bytes() == csv
    assert pd.read_parquet(folder.path / "results.parquet").equals(pd.read_parquet(io.BytesIO(parquet)))


def test_a_study_without_cells_has_an_empty_table_with_all_columns(folder: StudyFolder) -> None:
    assert len(folder.write_results()) == 0
    for table in (pd.read_csv(folder.path / "results.csv"), pd.read_parquet(folder.path / "results.parquet")):
        assert list(table.columns) == [column.name for column in result_columns()]
        assert len(table) == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), np.float64("nan")])
def test_numbers_that_are_not_finite_are_left_empty(folder: StudyFolder, value: float) -> None:
    folder.write_cell(row(status="diverged", final_loss=value), {})
    assert folder.results().final_loss.isna().all()
    assert '"final_loss": null' in (folder.cells / CELL.id / "metrics.json").read_text()


# -- names and JSON ------------------------------------------------------------------------------------


def test_json_keeps_names_that_are_not_valid_unicode(folder: StudyFolder) -> None:
    name = os.fsdecode(b"leaf-\xff.png")
    folder.write_json("dataset.json", {"names": [name, "Blüte.png"]})
    assert folder.read_json("dataset.json") == {"names": [name, "Blüte.png"]}
    assert folder.read_json("none.json") == {}


def test_json_refuses_what_other_readers_could_not_read() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"loss": float("nan")})


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that takes any bytes")
def test_a_study_can_live_in_a_folder_whose_name_is_not_valid_utf8(tmp_path: Path) -> None:
    study = StudyFolder(tmp_path / os.fsdecode(b"study-\xff"))
    study.create()
    with study.lock():
        study.write_config(CONFIG)
        study.write_cell(row(), FILES)
        study.write_results()
    assert study.read_config() == CONFIG
    assert study.finished() == {CELL.id}


def test_a_message_with_bytes_of_no_text_can_be_written_to_the_table(folder: StudyFolder) -> None:
    message = os.fsdecode(b"FileNotFoundError: leaf-\xff.png")
    folder.write_cell(row(status="failed", message=message), {})
    folder.write_results()
    for table in (pd.read_csv(folder.path / "results.csv"), pd.read_parquet(folder.path / "results.parquet")):
        assert table.message[0] == r"FileNotFoundError: leaf-\udcff.png"


def test_a_configuration_that_could_not_be_read_again_is_not_written(folder: StudyFolder) -> None:
    alike = CONFIG.model_copy(update={"backbones": ("resnet18@/first/w.pt", "resnet18@/second/w.pt")})
    with pytest.raises(UserError, match="must differ in more than a folder"):
        folder.write_config(alike)
    assert folder.read_config() == CONFIG


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe\x00"])
def test_a_configuration_that_is_empty_or_no_text_is_damaged_and_of_no_other_version(
    folder: StudyFolder, content: bytes
) -> None:
    (folder.path / "config.toml").write_bytes(content)
    for read in (folder.require_readable, folder.read_config, folder.create):
        with pytest.raises(
            UserError, match=r"config\.toml' is missing or damaged; bring it back from a copy, or begin"
        ):
            read()


def test_a_study_whose_lock_cannot_be_opened_is_not_said_to_be_held(folder: StudyFolder) -> None:
    assert not folder.is_locked()
    with folder.lock():
        assert folder.is_locked()
    (folder.path / ".lock").unlink(missing_ok=True)
    (folder.path / ".lock").mkdir()  # opening it fails, as on a read-only disk
    assert not folder.is_locked()
