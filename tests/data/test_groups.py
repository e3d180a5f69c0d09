"""Groups of images, from a regular expression or a table."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from selfsup.data.groups import joined, read_groups
from selfsup.errors import UserError

NAMES = ["sick/p01_1.png", "sick/p01_2.png", "well/p02_1.png", "well/x.png", "well/y.png"]


def same(groups: list[str]) -> set[frozenset[int]]:
    """Which images are together."""
    return {frozenset(i for i, other in enumerate(groups) if other == group) for group in groups}


def test_the_first_capture_group_names_the_group_and_others_stand_alone() -> None:
    assert same(read_groups(r"/(p\d+)_", NAMES)) == {frozenset(s) for s in ({0, 1}, {2}, {3}, {4})}


def test_without_a_capture_group_the_whole_match_counts() -> None:
    assert same(read_groups(r"^[a-z]+", NAMES)) == {frozenset({0, 1}), frozenset({2, 3, 4})}


def test_a_capture_group_that_takes_no_part_counts_as_no_match() -> None:
    assert same(read_groups(r"(p\d+)|well", NAMES)) == {frozenset(s) for s in ({0, 1}, {2}, {3}, {4})}


def test_a_lone_image_is_never_in_a_group_that_has_its_name() -> None:
    groups = read_groups(r"^copy of (.*)$|^only if nothing$", ["a.png", "copy of a.png"])
    assert groups[0] != groups[1]


def test_a_faulty_expression_is_refused() -> None:
    with pytest.raises(UserError, match=r"--group '\(p' is not a regular expression: missing \)"):
        read_groups("(p", NAMES)


@pytest.mark.parametrize("spec", ["patient", "z*"])
def test_an_expression_that_matches_nothing_is_refused(spec: str) -> None:
    with pytest.raises(UserError, match=r"matches none of the 5 images \(such as 'sick/p01_1.png'\)"):
        read_groups(spec, NAMES)


def table(tmp_path: Path, text: str) -> str:
    path = tmp_path / "groups.csv"
    path.write_text(text, encoding="utf-8-sig")
    return str(path)


def test_a_table_names_the_groups_whatever_its_order_and_other_columns(tmp_path: Path) -> None:
    rows = [
        "age,group,path",
        '1,"one, first",./sick/p01_1.png',
        '1,"one, first",sick\\p01_2.png',
        "2,two,well/p02_1.png",
    ]
    rows += ["3,three,well/x.png", "3,three,well/y.png", "9,nine,not/there.png"]
    groups = read_groups(table(tmp_path, "\n".join(rows)), NAMES)
    assert groups == ["one, first", "one, first", "two", "three", "three"]


def test_a_table_without_a_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no column 'group' \(it has: path, patient\)"):
        read_groups(table(tmp_path, "path,patient\na,1\n"), NAMES)


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no column 'path'"):
        read_groups(table(tmp_path, ""), NAMES)


def test_images_that_the_table_lacks_are_named(tmp_path: Path) -> None:
    rows = "path,group\n" + "\n".join(f"{name},g" for name in NAMES[:3]) + "\nwell/x.png,\n"
    with pytest.raises(UserError, match=r"names no group for 2 of 5 images \(such as 'well/x.png'\)"):
        read_groups(table(tmp_path, rows), NAMES)


def test_an_image_in_two_groups_is_refused(tmp_path: Path) -> None:
    rows = "path,group\n" + "\n".join(f"{name},g" for name in NAMES) + f"\n{NAMES[0]},h\n"
    with pytest.raises(UserError, match=r"puts 'sick/p01_1.png' into two groups \('g' and 'h'\)"):
        read_groups(table(tmp_path, rows), NAMES)


def test_a_missing_table_is_refused() -> None:
    with pytest.raises(UserError, match=r"There is no file 'nowhere.csv'"):
        read_groups("nowhere.csv", NAMES)


def test_a_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "groups.csv"
    path.write_bytes(b"path,group\n\xff\xfe\x00,1\n")
    with pytest.raises(UserError, match="cannot be read as CSV"):
        read_groups(str(path), NAMES)


def test_names_mean_the_same_in_every_form_of_their_accents(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "pl\u00e4nt_1/1.png") for form in ("NFC", "NFD"))
    table = tmp_path / "groups.csv"
    table.write_text(f"path,group\n{apart},one\n", encoding="utf-8")
    assert read_groups(str(table), [composed]) == ["one"]
    assert read_groups(apart.split("/")[0], [composed]) == [f"group {composed.split('/')[0]}"]


def test_groups_that_are_copies_of_each_other_are_joined_and_a_few_alike_join_nothing() -> None:
    groups = [*"bbb", *"aaa", *"ccc", "d"]
    originals = np.array([0, 1, 2, 3, 0, 1, 6, 7, 2, 6])  # two thirds of a, a third of c, all of d
    assert joined(groups, originals) == [*"aaa", *"aaa", *"ccc", "c"]
    assert joined(groups, np.arange(10)) == groups
