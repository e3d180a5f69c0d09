"""The command line: what people type, and what they are told."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from sklearn.datasets import load_digits

import selfsup
from selfsup.cli.commands import main
from selfsup.config.schema import StudyConfig
from selfsup.config.toml_files import load_values
from selfsup.config.validation import validate
from selfsup.execution import request
from selfsup.execution.method_choice import resolve_methods
from selfsup.execution.request import requested_run
from selfsup.execution.study_grid import lay_out
from selfsup.methods import method_names

README = Path(__file__).parents[2] / "README.md"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def save_digits(folder: Path, values: range, per_class: int) -> Path:
    digits = load_digits()
    for value in values:
        (folder / f"digit {value}").mkdir(parents=True)
        for number, image in enumerate(digits.images[digits.target == value][:per_class]):
            picture = Image.fromarray((image * 255 / 16).astype(np.uint8))
            picture.save(folder / f"digit {value}" / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> selfsup.Study:
    root = tmp_path_factory.mktemp("cli")
    return selfsup.compare(
        save_digits(root / "data", range(3), 30),
        out=root / "study",
        executor="inline",
        methods="simclr,random",
        augmentations="weak",
        lrs="0.03",
        per_class="5,all",
        backbone="test_resnet",
        image_size=16,
        epochs=2,
        keep="all",
    )


def test_help_needs_no_torch_and_half_a_second() -> None:
    code = "import sys; from selfsup.cli.commands import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'pandas', 'sklearn', 'matplotlib', 'bokeh', 'numpy'} & set(sys.modules), 'heavy'"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout


def test_every_field_of_the_configuration_is_an_option_with_a_help_text() -> None:
    shown = call("run", "--help").output
    for name in set(StudyConfig.model_fields) - {"data", "settings"}:
        assert "--" + name.replace("_", "-") in shown
    assert all(field.description for field in StudyConfig.model_fields.values())


@pytest.mark.parametrize("command", ["run", "plan"])
def test_help_shows_the_values_that_hold_without_a_preset(command: str) -> None:
    shown = " ".join(call(command, "--help").output.split())
    for name, value in load_values(preset="recommended").items():
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        option = re.search(rf"--{name.replace('_', '-')} VALUE .*?\[(.*?)\]", shown)
        assert option is not None
        assert option[1].removesuffix(".0").replace(" ", "") == text.replace(" ", "")  # long words are wrapped


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "/no/such/folder"], "/no/such/folder"),
        (["run", "digits", "--lrs", "fast"], "--lrs"),
        (["run", "digits", "--set", "moco"], "METHOD.NAME=VALUE"),
        (["run", "digits", "--config", "/no/such.toml"], "/no/such.toml"),
        (["run", "digits", "--methods", "mocco"], "Did you mean 'moco'"),
        (["run", "digits", "--config", ""], "--config is empty"),
        (
            ["plan", "digits", "--set", "moco.temperature=hot"],
            "moco.temperature = 'hot' does not fit: must be a number",
        ),
        (["plan", "digits", "--methods", "simclr", "--set", "moco.temprature=1"], "Did you mean 'temperature'"),
        (["plan", "digits", "--preset", "fast"], "fast"),
        (["report", "/no/such/study"], "not a study"),
        (["embed", "/no/such/study", ".", "-o", "x.npz"], "neither a study nor a cell"),
        (["embed", "/no/such/study", ".", "-o", ""], "-o is empty, as an unset variable is; name a file or folder."),
        (["embed", "/no/such/study", "", "-o", "x.npz"], "IMAGES is empty"),
        (["status", ""], "STUDY is empty"),
        (["status", "x" * 5000], f"'{'x' * 100}…' cannot be used (File name too long); check the path"),
        (["plan", "x" * 5000], "cannot be used (File name too long)"),
        (["plan", "digits", "--pool", "x" * 5000], "cannot be used (File name too long)"),
        (["plan", "digits", "--out", "x" * 5000], "cannot be used (File name too long)"),
        (["report", ".", ""], "STUDY... is empty"),
        (["plan", "digits", "--out", ""], "--out is empty"),
        (["plan", ""], "--data = '' does not fit: must be text that is not empty"),
        (["run", "digits", "--methods", "zzz"], "random, simclr"),
        (["list", "methods", "zz*"], "No name of `selfsup list methods` matches 'zz*'; leave it out to see them all."),
        (["predict", "/no/such/study", ".", "-o", "x.npz"], "-o x.npz ends in none of .csv, .parquet"),
        (["embed", "/no/such/study", ".", "-o", "x.txt"], "-o x.txt ends in none of .npz, .csv, .parquet"),
    ],
)
def test_what_does_not_fit_ends_with_one_sentence_and_exit_code_2(arguments: list[str], words: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output


def test_a_value_in_a_file_is_not_called_an_option(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text("epochs = -1\n")
    assert f"epochs = -1 in '{file}' does not fit: must be" in call("plan", "digits", "--config", file).stderr
    assert "--epochs = '-2' does not fit" in call("plan", "digits", "--config", file, "--epochs=-2").stderr


def test_data_that_is_not_there_leaves_no_study_behind(tmp_path: Path) -> None:
    assert call("run", "/no/such/folder", "--out", tmp_path / "studies" / "new").exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_with_other_files_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("two years of work")
    result = call("run", "digits", "--out", tmp_path)
    assert result.exit_code == 2
    assert "not a study and not empty" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_became_another_error_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """As within an import that loses it, and whose module is then there in part."""

    def broken_off(*_: object, **__: object) -> None:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(number)
        raise RecursionError("where the module is used")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr("selfsup.study.compare", broken_off)
    try:
        result = call("run", "digits")
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.exit_code == 128 + number
    assert result.stderr == "selfsup: stopped; the same command goes on from here.\n"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


AT_THE_FIRST_IMPORT = """
import signal, sys

