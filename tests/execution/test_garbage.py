"""Garbage is not looked for within, and looked for afterwards as before."""

from __future__ import annotations

import gc

import pytest

from selfsup.execution.garbage import uncollected


def test_collecting_goes_on_afterwards_also_after_an_error() -> None:
    assert gc.isenabled()
    with pytest.raises(ValueError, match="within"), uncollected():
        assert not gc.isenabled()
        raise ValueError("within")
    assert gc.isenabled()


def test_who_had_it_disabled_has_it_disabled() -> None:
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
