"""When Python is not to look for garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Within, Python looks for no garbage: torch and timm make a million objects when they are imported, none of which
    is any, and looking through them again and again takes a third of the time. Nor does it look through them with the
    next object that is made: to freeze all and thaw it makes all old, which is looked at when many more were made."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()
        if enabled:
            gc.enable()
