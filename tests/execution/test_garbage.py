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


def test_what_was_made_within_is_old_afterwards_and_not_looked_through_with_the_next_object() -> None:
    """A collection of the young, as a few hundred objects bring about, does not meet it; one of all objects does."""
    with uncollected():
        made: list[object] = []
        made.append(made)
    is_young = any(each is made for generation in (0, 1) for each in gc.get_objects(generation))
    assert not is_young
    assert any(each is made for each in gc.get_objects(2))
