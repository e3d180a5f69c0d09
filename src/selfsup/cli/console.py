"""What consoles may lack: characters, and a user who waits for a program that is stopping."""

from __future__ import annotations

import codecs
import signal
import sys
import threading

from selfsup.errors import Interrupted

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


def stopped_by(error: BaseException | None) -> int:
    """The signal behind an error, 0 if there is none: an import that is broken off may end in any error."""
    while error is not None:
        if isinstance(error, Interrupted | KeyboardInterrupt):
            return error.signal if isinstance(error, Interrupted) else signal.SIGINT
        error = error.__cause__ or error.__context__
    return 0


def ignore_interrupts() -> None:
    """Let nothing break off the last steps of a process that is ending, as a second Ctrl-C would."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
