"""Tables of images: what their columns say, and every row that does not fit refused by its line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pictures import save_picture
from selfsup.data.items import Item
from selfsup.data.sources import open_source
from selfsup.data.sources._manifest import ManifestSource
from selfsup.errors import UserError
from selfsup.testing import check_source

TABLE = """path,label,split,group
a/1.png,cat,train,tom
a/2.png,dog,Validation,
b/3.png,,,tom
./b/4.png,cat,test,
"""
ITEMS = [
    Item("a/1.png", "cat", "train", "tom"),
    Item("a/2.png", "dog", "val"),
    Item("b/3.png", group="tom"),
    Item("b/4.png", "cat", "test"),
]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for seed, path in enumerate(("a/1.png", "a/2.png", "b/3.png", "b/4.png", "b/not listed.png")):
        save_picture(tmp_path / "images" / path, seed=seed)
    return tmp_path / "images"


def write(folder: Path, text: str, name: str = "images.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_columns_are_labels_sides_and_groups_and_what_is_empty_is_unknown(images: Path, tmp_path: Path) -> None:
    source = ManifestSource(write(tmp_path, TABLE), images)
    assert list(source.items) == ITEMS
    assert np.array_equal(source.open(2), ManifestSource(write(images, "path\nb/3.png\n"), images).open(0))
    without = ManifestSource(write(tmp_path, TABLE), images, unlabelled=True)
    assert list(without.items) == [Item(item.name, group=item.group) for item in ITEMS]


def test_its_name_is_that_of_the_table_for_a_folder_may_have_several(images: Path) -> None:
    assert ManifestSource(write(images, TABLE, "leaves.csv"), images).name == "leaves"
    assert ManifestSource(write(images, TABLE, "flowers of 2024.csv"), images).name == "flowers of 2024"


def test_the_same_table_as_parquet_is_the_same(images: Path, tmp_path: Path) -> None:
    table = pd.read_csv(write(tmp_path, TABLE))
    table.to_parquet(tmp_path / "images.parquet")
    found = ManifestSource(tmp_path / "images.parquet", images)
    assert list(found.items) == ITEMS
    assert found.fingerprint() == ManifestSource(tmp_path / "images.csv", images).fingerprint()


def test_a_path_may_be_absolute_within_the_folder_or_come_from_windows(images: Path, tmp_path: Path) -> None:
    rows = f"path,label\n{images}/a/1.png,x\nb/../a/2.png,y\nb\\3.png,\n"
    items = ManifestSource(write(tmp_path, rows), images).items
    assert [item.name for item in items] == ["a/1.png", "a/2.png", "b/3.png"]


def test_an_absolute_path_may_lead_through_a_link_from_either_side(images: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(images, target_is_directory=True)
    for named, root in ((link, images), (images, link)):
        items = ManifestSource(write(tmp_path, f"path,label\n{named}/a/1.png,x\n{named}/a/2.png,y\n"), root).items
        assert [item.name for item in items] == ["a/1.png", "a/2.png"]
    with pytest.raises(UserError, match="which lies outside"):
        ManifestSource(write(tmp_path, f"path,label\n{link}/../elsewhere/1.png,x\n"), images)


def test_a_manifest_keeps_the_contract(images: Path, tmp_path: Path) -> None:
    manifest = write(tmp_path, TABLE)
    check_source(lambda options: ManifestSource(manifest, images, unlabelled=options.unlabelled))


def test_another_label_is_another_fingerprint(images: Path, tmp_path: Path) -> None:
    before = ManifestSource(write(tmp_path, TABLE), images).fingerprint()
    assert ManifestSource(write(tmp_path, TABLE.replace("dog", "fox")), images).fingerprint() != before


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", r"has the columns none; a manifest has path, and any of label, split and group"),
        ("path\n", r"names no image"),
        ("file,label\na/1.png,x\n", r"has a column 'file', which means nothing here\. A manifest has the column path"),
        ("path,lable\na/1.png,x\n", r"has a column 'lable', .* Did you mean 'label'\?"),
        ("path;label\na/1.png;x\n", r"has a column 'path;label', .* with commas between"),
        ("path,path\na/1.png,x\n", r"has the columns path, path; .* each once"),
        ("label\nx\n", r"has the columns label; a manifest has path"),
        ("path,label\na/1.png,x\n,y\n", r"Line 3 of '.*images.csv' names no path"),
        ("path,label\na/1.png,x,z\n", r"Line 2 of .* has 3 values for 2 columns"),
        ("path,label\na/1.png\n", r"Line 2 of .* has 1 values for 2 columns"),
        ("path,label\na/1.png,x\na/9.png,y\n", r"Line 3 of .* names 'a/9.png', which '.*images' does not hold"),
        ("path,label\na/1.png,x\na,y\n", r"Line 3 of .* names 'a', which is no file"),
        ("path,label\n../secret.png,x\n", r"Line 2 of .* names '../secret.png', which lies outside '.*images'"),
        ("path,label\n/etc/passwd,x\n", r"Line 2 of .* names '/etc/passwd', which lies outside"),
        ("path,label\na/1.png,x\n\na/./1.png,y\n", r"Line 4 of .* names 'a/1.png', which an earlier one names too"),
        ("path,split\na/1.png,trian\n", r"Line 2 of .* has the split 'trian', which is none; write train, val or test"),
        ("path,label\na/1.png,x\na/2.png,x\n", r"has the one label 'x', and a comparison needs two"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_by_its_line(images: Path, tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        ManifestSource(write(tmp_path, rows), images)
    assert "\n" not in str(caught.value)


def test_of_many_missing_files_the_number_and_the_first_five_are_named(images: Path, tmp_path: Path) -> None:
    rows = "path\n" + "".join(f"b/{number}.png\n" for number in range(3, 14))  # b/3 and b/4 are there
    with pytest.raises(UserError) as caught:
        ManifestSource(write(tmp_path, rows), images)
    text = str(caught.value)
    assert "Line 4 of" in text and "nor 8 others: 'b/6.png' (line 5)" in text
    assert [number for number in range(3, 14) if f"b/{number}.png" in text] == [5, 6, 7, 8, 9]


def test_files_that_are_no_tables_are_refused(images: Path, tmp_path: Path) -> None:
    (tmp_path / "images.parquet").write_bytes(b"PAR1 no more")
    (tmp_path / "latin.csv").write_bytes("path\ncaf\xe9.png\n".encode("latin-1"))
    for name, message in (
        ("images.parquet", "give a sound Parquet file"),
        ("latin.csv", r"give a CSV \(UTF-8\) or Parquet file"),
        ("missing.csv", "There is no file .*; check the path given to --manifest"),
    ):
        with pytest.raises(UserError, match=message):
            ManifestSource(tmp_path / name, images)


def test_a_manifest_is_of_a_folder(images: Path, tmp_path: Path) -> None:
    manifest = write(tmp_path, TABLE)
    assert list(open_source(str(images), manifest=manifest).items) == ITEMS
    with pytest.raises(UserError, match=r"--manifest names images below a folder, and 'digits' is none"):
        open_source("digits", manifest=manifest)


def test_one_row_with_several_labels_makes_all_label_sets(images: Path, tmp_path: Path) -> None:
    table = write(tmp_path, "path,label\na/1.png,grass; cow;grass\na/2.png,grass\nb/3.png,\nb/4.png,cow\n")
    found = ManifestSource(table, images)
    assert [item.label for item in found.items] == [("cow", "grass"), ("grass",), None, ("cow",)]
    assert [item.label for item in ManifestSource(table, images, unlabelled=True).items] == [None] * 4


def test_a_label_between_separators_is_no_empty_one(images: Path, tmp_path: Path) -> None:
    for label in ("cow;;grass", ";cow", "cow;"):
        table = write(tmp_path, f"path,label\na/1.png,cow\na/2.png,{label}\n")
        with pytest.raises(UserError) as refused:
            ManifestSource(table, images)
        assert str(refused.value) == (
            f"Line 3 of '{table}' has the label '{label}', of which a part is empty; write a label on each side of "
            "every ';', or leave it out."
        )


def test_one_set_of_labels_is_nothing_to_compare(images: Path, tmp_path: Path) -> None:
    table = write(tmp_path, "path,label\na/1.png,cow;grass\na/2.png,grass;cow\n")
    with pytest.raises(UserError, match="has the one label 'cow;grass', and a comparison needs two or more"):
        ManifestSource(table, images)


def test_a_separator_in_the_name_of_a_folder_is_part_of_its_class(tmp_path: Path) -> None:
    for seed, name in enumerate(("cow;grass", "grass")):
        save_picture(tmp_path / name / "1.png", seed=seed)
    assert [item.label for item in open_source(str(tmp_path)).items] == ["cow;grass", "grass"]


def test_a_pool_comes_after_a_manifest_whose_images_have_several_labels(images: Path, tmp_path: Path) -> None:
    save_picture(tmp_path / "pool/5.png")
    manifest = write(tmp_path, "path,label,group\na/1.png,cat;dog,tom\na/2.png,dog,\n")
    items = open_source(str(images), manifest=manifest, pool=tmp_path / "pool").items
    assert list(items) == [
        Item("a/1.png", ("cat", "dog"), group="tom"),
        Item("a/2.png", ("dog",)),
        Item("pool:5.png"),
    ]


def test_sets_of_labels_of_the_same_names_are_other_contents(images: Path, tmp_path: Path) -> None:
    prints = {
        ManifestSource(write(tmp_path, f"path,label\na/1.png,{first}\na/2.png,dog;cat\n"), images).fingerprint()
        for first in ("cat", "dog")
    }
    assert len(prints) == 2
