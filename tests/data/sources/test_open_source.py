"""Opening data by name or path, and what is said where neither fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from pictures import labelled_folder, save_picture
from selfsup import registry
from selfsup.data.audit import summarize
from selfsup.data.sources import open_source
from selfsup.errors import UserError


def test_digits_are_those_of_scikit_learn_on_the_scale_of_eight_bits() -> None:
    source = open_source("digits")
    original = load_digits()
    assert len(source.items) == len({item.name for item in source.items}) == 1797
    assert [item.label for item in source.items] == [str(label) for label in original.target]
    pixels = np.stack([np.asarray(source.open(index)) for index in range(1797)])
    assert pixels.dtype == np.uint8
    assert np.abs(pixels / 255 - original.images / 16).max() <= 0.5 / 255
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_every_data_set_is_found_by_its_file_and_has_a_line_of_description() -> None:
    names = registry.names(registry.SOURCE)
    assert names == ["cifar10", "cifar100", "digits", "fashion-mnist", "plant-seedlings", "stl10"]
    for name in names:
        assert callable(registry.load(registry.SOURCE, name))
        assert registry.first_line(registry.SOURCE, name).endswith(".")


def test_a_table_of_the_images_in_their_folder_is_not_read_and_named_in_one_line(tmp_path: Path) -> None:
    for number in range(6):
        save_picture(tmp_path / f"photos/{number}.png")
    table = tmp_path / "photos" / "images.csv"
    table.write_text("path,label\n0.png,cow\n")
    (tmp_path / "photos" / "anything.csv").write_text("a,b\n1,2\n")
    said, others = summarize(open_source(str(tmp_path / "photos")).ignored)
    assert said == (
        f"A table beside the images: 'images.csv' names images, and is not read; --manifest {table} takes what it says "
        "of them."
    )
    assert others == "Files not taken for images: 1 (*.csv: 1, such as 'anything.csv')."
    assert not [entry for entry in open_source(str(tmp_path / "photos"), unlabelled=True).ignored if entry.path == "*"]
    table.write_text("path,class\n0.png,cow\n")  # as a study's own table has
    assert not [entry for entry in open_source(str(tmp_path / "photos")).ignored if entry.path == "*"]


def test_a_refused_folder_that_holds_a_table_of_its_images_is_answered_with_the_option(tmp_path: Path) -> None:
    for name in ("train/0.png", "test/1.png"):
        save_picture(tmp_path / name)
    (tmp_path / "list.csv").write_text("path,label\ntrain/0.png,cow\n")
    with pytest.raises(UserError, match=r"do not hold two class folders.* 'list.csv' names .* --manifest .*list\.csv"):
        open_source(str(tmp_path))


def test_labels_can_be_left_out_of_a_named_data_set() -> None:
    source = open_source("digits", unlabelled=True)
    assert {item.label for item in source.items} == {None}
    assert source.fingerprint() != open_source("digits").fingerprint()


def test_a_path_opens_the_folder(tmp_path: Path) -> None:
    source = open_source(str(labelled_folder(tmp_path / "leaves")))
    assert source.name == "leaves"
    assert len(source.items) == 6


def test_a_dot_is_the_folder_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(labelled_folder(tmp_path / "leaves"))
    assert open_source(".").name == "leaves"


def test_a_name_wins_over_a_folder_unless_a_path_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labelled_folder(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    assert len(open_source("digits", say=said.append).items) == 1797
    assert said == ["'digits' means the data set of this name, not the folder beside it; ./digits is the folder."]
    assert len(open_source("./digits", say=said.append).items) == 6
    assert len(said) == 1


def test_an_unknown_name_suggests_the_nearest_and_lists_all() -> None:
    with pytest.raises(UserError, match=r"'cifar-10' is neither .* Did you mean 'cifar10'\?.*digits.*stl10"):
        open_source("cifar-10")


def test_a_missing_folder_suggests_one_beside_it(tmp_path: Path) -> None:
    (tmp_path / "seedlings").mkdir()
    with pytest.raises(UserError, match=r"Did you mean '.*/seedlings'\?"):
        open_source(str(tmp_path / "seedling"))


def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "one.png")
    with pytest.raises(UserError, match="is a file; give a folder"):
        open_source(str(path))


@pytest.mark.parametrize("option", ["data_root", "data_url"])
def test_an_option_that_means_nothing_is_refused(tmp_path: Path, option: str) -> None:
    labelled_folder(tmp_path)
    for data in ("digits", str(tmp_path)):
        with pytest.raises(UserError, match=f"--{option.replace('_', '-')} means nothing to the data"):
            open_source(data, **{option: "x"})
