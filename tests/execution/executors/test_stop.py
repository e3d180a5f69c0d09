"""A first Ctrl-C sets the flag; a second breaks off what runs, whichever error it becomes there."""

from __future__ import annotations

import signal
import time

import pytest

from selfsup.errors import Interrupted
from selfsup.execution.executors._stop import StopFlag


def test_a_first_interrupt_is_a_flag_and_the_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with StopFlag() as stop:
        assert not stop()
        signal.raise_signal(signal.SIGINT)
        assert stop()
        with pytest.raises(Interrupted) as stopped:
            stop.raise_if_set()
    assert stopped.value.signal == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("turned_into", [KeyboardInterrupt, RuntimeError])
def test_a_second_interrupt_is_no_error_of_whatever_it_breaks_off(turned_into: type[BaseException]) -> None:
    """Libraries in C may turn it into an error of their own, as torch does where a file is written."""
    with pytest.raises(Interrupted), StopFlag():
        signal.raise_signal(signal.SIGINT)
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise turned_into("broken off") from None


def test_the_flag_is_set_when_the_time_is_over() -> None:
    with StopFlag(time.monotonic() + 60) as stop:
        assert not stop()
    with StopFlag(time.monotonic()) as stop:
        assert stop()
        with pytest.raises(Interrupted) as over:
            stop.raise_if_set()
    assert over.value.signal == 0


def test_a_training_that_stops_on_the_flag_tells_why_it_was_set() -> None:
    with pytest.raises(Interrupted) as over, StopFlag(time.monotonic()):
        raise Interrupted
    assert over.value.signal == 0


def test_a_first_interrupt_after_the_time_is_over_breaks_nothing_off() -> None:
    with StopFlag(time.monotonic()) as stop:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Interrupted) as stopped:
            stop.raise_if_set()
    assert stopped.value.signal == signal.SIGINT


def test_an_error_after_a_single_interrupt_stays_one() -> None:
    with pytest.raises(RuntimeError, match="of its own"), StopFlag():
        signal.raise_signal(signal.SIGINT)
        raise RuntimeError("of its own")
