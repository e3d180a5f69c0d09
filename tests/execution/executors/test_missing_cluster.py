"""Ray or Slurm where it is not installed: refused before anything is done."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import selfsup
from selfsup.errors import UserError
from selfsup.execution.watchers import Watcher
from selfsup.testing.executors import TINY_STUDY


class Listening(Watcher):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said = list[str]()

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


@pytest.mark.parametrize(
    ("executor", "present", "sentence"),
    [
        ("ray", (), r"needs Ray, which is not installed; pip install 'selfsup\[ray\]'"),
        ("slurm", (), r"needs submitit; pip install 'selfsup\[slurm\]'"),
        ("slurm", ("submitit",), "sbatch is not on this machine; run selfsup where jobs are submitted"),
    ],
)
def test_it_is_refused_before_an_image_is_decoded_and_leaves_nothing(
    executor: str, present: tuple[str, ...], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SELFSUP_CACHE", str(tmp_path / "cache"))
    for package in {"ray", "submitit"}.difference(present):
        monkeypatch.setitem(sys.modules, package, None)
    for package in present:
        pytest.importorskip(package)
    listening = Listening()
    with pytest.raises(UserError, match=sentence):
        selfsup.compare("digits", out=tmp_path / "study", executor=executor, watcher=listening, **TINY_STUDY)
    assert not listening.said
    assert not list(tmp_path.iterdir())
