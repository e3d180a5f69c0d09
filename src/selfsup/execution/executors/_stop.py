"""Turns Ctrl-C and SIGTERM into a flag, so that work stops between two steps and not within one."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Self

from selfsup.errors import Interrupted

#: Said at the first signal: what runs may need seconds to its next step, and to save.
STOPPING = "selfsup: stopping; running cells save their checkpoints. A second Ctrl-C does not wait for them."


class StopFlag:
    """While entered, the first SIGINT or SIGTERM sets the flag, which is said; a second Ctrl-C sets `at_once`.

    Outside the main thread, where Python has no signals, none sets it.

    Parameters
    ----------
    until : float, optional
        When it is set without a signal, on the monotonic clock.
    breaks_off : bool
        Whether a second Ctrl-C also breaks off what runs, where nobody could look at `at_once`. Whichever error that
        becomes there, is Interrupted.

    Attributes
    ----------
    at_once : bool
        Whether not to wait any more.
    """

    def __init__(self, until: float | None = None, *, breaks_off: bool = False) -> None:
        self.at_once = False
        self._breaks_off = breaks_off
        self._signal = 0
        self._until = math.inf if until is None else until
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if kind is not None and ((self.at_once and self._breaks_off) or (self() and issubclass(kind, Interrupted))):
            raise Interrupted(self._signal) from None

    def __call__(self) -> bool:
        return self._signal != 0 or time.monotonic() >= self._until

    def raise_if_set(self) -> None:
        """Raise Interrupted if a signal came, or the time is over."""
        if self():
            raise Interrupted(self._signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._signal:
            self._signal = number
            with suppress(OSError, RuntimeError):  # the terminal is gone, or was being written to
                print(STOPPING, file=sys.stderr, flush=True)
        elif number == signal.SIGINT:
            self.at_once = True
            if self._breaks_off:
                before = self._before[number]
                (before if callable(before) else signal.default_int_handler)(number, frame)  # raises KeyboardInterrupt


@contextmanager
def deferred_interrupts(*, at_once: bool = False) -> Iterator[None]:
    """Within, Ctrl-C breaks nothing off, such as an import that cannot be had again; it is raised at the end.

    With `at_once` it is answered as before, and raised at the end too if that was swallowed within, as imports may.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if at_once and callable(before):
            before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt
