"""Consoles of few characters: nothing that is printed ends in an error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from selfsup.cli.console import stopped_by
from selfsup.errors import Interrupted

SHOW = """
from selfsup.cli.console import write_what_consoles_have
write_what_consoles_have()
print("0.90–0.95, 3 × 3 … α-ReQ Größe 猫")
"""


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", r"0.90-0.95, 3 x 3 ... alpha-ReQ Gr\xf6\xdfe \u732b"),
        ("cp437", r"0.90-0.95, 3 x 3 ... α-ReQ Größe \u732b"),
        ("latin-1", r"0.90-0.95, 3 × 3 ... alpha-ReQ Größe \u732b"),
        ("utf-8", "0.90–0.95, 3 × 3 … α-ReQ Größe 猫"),
        ("ascii:replace", "0.90?0.95, 3 ? 3 ? ?-ReQ Gr??e ?"),
    ],
)
def test_what_an_encoding_lacks_is_written_plainly(encoding: str, shown: str) -> None:
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", SHOW], env=environment, capture_output=True, check=True)
    assert done.stdout.decode(encoding.partition(":")[0]).strip() == shown


@pytest.mark.parametrize(("stop", "number"), [(Interrupted(15), signal.SIGTERM), (KeyboardInterrupt(), signal.SIGINT)])
def test_the_signal_is_found_behind_the_errors_that_it_became(stop: BaseException, number: int) -> None:
    try:
        try:
            try:
                raise stop
            except BaseException:
                raise AttributeError("partially initialized module 'pandas'")  # noqa: B904
        except AttributeError as error:
            raise SystemError("returned a result with an exception set") from error
    except SystemError as error:
        assert stopped_by(error) == number
    assert stopped_by(stop) == number
    assert stopped_by(SystemError("of its own")) == 0