class Finder:
    def find_spec(self, name, *_):
        if name == "selfsup.cli.commands":
            signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Finder())
from {module} import {function}
{function}()
"""


def test_an_interrupt_before_the_command_is_imported_ends_with_one_line() -> None:
    scripts = tomllib.loads((README.parent / "pyproject.toml").read_text())["project"]["scripts"]
    module, function = scripts["selfsup"].split(":")
    code = AT_THE_FIRST_IMPORT.format(module=module, function=function)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "selfsup: stopped.\n")


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_stops_a_study_after_its_last_cell_is_told_that_the_report_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    grid = ["--methods=random", "--backbone=test_resnet", "--image-size=16", "--per-class=5", "--references=none"]
    drawing = selfsup.study._reporting
    stop = {"write_page": lambda growing: signal.raise_signal(number)}
    monkeypatch.setattr(selfsup.study, "_reporting", lambda path: replace(drawing(path), **stop))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        stopped = call("run", "digits", *grid, "--threads=1", "--executor=inline", "--quiet", "--out", tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert stopped.exit_code == 128 + number
    left = "1 cell finished, and only the report is missing: the same command writes it, and so does `selfsup report`"
    assert stopped.stderr == f"selfsup: stopped; {left}.\n"
    assert list(selfsup.load_study(tmp_path).results.status) == ["done"]


def test_a_pattern_narrows_every_list() -> None:
    names = {line.split()[0] for line in call("list", "methods", "moco*").output.splitlines() if line[0] != " "}
    assert names == {"moco", "moco-v3"}
    assert [line.split()[0] for line in call("list", "presets", "q*").output.splitlines()] == ["quick"]
    assert [line.split()[0] for line in call("list", "augmentations", "b*").output.splitlines()] == ["byol"]


def test_lists_show_what_there_is() -> None:
    methods = call("list", "methods").output
    names = {name for name in method_names() if name != "reference"}  # which --references brings, not --methods
    assert {line.split()[0] for line in methods.splitlines() if not line.startswith(" ")} == names
    assert methods.count("https://") == len(names)
    assert "plant-seedlings" in call("list", "datasets").output
    assert {"weak", "simclr", "none"} <= {line.split()[0] for line in call("list", "augmentations").output.splitlines()}
    assert "recommended" in call("list", "presets").output
    assert "resnet18" in call("list", "backbones", "resnet*").output.splitlines()


def test_plan_shows_cells_time_and_disk_and_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = "--methods simclr,random --augmentations weak --lrs 0.01,0.1 --per-class 5,all --epochs 3"
    result = call("plan", "digits", *options.split(), "--backbone", "test_resnet", "--image-size", "16", "--json")
    plan = json.loads(result.stdout)
    assert plan["cells"][0] == "simclr-test_resnet-weak-lr0.01-n5-s0"
    assert len(plan["cells"]) == 6
    assert plan["seconds"] > 0
    assert plan["bytes"] > 0
    assert list(tmp_path.iterdir()) == []


def test_a_plan_begins_with_time_and_disk_and_names_twelve_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--methods=random", "--references=none", "--image-size=16", "--per-class=5", "--backbone=test_resnet"]
    first, *others = call("plan", "digits", *options, "--seeds", "15").stdout.splitlines()
    assert first.startswith("15 cells of 1797 images of 10 classes")
    assert re.search(r": about \d+ s with \d workers? of .* for the decoded images\.$", first)
    assert others[-13:] == [*(f"random-test_resnet-n5-s{seed}" for seed in range(12)),
                            "… and 3 more cells; --json lists all."]  # fmt: skip
    assert "--json" not in call("plan", "digits", *options, "--seeds", "12").stdout


def test_a_plan_for_a_study_says_what_is_finished_and_what_is_left(study: selfsup.Study) -> None:
    grid = [*_grid_of(study), "--out", study.path]
    done = call("plan", study.config.data, *grid)
    assert done.exit_code == 0, done.output
    assert (
        "4 cells of 90 images of 3 classes ('digit 0', 'digit 1', 'digit 2') in views of 16 px: all finished, nothing "
        in done.stdout
    )
    more = call("plan", study.config.data, *grid, "--lrs=0.03,0.1")
    assert "simclr-test_resnet-weak-lr0.03-n5-s0  finished\n" in more.stdout
    assert "simclr-test_resnet-weak-lr0.1-n5-s0\n" in more.stdout
    assert "px: 4 finished, 2 left;" in more.stdout
    assert re.search(r"left; about \d+ s with \d workers? of \d", more.stdout)
    values = json.loads(call("plan", study.config.data, *grid, "--json").stdout)
    assert set(values["finished"]) == set(values["cells"]) == set(study.results.cell)
    assert values["seconds"] == 0
    other = call("plan", study.config.data, *grid, "--epochs=3")
    assert (other.exit_code, "epochs: 2 in the study, 3 now" in other.stderr) == (2, True)


@pytest.mark.usefixtures("without_pictures")
def test_a_plan_refuses_other_images_than_the_study_has(tmp_path: Path) -> None:
    data = save_digits(tmp_path / "d", range(2), 20)
    (data / "digit 0/broken.png").write_bytes(b"no picture")
    grid = ["--methods=random", "--backbone=test_resnet", "--image-size=16", "--per-class=5", f"--out={tmp_path / 's'}"]
    assert call("run", data, *grid, "--quiet", "--executor=inline").exit_code == 0
    assert "all finished" in call("plan", data, *grid).stdout
    gone = data / "digit 1/3.png"
    content = gone.read_bytes()
    gone.unlink()
    missing = call("plan", data, *grid)
    assert missing.exit_code == 2
    assert "1 missing or unreadable ('digit 1/3.png')" in missing.stderr
    gone.write_bytes(content)
    gone.with_name("more.png").write_bytes(content)
    added = call("plan", data, *grid)
    assert (added.exit_code, "1 added ('digit 1/more.png')" in added.stderr) == (2, True)


@pytest.mark.usefixtures("without_pictures")
def test_a_run_says_what_it_decided_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    grid = ["--methods=random", "--backbone=test_resnet", "--per-class=5,4000", "--executor=inline", "--threads=1"]
    said = call("run", *grid)
    assert "No images were named, so these are scikit-learn's digits" in said.output
    assert "Views of 64 px" in said.output
    scarce = r"No class has more than 1\d\d images to train on, so --per-class 4000 means all of them\."
    assert re.search(scarce, said.output)
    planned = call("plan", "digits", *grid[:3], "--image-size=16")
    assert len(re.findall(scarce, planned.output)) == 1
    again = call("run", *grid)
    assert "No images were named" not in again.output
    assert "Views of" not in again.output


def test_images_that_cannot_be_opened_count_nowhere_in_a_plan(tmp_path: Path) -> None:
    folder = save_digits(tmp_path / "data", range(2), 10)
    (folder / "digit 0").joinpath("empty.png").touch()
    save_digits(tmp_path / "more", range(2, 3), 4)
    (tmp_path / "more" / "digit 2").rename(folder / "unlabelled")
    shown = call("plan", folder, "--methods=random", "--backbone=test_resnet")
    assert "3 cells of 24 images of 2 classes " in shown.stdout, shown.output
    assert "Images without a label: 4 of 24; " in shown.stdout


def test_a_plan_says_which_files_cannot_be_opened(tmp_path: Path) -> None:
    folder = save_digits(tmp_path / "data", range(2), 10)
    (folder / "digit 0" / "empty.png").touch()
    (folder / "digit 0").rename(folder / "the '0'")
    (folder / "digit 1" / "broken.png").write_bytes(b"no picture")
    (folder / "digit 1" / "notes.txt").touch()
    shown = call("plan", folder, "--methods=random", "--backbone=test_resnet")
    lines = (
        "Files and folders that cannot be read, set aside: 1 (digit 1/broken.png: ",
        "Files of no bytes, set aside: 1 (the '0'/empty.png: the file holds no bytes).\n",
        "Files not taken for images: 1 (*.txt: 1, such as 'digit 1/notes.txt').\n",
        "No class has more than 7 images to train on, so --per-class 20 means all of them.\n",
        "No image was decoded for these observations.\n",
        "3 cells of 20 images of 2 classes ('digit 1', \"the '0'\") in views of ",
    )
    for line in lines:
        assert shown.stdout.count(line) == 1, shown.output


def test_a_stopped_plan_promises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("selfsup.execution.estimate.plan_study", stop)
    monkeypatch.setattr("selfsup.study.compare", stop)
    assert (call("plan", "digits").stderr, call("plan", "digits").exit_code) == ("selfsup: stopped.\n", 130)
    assert call("run", "digits").stderr == "selfsup: stopped; the same command goes on from here.\n"


def test_embed_writes_names_and_features(study: selfsup.Study, tmp_path: Path) -> None:
    folder = save_digits(tmp_path / "new", range(3), 4)
    result = call("embed", study.path, folder, "-o", tmp_path / "new.npz", "--device", "cpu")
    assert result.exit_code == 0, result.output
    with np.load(tmp_path / "new.npz", allow_pickle=False) as arrays:
        assert arrays["features"].shape[0] == 12
        assert arrays["features"].dtype == np.float32
        assert arrays["names"][0] == "digit 0/0.png"
        features, names = arrays["features"], arrays["names"]
    for ending, read in (("csv", pd.read_csv), ("parquet", pd.read_parquet)):
        assert call("embed", study.path, folder, "-o", tmp_path / f"new.{ending}", "--device", "cpu").exit_code == 0
        table = read(tmp_path / f"new.{ending}")
        assert table.path.tolist() == names.tolist()
        np.testing.assert_array_equal(table.filter(like="feature_").to_numpy(np.float32), features)


def test_predict_writes_path_class_and_probability(study: selfsup.Study, tmp_path: Path) -> None:
    folder = save_digits(tmp_path / "new", range(3), 4)
    asked = "predict", study.path / "random-test_resnet-nall-s0", folder, "--device", "cpu"
    result = call(*asked, "-o", tmp_path / "labels.csv")
    assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "labels.csv")
    assert list(table.columns) == ["path", "class", "probability"]
    assert (table["class"] == table.path.str.split("/").str[0]).mean() > 0.8
    assert call(*asked).stdout.encode() == (tmp_path / "labels.csv").read_bytes()
    assert call(*asked, "-o", tmp_path / "labels.parquet").exit_code == 0
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "labels.parquet"), table)


@pytest.mark.parametrize(
    "command",
    [
        "run digits --preset quick --out STUDY",
        "plan digits --preset quick --out STUDY",
        "status STUDY",
        "report STUDY",
        "report STUDY STUDY",
        "embed STUDY images -o new.npz",
        "predict STUDY images -o labels.csv",
    ],
)
def test_a_study_of_another_version_is_refused_by_every_command_and_stays_as_it_is(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    old = tmp_path / "STUDY"
    (old / "running" / "aside").mkdir(parents=True)  # what a run of this version would sweep away
    (old / "cells").mkdir()
    shutil.copyfile(Path(__file__).parents[1] / "config" / "written_by_0_1_0.toml", old / "config.toml")
    before = sorted(old.rglob("*"))
    refused = call(*command.split())
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "STUDY' was written by selfsup 0.1; use `pip install 'selfsup==0.1.*'`" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert sorted(old.rglob("*")) == before


def test_a_plan_that_names_no_study_asks_nothing_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    default = tmp_path / "studies" / "digits"
    default.mkdir(parents=True)
    (default / "config.toml").write_text("of another version")
    planned = call("plan", "digits", "--methods=random", "--backbone=test_resnet", "--image-size=16")
    assert planned.exit_code == 0, planned.output


def test_report_prints_its_path(study: selfsup.Study) -> None:
    assert call("report", study.path).output.strip() == str(study.path / "report.html")


@pytest.mark.parametrize(
    ("name", "begins"), [("leaf.HTML", b"<!doctype html>"), ("leaf.pdf", b"%PDF"), ("leaf.md", b"# ")]
)
def test_the_report_of_one_study_goes_to_a_file_of_ones_own(
    study: selfsup.Study, tmp_path: Path, name: str, begins: bytes
) -> None:
    standing = (study.path / "report.html").read_bytes()
    shown = call("report", study.path, "-o", tmp_path / name)
    assert (shown.exit_code, shown.stdout) == (0, f"{tmp_path / name}\n"), shown.output
    assert (tmp_path / name).read_bytes().startswith(begins)
    assert (study.path / "report.html").read_bytes() == standing
    if name.endswith(".md"):
        pictures = re.findall(r"\]\((leaf-figures/.+)\)", (tmp_path / name).read_text(encoding="utf-8"))
        assert pictures
        assert all((tmp_path / picture).is_file() for picture in pictures)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["-o", "page.txt"], "-o page.txt ends in none of .html, .md, .pdf"),
        (["-o", "page.html", "--format", "pdf"], "-o page.html ends in none of .pdf"),
        (["-o", "none/page.html"], "there is no folder 'none'"),
    ],
)
def test_a_report_goes_to_no_file_that_says_otherwise(study: selfsup.Study, given: list[str], words: str) -> None:
    refused = call("report", study.path, *given)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert words in refused.stderr


def test_several_studies_make_one_page_in_html(study: selfsup.Study, tmp_path: Path) -> None:
    refused = call("report", study.path, study.path, "-o", tmp_path / "all.pdf")
    assert refused.exit_code == 2
    assert "Several studies make one HTML page, and no pdf; name one study, or a file.html." in refused.stderr


def test_a_report_by_another_metric_needs_no_run_and_leaves_the_study_its_own(study: selfsup.Study) -> None:
    written = call("report", study.path, "--format", "md", "--metric", "balanced-accuracy", "--margin", "0.05")
    assert written.exit_code == 0, written.output
    text = (study.path / "report.md").read_text(encoding="utf-8")
    assert "**Compared by balanced accuracy. " in text
    assert "| within 5 points |" in text
    assert study.config.metric == "accuracy"
    refused = call("report", study.path, "--metric", "kappa")
    assert refused.exit_code == 2
    assert "--metric = 'kappa' does not fit: must be 'auto', 'accuracy', 'balanced-accuracy'" in refused.stderr


def test_a_finished_study_prints_its_answer_again_as_a_table_or_as_json(study: selfsup.Study) -> None:
    shown = call("run", study.config.data, *_grid_of(study), "--out", study.path, "--quiet")
    assert shown.exit_code == 0, shown.output
    assert "simclr" in shown.stdout
    assert "report.html" in shown.stdout.splitlines()[-1]
    as_json = call("run", study.config.data, *_grid_of(study), "--out", study.path, "--quiet", "--json")
    answer = json.loads(as_json.stdout)
    assert {row["method"] for row in answer["answer"]} == {"simclr", "random"}
    assert answer["report"].endswith("report.html")


def test_a_run_with_nothing_to_do_says_so(study: selfsup.Study) -> None:
    for ending in ("; the report is written anew.\n", ".\n"):  # the second time it is the very same command
        again = call("run", study.config.data, *_grid_of(study), "--out", study.path, "--margin=0.02")
        assert f"Nothing to do: 4 cells finished before{ending}" in again.stderr
        assert "worker" not in again.stderr
    assert again.stderr.count("\n") == 1
    assert "simclr" in again.stdout


def test_a_run_says_which_files_were_set_aside_and_how_many_workers_it_has(tmp_path: Path) -> None:
    folder = save_digits(tmp_path / "data", range(2), 10)
    (folder / "digit 0" / "empty.png").touch()
    (folder / "digit 1" / "broken.png").write_bytes(b"no picture")
    grid = ["--methods=random", "--backbone=test_resnet", "--image-size=16", "--per-class=5", "--threads=1"]
    result = call("run", folder, *grid, "--workers=500", "--out", tmp_path / "study")
    assert result.exit_code == 0, result.output
    audit = tmp_path / "study" / "audit.csv"
    assert "Files of no bytes, set aside: 1 (digit 0/empty.png: the file holds no bytes).\n" in result.stderr
    assert "cannot be read, set aside: 1 (digit 1/broken.png: not an image in a known format).\n" in result.stderr
    assert f"What was noticed in the images is listed in {audit}.\n" in result.stderr
    assert set(pd.read_csv(audit).problem) >= {"empty", "unreadable"}
    assert "1 worker with 1 thread; more than that (--workers 500) would have nothing to do." in result.stderr
    assert "\n1 cell; study in" in result.stderr


def test_a_run_that_is_refused_names_no_file_that_is_gone(tmp_path: Path) -> None:
    folder = save_digits(tmp_path / "data", range(2), 10)
    (folder / "digit 0" / "empty.png").touch()
    result = call("run", folder, "--methods=random", "--show-channels=9", "--out", tmp_path / "study")
    assert (result.exit_code, (tmp_path / "study").exists()) == (2, False)
    assert "Files of no bytes, set aside: 1" in result.stderr
    assert "audit.csv" not in result.stderr


@pytest.mark.usefixtures("without_pictures")
def test_without_labels_the_table_shows_the_measures_that_need_none(tmp_path: Path) -> None:
    folder = save_digits(tmp_path / "data", range(3), 20)
    grid = ["--unlabelled", "--methods=random", "--backbones=test_resnet,test_vit", "--image-size=32", "--seeds=2"]
    grid += ["--executor=inline", "--threads=1", "--out", str(tmp_path / "study")]
    result = call("run", folder, *grid, "--quiet")
    assert result.exit_code == 0, result.output
    heading, *rows = result.stdout.splitlines()
    for name in ("eff. rank", "stability", "silhouette"):
        assert name in heading
    table = selfsup.load_study(tmp_path / "study").results
    for network, row in zip(("test_resnet", "test_vit"), rows, strict=False):
        means = table[table.backbone == network][["effective_rank", "cluster_stability", "silhouette"]].mean()
        shown = f"{means.effective_rank:.1f} {means.cluster_stability:.3f} {means.silhouette:.3f} 2"
        assert " ".join(row.split()).endswith(shown)
    answer = json.loads(call("run", folder, *grid, "--quiet", "--json").stdout)["answer"]
    assert answer[0]["effective_rank"] == pytest.approx(table[table.backbone == "test_resnet"].effective_rank.mean())


def _grid_of(study: selfsup.Study) -> list[str]:
    config = study.config
    return [
        f"--methods={','.join(config.methods)}",
        f"--augmentations={','.join(config.augmentations)}",
        "--lrs=0.03",
        "--per-class=5,all",
        f"--backbones={','.join(config.backbones)}",
        f"--image-size={config.image_size}",
        f"--epochs={config.epochs}",
        f"--batch-size={config.batch_size}",
        f"--warmup-epochs={config.warmup_epochs}",
    ]


def readme_commands() -> list[list[str]]:
    blocks = re.findall(r"```console\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("$ selfsup") or "selfsup " in line]


@pytest.mark.parametrize("command", [c for c in readme_commands() if c[0] == "selfsup"], ids=" ".join)
def test_every_command_in_the_readme_is_understood(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(request, "require_there", lambda *_, **__: None)  # its folders are not here
    (tmp_path / "my_method.py").write_text("from selfsup.methods import Method\nclass Mine(Method):\n    pass\n")
    _, name, *arguments = command
    found = main.get_command(main.make_context("selfsup", ["list", "presets"]), name)
    assert found is not None
    context = found.make_context(name, list(arguments))
    given = {k: v for k, v in context.params.items() if v is not None and k in {*StudyConfig.model_fields}}
    if name in {"run", "plan"}:
        given.pop("settings")
        requested_run(given.pop("data"), preset=context.params["preset"], config=None, options=given)


def test_the_readme_says_how_many_cells_each_preset_has() -> None:
    text = README.read_text(encoding="utf-8")
    for preset in ("quick", "recommended", "full"):
        config = resolve_methods(validate(load_values(preset=preset)).with_side_for([]), 1000, lambda line: None)
        cells = lay_out(config, labelled=True).cells
        assert re.search(rf"^\| `{preset}` \|.*\| {len(cells)} \|$", text, re.MULTILINE), f"{preset}: {len(cells)}"
    alone = lay_out(validate({**load_values(preset="quick"), "references": "none"}), labelled=True)
    assert f"({len(alone.cells)} cells under `quick`)" in text


@pytest.mark.parametrize("closed", [BrokenPipeError(), SystemExit(1)], ids=["ours", "that of rich"])
@pytest.mark.parametrize(("status", "code"), [("done", 0), ("failed", 1)])
def test_an_answer_that_nobody_reads_leaves_the_exit_code_to_the_study(
    monkeypatch: pytest.MonkeyPatch, closed: BaseException, status: str, code: int
) -> None:
    def unread(*_: object) -> None:
        raise closed

    monkeypatch.setattr(
        "selfsup.study.compare", lambda **_: SimpleNamespace(results=pd.DataFrame({"status": [status]}))
    )
    monkeypatch.setattr("selfsup.cli.answer_text.show_answer", unread)
    assert call("run", "digits").exit_code == code
