"""A first Ctrl-C sets the flag; a second does not wait, or breaks off what runs, whichever error it becomes there."""

from __future__ import annotations

import contextlib
import signal
import time

import pytest

from selfsup.errors import Interrupted
from selfsup.execution.executors._stop import STOPPING, StopFlag, deferred_interrupts


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
    with pytest.raises(Interrupted), StopFlag(breaks_off=True):
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


def test_a_first_interrupt_is_answered_at_once_and_once(capsys: pytest.CaptureFixture[str]) -> None:
    with StopFlag():
        signal.raise_signal(signal.SIGINT)
        assert capsys.readouterr().err == f"{STOPPING}\n"
        signal.raise_signal(signal.SIGINT)
    assert capsys.readouterr().err == ""


def test_a_terminal_that_is_gone_breaks_nothing_off(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stderr", full)
        with StopFlag() as stop:
            signal.raise_signal(signal.SIGINT)
        full.close = lambda: None  # what it still holds cannot be written
    assert stop()


def test_a_second_interrupt_breaks_off_nothing_where_the_flag_is_looked_at() -> None:
    imported = False
    with StopFlag() as stop:
        signal.raise_signal(signal.SIGINT)
        assert not stop.at_once
        signal.raise_signal(signal.SIGINT)
        imported = True
    assert imported
    assert stop.at_once


def test_an_interrupt_that_is_swallowed_within_is_raised_at_the_end() -> None:
    reached = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where the tests run in the background
    try:
        with pytest.raises(KeyboardInterrupt), deferred_interrupts(at_once=True):
            with contextlib.suppress(BaseException):  # as a module may, that tries an import
                signal.raise_signal(signal.SIGINT)
                reached.append("not at once")
            reached.append("the end")
    finally:
        signal.signal(signal.SIGINT, before)
    assert reached == ["the end"]


def test_an_interrupt_is_deferred_to_the_end_of_what_must_not_be_broken_off() -> None:
    before = signal.getsignal(signal.SIGINT)
    written = []
    with pytest.raises(KeyboardInterrupt), deferred_interrupts():
        for part in (1, 2):
            signal.raise_signal(signal.SIGINT)
            written.append(part)
    assert written == [1, 2]
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(LookupError, match="of its own"), deferred_interrupts():
        raise LookupError("of its own")
