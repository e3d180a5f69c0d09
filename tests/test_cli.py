"""The command line: what people type, and what they are told."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from sklearn.datasets import load_digits

import selfsup
from selfsup.cli import main
from selfsup.config import StudyConfig
from selfsup.study import wanted_values

README = Path(__file__).parent.parent / "README.md"


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
    code = "import sys; from selfsup.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'pandas', 'sklearn', 'matplotlib', 'bokeh', 'numpy'} & set(sys.modules), 'heavy'"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout


def test_every_field_of_the_configuration_is_an_option_with_a_help_text() -> None:
    shown = call("run", "--help").output
    for name in set(StudyConfig.model_fields) - {"data", "settings"}:
        assert "--" + name.replace("_", "-") in shown
    assert all(field.description for field in StudyConfig.model_fields.values())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "/no/such/folder"], "/no/such/folder"),
        (["run", "digits", "--lrs", "fast"], "--lrs"),
        (["run", "digits", "--set", "moco"], "METHOD.NAME=VALUE"),
        (["run", "digits", "--config", "/no/such.toml"], "/no/such.toml"),
        (["run", "digits", "--methods", "mocco"], "Did you mean 'moco'"),
        (["plan", "digits", "--preset", "fast"], "fast"),
        (["report", "/no/such/study"], "not a study"),
        (["embed", "/no/such/study", ".", "-o", "x.npz"], "neither a study nor a cell"),
    ],
)
def test_what_does_not_fit_ends_with_one_sentence_and_exit_code_2(arguments: list[str], words: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output


def test_data_that_is_not_there_leaves_no_study_behind(tmp_path: Path) -> None:
    assert call("run", "/no/such/folder", "--out", tmp_path / "study").exit_code == 2
    assert not (tmp_path / "study" / "config.toml").exists()


def test_an_output_folder_with_other_files_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("two years of work")
    result = call("run", "digits", "--out", tmp_path)
    assert result.exit_code == 2
    assert "not a study and not empty" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_lists_show_what_there_is() -> None:
    methods = call("list", "methods").output
    for name in ("simclr", "moco", "byol", "supervised", "frozen", "random"):
        assert re.search(rf"^{name}\b", methods, re.MULTILINE)
    assert methods.count("https://") == 6
    assert "plant-seedlings" in call("list", "datasets").output
    assert {"weak", "simclr", "none"} <= {line.split()[0] for line in call("list", "augmentations").output.splitlines()}
    assert "recommended" in call("list", "presets").output
    assert "resnet18" in call("list", "backbones", "resnet*").output.splitlines()


def test_plan_shows_cells_time_and_disk_and_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = "--methods simclr,random --augmentations weak --lrs 0.01,0.1 --per-class 5,all --epochs 3"
    result = call("plan", "digits", *options.split(), "--backbone", "test_resnet", "--image-size", "16", "--json")
    plan = json.loads(result.stdout)
    assert plan["cells"][0] == "simclr-weak-lr0.01-n5-s0"
    assert len(plan["cells"]) == 6
    assert plan["seconds"] > 0
    assert plan["bytes"] > 0
    assert list(tmp_path.iterdir()) == []


def test_embed_writes_names_and_features(study: selfsup.Study, tmp_path: Path) -> None:
    folder = save_digits(tmp_path / "new", range(3), 4)
    result = call("embed", study.path, folder, "-o", tmp_path / "new.npz", "--device", "cpu")
    assert result.exit_code == 0, result.output
    with np.load(tmp_path / "new.npz", allow_pickle=False) as arrays:
        assert arrays["features"].shape[0] == 12
        assert arrays["features"].dtype == np.float32
        assert arrays["names"][0] == "digit 0/0.png"


def test_predict_writes_path_class_and_probability(study: selfsup.Study, tmp_path: Path) -> None:
    folder = save_digits(tmp_path / "new", range(3), 4)
    result = call("predict", study.path / "random-nall-s0", folder, "-o", tmp_path / "labels.csv", "--device", "cpu")
    assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "labels.csv")
    assert list(table.columns) == ["path", "class", "probability"]
    assert (table["class"] == table.path.str.split("/").str[0]).mean() > 0.8


def test_report_prints_its_path(study: selfsup.Study) -> None:
    assert call("report", study.path).output.strip() == str(study.path / "report.html")


def test_a_finished_study_prints_its_answer_again_as_a_table_or_as_json(study: selfsup.Study) -> None:
    shown = call("run", study.config.data, *_grid_of(study), "--out", study.path, "--quiet")
    assert shown.exit_code == 0, shown.output
    assert "simclr" in shown.stdout
    assert "report.html" in shown.stdout.splitlines()[-1]
    as_json = call("run", study.config.data, *_grid_of(study), "--out", study.path, "--quiet", "--json")
    answer = json.loads(as_json.stdout)
    assert {row["method"] for row in answer["answer"]} == {"simclr", "random"}
    assert answer["report"].endswith("report.html")


def _grid_of(study: selfsup.Study) -> list[str]:
    config = study.config
    return [
        f"--methods={','.join(config.methods)}",
        f"--augmentations={','.join(config.augmentations)}",
        "--lrs=0.03",
        "--per-class=5,all",
        f"--backbone={config.backbone}",
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
def test_every_command_in_the_readme_is_understood(command: list[str]) -> None:
    _, name, *arguments = command
    found = main.get_command(main.make_context("selfsup", ["list", "presets"]), name)
    assert found is not None
    context = found.make_context(name, list(arguments))
    given = {k: v for k, v in context.params.items() if v is not None and k in {*StudyConfig.model_fields}}
    if name in {"run", "plan"}:
        given.pop("settings")
        wanted_values(given.pop("data"), preset=context.params["preset"], config=None, options=given)


def test_the_readme_says_how_many_cells_each_preset_has() -> None:
    from selfsup import preparation
    from selfsup.config import load_values, validate

    text = README.read_text(encoding="utf-8")
    for preset in ("quick", "recommended", "full"):
        cells = preparation.lay_out(validate(load_values(preset=preset)), labelled=True).cells
        assert re.search(rf"^\| `{preset}` \|.*\| {len(cells)} \|$", text, re.MULTILINE), f"{preset}: {len(cells)}"
