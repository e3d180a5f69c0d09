"""Numbers in words."""

from __future__ import annotations

from selfsup.execution.words import counted, format_bytes, format_duration


def test_numbers_have_the_nouns_that_people_give_them() -> None:
    assert (counted(1, "cell"), counted(0, "cell"), counted(54, "cell")) == ("1 cell", "0 cells", "54 cells")
    assert [format_bytes(n) for n in (1, 3e6, 1e9, 2.34e9)] == ["1 MB", "3 MB", "1.0 GB", "2.3 GB"]
    assert [format_duration(s) for s in (45, 720, 12000)] == ["45 s", "12 min", "3 h 20 min"]
