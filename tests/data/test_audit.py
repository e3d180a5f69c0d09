"""Duplicates across the split, and classes that are too small."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np

from selfsup.data.audit import (
    HEADINGS,
    AuditEntry,
    Problem,
    copies,
    find_duplicates,
    label_conflicts,
    odd_labels,
    printable,
    quoted,
    small_classes,
    summarize,
)
from selfsup.data.items import NO_SIDE, ItemTable
from selfsup.data.split import Split

NAMES = [f"{number}.png" for number in range(7)]


def table(labels: np.ndarray, *classes: str) -> ItemTable:
    """Images with these labels, and no more known of them."""
    return ItemTable(tuple(NAMES), classes, labels, np.full(len(labels), NO_SIDE), ())


def split(train: list[int], val: list[int], test: list[int]) -> Split:
    return Split(*(np.array(side, np.int64) for side in (train, val, test)))


def test_copies_across_the_split_are_reported_with_both_names() -> None:
    originals = np.array([0, 1, 2, 0, 2, 5, 5])
    entries = find_duplicates(NAMES, originals, split([0, 1, 2], [3, 5], [4, 6]))
    assert [(entry.path, entry.problem, entry.detail) for entry in entries] == [
        ("3.png", "duplicate across split", "in val, and a copy of '0.png' in train"),
        ("4.png", "duplicate across split", "in test, and a copy of '2.png' in train"),
        ("6.png", "duplicate across split", "in test, and a copy of '5.png' in val"),
    ]


def test_copies_on_one_side_do_no_harm() -> None:
    assert find_duplicates(NAMES[:3], np.array([0, 0, 2]), split([0, 1], [], [2])) == []


def test_exact_and_near_copies_are_listed_with_the_image_that_they_are_copies_of() -> None:
    digests, originals = np.array([b"a", b"b", b"a", b"c", b"c"]), np.array([0, 1, 0, 1, 1])
    assert copies(NAMES, digests, originals) == [
        AuditEntry("2.png", "duplicate", "same pixels as '0.png'"),
        AuditEntry("3.png", "near duplicate", "nearly the same as '1.png'"),
        AuditEntry("4.png", "duplicate", "same pixels as '3.png'"),
    ]


def test_every_image_whose_pixels_stand_under_several_classes_is_listed() -> None:
    digests, labels = np.array([b"a", b"b", b"a", b"a", b"b"]), np.array([0, 1, 0, 2, 1])
    assert label_conflicts(table(labels, "bean", "pea", "rye"), digests) == [
        AuditEntry("0.png", "label conflict", "is of class 'bean', and '3.png' of class 'rye'"),
        AuditEntry("2.png", "label conflict", "is of class 'bean', and '3.png' of class 'rye'"),
        AuditEntry("3.png", "label conflict", "is of class 'rye', and '0.png' of class 'bean'"),
    ]


def test_a_line_names_each_pair_of_a_label_conflict_once() -> None:
    digests, labels = np.array([b"a", b"a", b"b", b"b", b"c", b"c"]), np.array([0, 1, 0, 1, 0, 1])
    conflicts = label_conflicts(table(labels, "bean", "pea"), digests)
    of_two, of_three = (summarize(conflicts[:count])[0].removeprefix(HEADINGS["label conflict"]) for count in (4, 6))
    pairs = (
        "0.png: is of class 'bean', and '1.png' of class 'pea'; 2.png: is of class 'bean', and '3.png' of class 'pea'"
    )
    assert (of_two, of_three) == (f": 4 ({pairs}).", f": 6 ({pairs}; …).")


def test_small_classes_say_what_was_asked_for_and_what_there_is() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    entries = small_classes(table(labels, "big", "pair", "lone"), split([0, 1, 3, 5], [1], [2, 4]), [1, 2, 5, "all"])
    assert [entry for entry in entries if entry.problem == "small class"] == [  # no class has 5, which is said of all
        AuditEntry(f"{name}/", "small class", "1 training images where 2 per class are asked for: it gives all it has")
        for name in ("pair", "lone")
    ]
    missing = {entry.path: entry.detail for entry in entries if entry.problem == "class missing on a side"}
    assert missing == {"pair/": "no image in val", "lone/": "no image in val and test"}
    assert {entry.problem for entry in entries} == {"small class", "class missing on a side"}


def test_a_share_of_less_than_one_image_is_said_of_its_class() -> None:
    labels = np.repeat([0, 1], [20, 9])
    train = [*range(18), *range(20, 27)]  # 18 and 7, of which 10% are 1.8 and 0.7
    entries = small_classes(table(labels, "many", "few"), split(train, [18, 27], [19, 28]), ["1%", "10%", "all"])
    assert entries == [
        AuditEntry("many/", "small class", "18 training images, of which 1% is less than one: it gives one"),
        AuditEntry("few/", "small class", "7 training images, of which 1%, 10% is less than one: it gives one"),
    ]


def test_classes_that_suffice_are_not_mentioned() -> None:
    labels = np.zeros(4, np.int64)
    assert small_classes(table(labels, "a"), split([0, 1], [2], [3]), [1, 2, "all"]) == []


def test_a_name_stands_in_quotes_that_it_does_not_hold() -> None:
    assert quoted("lady fern") == "'lady fern'"
    assert quoted("lady's fern") == '"lady\'s fern"'
    assert quoted("6\" or 6'") == "'6\" or 6''"


def test_text_that_is_no_unicode_becomes_printable() -> None:
    assert printable("caf\udce9") == "caf\\udce9"
    assert printable("naïve 雑草") == "naïve 雑草"


def test_every_kind_of_problem_is_one_line_however_often_it_occurs() -> None:
    entries = [
        *(
            AuditEntry(f"pea/{number}.png", "duplicate", f"same pixels as 'bean/{number}.png'")
            for number in range(1200)
        ),
        AuditEntry("a.png", "empty", "the file holds no bytes"),
        AuditEntry("*", "brightness scale", "0 to 4095 becomes 0 to 255"),
        AuditEntry("*.heic", "ignored", "28 files, such as 'pea/a.heic'", 28),
        AuditEntry("*.txt", "ignored", "2 files, such as 'pea/a.txt'", 2),
    ]
    assert summarize(entries) == [
        "Files of no bytes, set aside: 1 (a.png: the file holds no bytes).",
        "Files not taken for images: 30 (*.heic: 28 files, such as 'pea/a.heic'; *.txt: 2 files, such as 'pea/a.txt').",
        "Images with the pixels of an earlier one: 1,200 (pea/0.png: same pixels as 'bean/0.png'; pea/1.png: same "
        "pixels as 'bean/1.png'; …).",
        "Brightness (see --full-scale): 0 to 4095 becomes 0 to 255.",
    ]
    assert summarize([]) == []


def test_every_problem_has_its_heading() -> None:
    assert set(HEADINGS) == set(get_args(Problem))


def test_labels_that_may_be_meant_as_one_are_shown_side_by_side() -> None:
    items = table(np.arange(7), "Cow", "Dog", "cow", "cow ", "dog", "pig", "sow, old")
    assert summarize(odd_labels(items, listed=False)) == [
        "Labels that differ only by case or spaces: 'Cow' and 'cow' and 'cow ', 'Dog' and 'dog'."
    ]


def test_a_comma_in_a_label_of_a_table_may_be_meant_to_stand_between_two() -> None:
    items = table(np.arange(4), "cow,grass", "cow,tree", "dog,grass", "grass")
    assert summarize(odd_labels(items, listed=True)) == [
        "Labels with a comma, each taken as one: 'cow,grass', 'cow,tree', … (several labels of an image stand with ; "
        "between)."
    ]
    assert odd_labels(items, listed=False) == []  # a name of a folder
    several = replace(items, sets=np.eye(4, dtype=bool))
    assert odd_labels(several, listed=True) == []
