"""What consoles may lack: characters, and a user who waits for a program that is stopping."""

from __future__ import annotations

import codecs
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, Self

#: For characters of ours that an old code page does not have; what users named is escaped.
PLAIN = {"–": "-", "—": "-", "−": "-", "…": "...", "×": "x", "±": "+-", "≤": "<=", "≥": ">=", "α": "alpha", "→": "->"}

#: What Python sets for what cannot be encoded, where users have not.
SYSTEMS_OWN = ("strict", "backslashreplace", "surrogateescape")


def write_what_consoles_have() -> None:
    """Let both streams replace what their encoding lacks, where they would end finished work with an error."""
    codecs.register_error("selfsup.plain", _replace)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and getattr(stream, "errors", "") in SYSTEMS_OWN:
            reconfigure(errors="selfsup.plain")


def _replace(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lacking), error.end


def end_by_interrupt() -> None:
    """Let Ctrl-C end the process with one line, and nothing else, where nobody has set anything for it."""
    if _in_main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, b"selfsup: stopped.\n")
    os._exit(128 + number)


class Interrupts:
    """While entered, a first Ctrl-C or SIGTERM raises KeyboardInterrupt, and a second ends the process, with one line.

    An import that is broken off may lose the first, or end in any error, there or where its module is next used.

    Attributes
    ----------
    came : int
        The signal that came first, so that what is raised now is no error of its own; 0 where none has.
    """

    def __init__(self) -> None:
        self.came = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM) if _in_main_thread() else ():
            if (before := signal.getsignal(number)) in (signal.default_int_handler, signal.SIG_DFL, _end):
                self._before[number] = before
                signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, before)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            _end(number, frame)
        self.came = number
        raise KeyboardInterrupt


def ignore_interrupts() -> None:
    """Let nothing break off the last steps of a process that is ending, as a second Ctrl-C would."""
    if _in_main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _in_main_thread() -> bool:
    """Where Python has signals."""
    return threading.current_thread() is threading.main_thread()
