"""Consoles of few characters: nothing that is printed ends in an error."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

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


LOSE_THE_FIRST = """
import signal
from selfsup.cli.console import Interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)
with Interrupts() as interrupts:
    try:
        signal.raise_signal(signal.SIGINT)
    except BaseException:
        print("lost", int(interrupts.came), flush=True)
    signal.raise_signal(signal.SIGINT)
    print("not reached")
"""


def test_a_second_interrupt_ends_the_process_where_the_first_was_lost() -> None:
    done = subprocess.run([sys.executable, "-c", LOSE_THE_FIRST], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "lost 2\n", "selfsup: stopped.\n")
