"""What folders say of the images in them: classes, sides of a split, and images without a label."""

from __future__ import annotations

import pytest

from selfsup.data.audit import AuditEntry
from selfsup.data.sources._folder_layout import Layout, Place, read_layout
from selfsup.errors import UserError

CLASSES = ["cat/1.png", "dog/deep/2.png"]


def in_each(*sides: str) -> list[str]:
    """An image of each of two classes in every one of these folders."""
    return [f"{side}/{path}" for side in sides for path in CLASSES]


def test_the_top_folder_of_an_image_is_its_class() -> None:
    assert read_layout([*CLASSES, "3.png"], "photos") == Layout((Place("cat"), Place("dog"), None))


@pytest.mark.parametrize("pool", ["unlabelled", "Unlabeled"])
def test_images_in_a_folder_beside_the_classes_have_no_label(pool: str) -> None:
    found = read_layout([*CLASSES, f"{pool}/3.png", f"{pool}/a/4.png"], "photos")
    assert found == Layout((Place("cat"), Place("dog"), Place(), Place()))


@pytest.mark.parametrize("paths", [["cat/1.png", "unlabelled/2.png"], ["unlabelled/2.png"], ["cat/1.png", "2.png"]])
def test_one_class_is_none(paths: list[str]) -> None:
    assert read_layout(paths, "photos") == Layout((Place(),) * len(paths))


@pytest.mark.parametrize(
    ("folder", "side"),
    [
        ("train", "train"), ("Training Images", "train"), ("train2017", "train"), ("val", "val"), ("valid_set", "val"),
        ("validation", "val"), ("dev", "val"), ("Test", "test"), ("testing-data", "test"), ("testset", "test"),
    ],
)  # fmt: skip
def test_folders_called_as_sides_are_the_given_split_and_the_next_ones_the_classes(folder: str, side: str) -> None:
    found = read_layout(in_each(folder, "train"), "photos")
    assert found.places == (Place("cat", side), Place("dog", side), Place("cat", "train"), Place("dog", "train"))  # type: ignore[arg-type]
    (remark,) = found.remarks
    assert (remark.path, remark.problem) == ("*", "given split")
    assert f"'{folder}'" in remark.detail


def test_the_split_is_told_with_the_folders_and_what_they_were_taken_for() -> None:
    assert read_layout(in_each("test", "train", "dev"), "photos").remarks == (
        AuditEntry(
            "*",
            "given split",
            "by the folders 'train', 'dev' (val) and 'test', whose folders are the classes (with --no-given-split they "
            "are classes themselves)",
        ),
    )


def test_without_the_given_split_its_folders_are_classes() -> None:
    found = read_layout(in_each("train", "test"), "photos", no_given_split=True)
    assert found == Layout((Place("train"), Place("train"), Place("test"), Place("test")))


def test_a_folder_for_training_alone_is_a_split_of_which_the_rest_is_missing() -> None:
    assert read_layout(in_each("train"), "photos").places == (Place("cat", "train"), Place("dog", "train"))
    assert read_layout(["train/1.png", "train/2.png"], "photos") == Layout((Place(), Place()))


@pytest.mark.parametrize("inner", [CLASSES, [f"more/{path}" for path in CLASSES]])
def test_one_folder_around_all_others_is_stepped_into_and_named(inner: list[str]) -> None:
    found = read_layout([f"plants/{path}" for path in inner], "photos")
    assert found.places == (Place("cat"), Place("dog"))
    assert {remark.problem for remark in found.remarks} == {"one folder"}
    assert found.remarks[0].detail.startswith("'plants', whose folders say")


def test_a_split_in_one_folder_is_given_as_it_is_outside_of_it() -> None:
    found = read_layout([f"plants/{path}" for path in in_each("train", "test")], "photos")
    assert found.places == read_layout(in_each("train", "test"), "photos").places
    assert [remark.problem for remark in found.remarks] == ["one folder", "given split"]


@pytest.mark.parametrize("beside", ["1.png", "plants/1.png"])
def test_a_folder_with_images_beside_it_or_in_it_is_not_stepped_into(beside: str) -> None:
    paths = [beside, *(f"plants/{path}" for path in CLASSES)]
    assert read_layout(paths, "photos") == Layout((Place(),) * 3)


def test_images_without_a_label_lie_beside_the_sides_or_within_train() -> None:
    paths = [*in_each("train", "test"), "unlabelled/1.png", "train/unlabelled/2.png"]
    assert read_layout(paths, "photos").places[4:] == (Place(), Place(None, "train"))


def test_images_on_a_side_but_in_no_class_are_set_aside() -> None:
    paths = [*in_each("train", "test"), "test/1.png", "test/unlabelled/2.png", "3.png"]
    assert read_layout(paths, "photos").places[4:] == (None, None, None)


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["train/1.png", "test/1.png"], "'photos' look like .* do not hold two class folders .* --unlabelled"),
        (["train/cat/1.png", "test/cat/1.png"], "do not hold two class folders"),
        (in_each("val", "test"), "The folders test, val of 'photos' .* none of them is for training"),
        ([*in_each("train", "test"), "cat/1.png"], "and 'cat' beside them do not; .* --no-given-split"),
    ],
)
def test_what_is_half_a_split_is_refused(paths: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_layout(paths, "photos")


def test_a_class_may_be_called_as_one_side_of_a_split_and_that_is_said() -> None:
    found = read_layout([*CLASSES, "train/3.png", "testudo/4.png"], "photos")
    assert found.places == (Place("cat"), Place("dog"), Place("train"), Place("testudo"))
    assert found.remarks == (AuditEntry("train/", "looks like a split", "its images are learned as a class"),)
