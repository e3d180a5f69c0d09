"""Turns Ctrl-C and SIGTERM into a flag, so that work stops between two steps and not within one."""

from __future__ import annotations

import math
import signal
import threading
import time
from types import FrameType
from typing import Any, Self

from selfsup.errors import Interrupted


class StopFlag:
    """While entered, the first SIGINT or SIGTERM sets the flag; a second Ctrl-C interrupts at once.

    Whatever that breaks off, and whichever error it becomes there, is Interrupted.

    Outside the main thread, where Python has no signals, none sets it.

    Parameters
    ----------
    until : float, optional
        When it is set without a signal, on the monotonic clock.
    """

    def __init__(self, until: float | None = None) -> None:
        self._signal = 0
        self._until = math.inf if until is None else until
        self._at_once = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if kind is not None and (self._at_once or (self() and issubclass(kind, Interrupted))):
            raise Interrupted(self._signal) from None

    def __call__(self) -> bool:
        return self._signal != 0 or time.monotonic() >= self._until

    def raise_if_set(self) -> None:
        """Raise Interrupted if a signal came, or the time is over."""
        if self():
            raise Interrupted(self._signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._signal and number == signal.SIGINT:
            self._at_once = True
            raise KeyboardInterrupt
        self._signal = number
