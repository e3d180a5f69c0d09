"""Numbers and files that were set aside, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from selfsup.data.audit import AuditEntry
from selfsup.execution.words import counted, describe_set_aside, format_bytes, format_duration


def test_numbers_have_the_nouns_that_people_give_them() -> None:
    assert (counted(1, "cell"), counted(0, "cell"), counted(54, "cell")) == ("1 cell", "0 cells", "54 cells")
    assert [format_bytes(n) for n in (1, 3e6, 1e9, 2.34e9)] == ["1 MB", "3 MB", "1.0 GB", "2.3 GB"]
    assert [format_duration(s) for s in (45, 720, 12000)] == ["45 s", "12 min", "3 h 20 min"]


@pytest.mark.parametrize(
    ("problems", "line"),
    [
        ([], ""),
        ([("a.png", "duplicate")], ""),
        ([("a.png", "empty")], "1 file set aside (1 empty): s/audit.csv"),
        (
            [("a.png", "empty"), ("b.png", "unreadable"), ("c.png", "unreadable"), ("b/", "small class")],
            "3 files set aside (2 unreadable, 1 empty): s/audit.csv",
        ),
        (
            [("a.png", "no class"), ("*.heic", "ignored"), ("*.txt", "ignored")],
            "1 file set aside (1 no class); not taken for images: *.heic, *.txt: s/audit.csv",
        ),
        ([("*.txt", "ignored")], "not taken for images: *.txt: s/audit.csv"),
    ],
)
def test_files_set_aside_are_said_in_one_line(problems: list[tuple[str, str]], line: str) -> None:
    audit = [AuditEntry(path, problem, "") for path, problem in problems]
    assert describe_set_aside(audit, Path("s") / "audit.csv") == line
