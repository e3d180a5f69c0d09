"""The rooms of the house: short files, one name for one thing, tests where their subject lies."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE, TESTS = ROOT / "src" / "selfsup", ROOT / "tests"
FILES = sorted(SOURCE.rglob("*.py"))
#: Lines of a file that is still read in one sitting, and what there is to choose from at the top.
MOST_LINES, MOST_ENTRIES = 350, 22
#: Folders of tests that mirror none: what must hold of every implementation of a kind.
ACROSS = {"contract"}


def shared(names: Iterator[tuple[str, Path]]) -> dict[str, list[str]]:
    """Names that several files have, with the files."""
    files = defaultdict(list)
    for name, path in names:
        files[name].append(str(path.relative_to(SOURCE)))
    return {name: found for name, found in files.items() if len(found) > 1}


def test_no_file_needs_a_table_of_contents() -> None:
    lengths = {str(path.relative_to(SOURCE)): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES} == {}


def test_no_two_modules_share_a_file_name() -> None:
    modules = (path for path in FILES if path.stem not in {"base", "__init__"})
    assert shared((path.stem.lstrip("_"), path) for path in modules) == {}


def test_no_two_classes_share_a_name() -> None:
    trees = ((path, ast.walk(ast.parse(path.read_text(encoding="utf-8")))) for path in FILES)
    classes = ((node.name, path) for path, nodes in trees for node in nodes if isinstance(node, ast.ClassDef))
    assert shared(classes) == {}


def test_the_top_is_taken_in_at_a_glance() -> None:
    entries = {path.name for path in SOURCE.iterdir() if not path.name.startswith("__")}
    assert len(entries) <= MOST_ENTRIES, sorted(entries)


def test_tests_lie_where_their_subject_does() -> None:
    folders = {path.parent.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    assert [str(f) for f in sorted(folders) if str(f) not in ACROSS and not (SOURCE / f).is_dir()] == []
