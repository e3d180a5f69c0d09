"""What every executor promises, whichever there are; each one's own tests run a study with `check_executor`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from selfsup.cli.commands import main
from selfsup.config.schema import StudyConfig
from selfsup.config.toml_files import load_values
from selfsup.errors import UserError
from selfsup.execution.executors import executor_name, executor_names, executor_options, load_executor, take_executor
from selfsup.record.folder import StudyFolder
from selfsup.testing.executors import check_executor

pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.mark.parametrize("name", executor_names())
def test_it_is_made_without_options_and_knows_of_no_jobs_in_a_new_study(name: str, tmp_path: Path) -> None:
    executor = load_executor(name)
    assert executor_name(executor) == name
    assert not executor.has_jobs(StudyFolder(tmp_path))


@pytest.mark.parametrize("name", executor_names())
def test_an_option_that_it_does_not_have_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"--executor {name}: 'nonsense'"):
        load_executor(name, nonsense=1)


def test_no_option_has_the_name_of_a_field_of_the_configuration() -> None:
    names = {option.name for option in executor_options()}
    assert not names & {*StudyConfig.model_fields, "executor", "config", "preset", "out", "quiet", "as_json"}


def test_every_option_is_described_and_on_the_command_line() -> None:
    shown = CliRunner().invoke(main, ["run", "--help"]).output
    assert "--executor" in shown
    for option in executor_options():
        assert option.field.description
        assert "--" + option.name.replace("_", "-") in shown


def test_reading_the_options_imports_nothing_heavy() -> None:
    code = (
        "import sys; from selfsup.execution.executors import executor_options\n"
        "assert executor_options()\n"
        "assert not {'torch', 'numpy', 'pandas', 'ray', 'submitit'} & set(sys.modules), 'heavy'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_executor_and_options_can_stand_in_a_toml_file(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text('executor = "slurm"\npartition = "gpu"\ntime = "1-00:00:00"\nseeds = 5\n[sbatch]\nnice = "100"\n')
    values = load_values(file=file)
    executor = take_executor(values)
    assert values == {"seeds": 5}
    assert executor_name(executor) == "slurm"
    options = executor.options
    assert (options.partition, options.time, options.sbatch) == ("gpu", "1-00:00:00", {"nice": "100"})


def test_an_option_of_another_executor_is_refused_and_its_owner_named() -> None:
    with pytest.raises(UserError, match="--partition is an option of --executor slurm, and this is --executor local"):
        take_executor({"partition": "gpu"})
    with pytest.raises(UserError, match="--executor ray or --executor slurm"):
        take_executor({"executor": "inline", "gpus": 1})


def test_an_unknown_executor_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="Did you mean 'slurm'"):
        take_executor({"executor": "slrum"})


# -- the checks themselves ---------------------------------------------------------------------------

#: An executor of a few lines; each test puts one more into its class.
OUTSIDE = """
'''As inline, but for one thing.'''
from dataclasses import replace
from selfsup.execution.executors.base import EpochDone
from selfsup.execution.executors.inline import InlineExecutor
from selfsup.training.device import Hardware

class Outside(InlineExecutor):
    def run(self, folder, jobs, resources, listener):
        {}

executor = Outside
"""
RUN = "super().run(folder, jobs, resources, listener)"
BROKEN = {
    "imprecise": (
        "super().run(folder, jobs, replace(resources, hardware=Hardware('cpu', 'bf16')), listener)",
        "the numbers are not those of the inline executor",
    ),
    "untidy": (
        f"{RUN}; left = folder.running / 'job' / 'log.txt'; left.parent.mkdir(); left.touch()",
        r"work in progress was left behind: \['log.txt'\]",
    ),
    "secretive": (
        "super().run(folder, jobs, resources, lambda event: event.job.cells[0].lr and listener(event))",
        "a job was not heard of",
    ),
    "taciturn": (
        "super().run(folder, jobs, resources, lambda event: isinstance(event, EpochDone) or listener(event))",
        r"moco-.*: heard \['JobStarted', 'JobDone'\]",
    ),
    "talkative": (
        "super().run(folder, jobs, resources, lambda event: listener(event) or listener(event))",
        r"heard \['JobStarted', 'JobStarted'",
    ),
}


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each check finds the study of the inline executor that an earlier one has run."""
    return tmp_path_factory.mktemp("studies")


def outside(name: str, run: str, folder: Path) -> Path:
    (folder / f"{name}.py").write_text(OUTSIDE.format(run))
    return folder / f"{name}.py"


def test_the_checks_accept_an_outside_executor(studies: Path, tmp_path: Path) -> None:
    check_executor("outside", studies, plugin=outside("outside", RUN, tmp_path))


@pytest.mark.parametrize("name", BROKEN)
def test_the_checks_name_the_promise_that_an_executor_breaks(name: str, studies: Path, tmp_path: Path) -> None:
    run, promise = BROKEN[name]
    with pytest.raises(AssertionError, match=promise):
        check_executor(name, studies, plugin=outside(name, run, tmp_path))
