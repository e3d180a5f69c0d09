"""Which images a study accepts when it goes on, and what it writes down of them."""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import selfsup
from selfsup.config.schema import StudyConfig
from selfsup.config.validation import validate
from selfsup.data.items import Item, ItemTable
from selfsup.data.split import Split, split_images
from selfsup.data.store import open_store
from selfsup.errors import UserError
from selfsup.execution.configuration import ImagesSeen, require_sound, resolve_for_images
from selfsup.execution.estimate import plan_study
from selfsup.execution.known_images import require_same_names
from selfsup.execution.preparation import prepare_images, require_resplit, require_shared_batches
from selfsup.record.folder import StudyFolder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFSUP_CACHE", str(tmp_path / "cache"))


def save_images(root: Path, *, per_class: int = 5) -> Path:
    """A folder of 12-bit images in two classes."""
    rng = np.random.default_rng(0)
    for label in ("bean", "pea"):
        (root / label).mkdir(parents=True)
        for number in range(per_class):
            Image.fromarray(rng.integers(0, 4096, (12, 12), np.uint16)).save(root / label / f"{number}.tif")
    return root


def begin(
    data: Path, out: Path, say: Callable[[str], None] = lambda line: None, **options: object
) -> tuple[StudyFolder, StudyConfig]:
    folder, config = StudyFolder(out), validate({"data": str(data), **options})
    folder.create()
    prepare_images(folder, config, say)
    folder.write_config(config)
    return folder, config


def test_a_touched_copy_in_another_place_is_accepted_with_the_same_split(tmp_path: Path) -> None:
    data = save_images(tmp_path / "data")
    folder, _ = begin(data, tmp_path / "study")
    written = {name: (folder.path / name).read_bytes() for name in ("split.npz", "images.csv", "audit.csv")}
    moved = shutil.copytree(data, tmp_path / "elsewhere/renamed", copy_function=shutil.copyfile)
    os.utime(moved / "bean/0.tif", (1, 1))
    shutil.rmtree(data)
    prepare_images(folder, validate({"data": str(moved)}), lambda line: None)
    assert written == {name: (folder.path / name).read_bytes() for name in written}


@pytest.mark.usefixtures("without_pictures")
def test_a_whole_study_goes_on_with_its_images_moved(tmp_path: Path) -> None:
    grid = {"methods": "random", "backbone": "test_resnet", "image_size": 16, "executor": "inline", "threads": 1}
    data = save_images(tmp_path / "data")
    begun = selfsup.compare(data, out=tmp_path / "study", per_class="1", **grid)
    moved = shutil.copytree(data, tmp_path / "elsewhere", copy_function=shutil.copyfile)
    shutil.rmtree(data)
    study = selfsup.compare(moved, out=tmp_path / "study", per_class="1,2", **grid)
    assert list(study.results.cell) == ["random-test_resnet-n1-s0", "random-test_resnet-n2-s0"]
    assert study.results.iloc[0].equals(begun.results.iloc[0])
    assert study.config.data == str(moved)
    with pytest.raises(UserError, match=r"The images of 'digits' are not those .* 1797 added .* 10 missing"):
        selfsup.compare("digits", out=tmp_path / "study", per_class="1", **grid)


def test_studies_inside_their_data_are_no_images_of_it(tmp_path: Path) -> None:
    grid = {"methods": "random", "backbone": "test_resnet", "image_size": 16, "executor": "inline", "threads": 1}
    data = save_images(tmp_path / "data")
    first = selfsup.compare(data, out=data / "first", per_class="1", **grid)
    first.report("md")
    again = selfsup.compare(data, out=data / "first", per_class="1,2", **grid)
    assert list(again.results.cell) == ["random-test_resnet-n1-s0", "random-test_resnet-n2-s0"]
    second = selfsup.compare(data, out=data / "studies" / "second", per_class="1", **grid)
    assert second.folder.read_json("dataset.json")["classes"] == ["bean", "pea"]
    audit = pd.read_csv(second.path / "audit.csv").set_index("path")
    assert audit.loc["first/"].problem == audit.loc["studies/second/"].problem == "passed over"
    shutil.copytree(first.path / "cells", data / "bean" / "pictures")
    shutil.copytree(first.path / "report-figures", data / "bean" / "report" / "report-figures")
    shutil.copy(first.path / "report.md", data / "bean" / "report")
    assert (
        selfsup.compare(data, out=data / "first", per_class="1,2", **grid).folder.read_json("dataset.json")["images"]
        == 10
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows refuses such names")
@pytest.mark.usefixtures("without_pictures")
def test_a_study_of_folders_with_odd_names_goes_on(tmp_path: Path) -> None:
    grid = {"methods": "random", "backbones": "test_resnet", "image_size": 16, "executor": "inline", "threads": 1}
    data = save_images(tmp_path / "data")
    names = {"bean": "=SUM(A1)\r", "pea": 'gr\u00fcn "1"'}
    for old, new in names.items():
        (data / old).rename(data / new)
    (data / names["bean"] / "empty\r.png").touch()
    begun = selfsup.compare(data, out=tmp_path / "study", per_class="1", **grid)
    assert set(pd.read_csv(begun.path / "images.csv")["class"]) == set(names.values())
    assert "empty\r.png" in "".join(pd.read_csv(begun.path / "audit.csv").path)
    (data / names["pea"]).rename(data / unicodedata.normalize("NFD", names["pea"]))
    plan_study(
        {"data": str(data), "per_class": "1,2", **{k: v for k, v in grid.items() if k != "executor"}}, out=begun.path
    )
    study = selfsup.compare(data, out=tmp_path / "study", per_class="1,2", **grid)
    assert list(study.results.cell) == ["random-test_resnet-n1-s0", "random-test_resnet-n2-s0"]
    report = study.path / "cells" / "random-test_resnet-n1-s0" / "classification_report.csv"
    assert list(pd.read_csv(report)["class"]) == sorted(names.values())


def test_other_contents_are_refused_with_what_changed_and_change_nothing(tmp_path: Path) -> None:
    data = save_images(tmp_path / "data")
    folder, config = begin(data, tmp_path / "study")
    before = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
    (data / "pea/4.tif").unlink()
    shutil.copyfile(data / "bean/0.tif", data / "bean/9.tif")
    shutil.copyfile(data / "bean/0.tif", data / "bean/1.tif")
    with pytest.raises(UserError) as caught:
        prepare_images(folder, config, lambda line: None)
    assert "1 added ('bean/9.tif'), 1 missing or unreadable ('pea/4.tif'), 1 changed ('bean/1.tif')" in str(
        caught.value
    )
    assert "choose another --out" in str(caught.value)
    assert before == {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}


def test_a_table_whose_rows_are_sorted_anew_is_refused(tmp_path: Path) -> None:
    data = save_images(tmp_path / "data")
    paths = [path.relative_to(data).as_posix() for path in sorted(data.rglob("*.tif"))]
    rows = [f"{path},{path.partition('/')[0]}" for path in paths]
    table = tmp_path / "images.csv"
    table.write_text("\n".join(["path,label", *rows]))
    folder, config = begin(data, tmp_path / "study", manifest=str(table))
    table.write_text("\n".join(["path,label", *rows[::-1]]))
    with pytest.raises(UserError, match=rf"all are there, in another order \(the first was '{paths[0]}'\); bring them"):
        prepare_images(folder, config, lambda line: None)
    with pytest.raises(UserError, match="in another order"):
        require_same_names(paths[::-1], folder, config)


@pytest.mark.parametrize("pages", [1, 3])
def test_copies_stay_together_where_pages_are_images(tmp_path: Path, pages: int) -> None:
    rng = np.random.default_rng(0)
    for number in range(40):
        first, *others = [Image.fromarray(values) for values in rng.integers(0, 256, (pages, 12, 12), np.uint8)]
        for name in ("", "copy"):
            path = tmp_path / f"data/{'ab'[number % 2]}/{number:02d}{name}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            first.save(path, save_all=True, append_images=others)
    begin(tmp_path / "data", tmp_path / "study", pages="all")
    problems = set(pd.read_csv(tmp_path / "study/audit.csv").problem)
    assert "duplicate" in problems
    assert "duplicate across split" not in problems


def test_a_second_start_on_the_same_images_decodes_nothing(tmp_path: Path) -> None:
    folder, config = begin(save_images(tmp_path / "data"), tmp_path / "study")
    decoded: list[tuple[int, int]] = []
    prepare_images(folder, config, lambda line: None, lambda done, of: decoded.append((done, of)))
    assert decoded == []


def test_images_csv_has_a_row_for_every_image_in_the_order_of_the_store(tmp_path: Path) -> None:
    folder, _ = begin(save_images(tmp_path / "data"), tmp_path / "study")
    table = pd.read_csv(folder.path / "images.csv")
    store = open_store(folder.read_json("dataset.json")["store"])
    assert list(table.path) == list(store.names)
    assert list(table["class"]) == [store.classes[label] for label in store.labels]
    assert table.digest.is_unique


@pytest.mark.usefixtures("without_pictures")
def test_the_size_of_views_is_resolved_by_the_images_and_stays(tmp_path: Path) -> None:
    grid = {"methods": "random", "backbone": "test_resnet", "executor": "inline", "threads": 1, "per_class": "1"}
    data = save_images(tmp_path / "data")
    assert selfsup.compare(data, out=tmp_path / "study", image_size="auto", **grid).config.image_size == 64
    assert selfsup.compare(data, out=tmp_path / "study", image_size="auto", **grid).config.image_size == 64
    with pytest.raises(UserError, match="begun with other settings"):
        selfsup.compare(data, out=tmp_path / "study", image_size=32, **grid)


def test_a_backbone_of_one_size_is_refused_views_that_grow(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'mixer_s16_224' takes views of one size only.*add --grow-from 1\."):
        require_sound(validate({"backbones": "mixer_s16_224", "image_size": 64, "grow_from": 0.5}))
    require_sound(validate({"backbones": "mixer_s16_224", "image_size": 64, "grow_from": 1}))
    data = save_images(tmp_path / "data")
    folder = StudyFolder(tmp_path / "study")
    folder.create()
    config = validate({"data": str(data), "backbones": "vit_tiny_patch16_224", "grow_from": 1})
    images = ImagesSeen.decoded(prepare_images(folder, config, lambda line: None))
    assert resolve_for_images(config, images, lambda line: None).side == 64


@pytest.mark.parametrize(("given", "written"), [(None, 4095), ("1000", 1000)])
def test_the_full_scale_is_written_down(tmp_path: Path, given: str | None, written: float) -> None:
    folder, _ = begin(save_images(tmp_path / "data"), tmp_path / "study", full_scale=given)
    assert folder.read_json("dataset.json")["rendering"]["integer"] == [0, written]
    audit = pd.read_csv(folder.path / "audit.csv")
    (detail,) = audit[audit.problem == "brightness scale"].detail
    assert f"0 to {written} becomes 0 to 255" in detail
    assert f"Brightness (see --full-scale): {detail}." in folder.read_json("dataset.json")["warnings"]


def test_pages_of_a_file_are_a_group_and_groups_go_by_files(tmp_path: Path) -> None:
    for label in ("bean", "pea"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(6):
            pages = [Image.new("L", (9, 9), 40 * number + 13 * page + len(label)) for page in range(3)]
            pages[0].save(tmp_path / "data" / label / f"{number}.gif", save_all=True, append_images=pages[1:])
    by_file, _ = begin(tmp_path / "data", tmp_path / "by-file", pages="all")
    by_number, _ = begin(tmp_path / "data", tmp_path / "by-number", pages="all", group=r"(\d)\.gif$")
    assert by_file.read_json("dataset.json")["images"] == 36
    assert by_file.read_json("dataset.json")["grouped"] and by_number.read_json("dataset.json")["grouped"]
    with np.load(by_file.path / "split.npz") as arrays:
        assert arrays["groups"].tolist() == np.repeat(np.arange(12), 3).tolist()
        assert set(np.unique(arrays["train"] // 3, return_counts=True)[1].tolist()) == {3}
    with np.load(by_number.path / "split.npz") as arrays:
        assert arrays["groups"].tolist() == np.repeat(np.arange(6), 3).tolist() * 2


def test_groups_are_counted_and_written_down_for_the_statistics(tmp_path):
    said: list[str] = []
    folder, _ = begin(save_images(tmp_path / "data"), tmp_path / "study", said.append, group=r"(\d)\.tif")
    line = "Groups of images, each on one side of the split: 5, of them {train} in train, {val} in val, {test} in test."
    with np.load(folder.path / "split.npz") as arrays:
        assert arrays["groups"].tolist() == [0, 1, 2, 3, 4] * 2
        assert line.format(**{side: len(arrays[side]) // 2 for side in ("train", "val", "test")}) in said
    folder, _ = begin(tmp_path / "data", tmp_path / "without", said.append)
    with np.load(folder.path / "split.npz") as arrays:
        assert "groups" not in arrays
    assert sum(line.startswith("Groups") for line in said) == 1


def split_of(folder: StudyFolder, suffix: str = "") -> dict[str, np.ndarray]:
    with np.load(folder.path / f"split{suffix}.npz") as arrays:
        return dict(arrays)


def test_each_seed_has_its_own_split_that_of_the_next_split_seed(tmp_path: Path) -> None:
    data = save_images(tmp_path / "data")
    folder, _ = begin(data, tmp_path / "study", resplit=True, seeds=3, split_seed=7)
    for seed, suffix in enumerate(("", "-s1", "-s2")):
        alone, _ = begin(data, tmp_path / f"alone-{seed}", split_seed=7 + seed)
        for side, indices in split_of(alone).items():
            assert np.array_equal(split_of(folder, suffix)[side], indices)
    assert not (tmp_path / "alone-0/split-s1.npz").exists()


def test_resplit_without_anything_to_divide_anew_is_refused_with_the_cause(tmp_path: Path) -> None:
    data = save_images(tmp_path / "data")
    with pytest.raises(UserError, match=r"nothing to divide anew: images of '.*' have no labels; leave it out\."):
        begin(data, tmp_path / "study", resplit=True, unlabelled=True)
    table = tmp_path / "given.csv"
    sides = ["train", "train", "train", "val", "test"]
    rows = [f"{label}/{number}.tif,{label},{side}" for label in ("bean", "pea") for number, side in enumerate(sides)]
    table.write_text("\n".join(["path,label,split", *rows]))
    with pytest.raises(UserError, match=r"' have a split that is given with them; leave it out\."):
        begin(data, tmp_path / "study", resplit=True, manifest=str(table))


@pytest.mark.parametrize("units", ["groups", "images"])
def test_resplit_of_too_few_names_what_they_are_too_few_of(units: str) -> None:
    items = ItemTable.of([Item(name, "class", group=name * (units == "groups") or None) for name in "abcdef"])
    same = Split(np.arange(4), np.array([4]), np.array([5]))
    with pytest.raises(UserError, match=f"' have too few {units} to be divided otherwise; leave it out"):
        require_resplit(items, same, same, StudyConfig())


def test_resplit_of_given_test_images_says_that_validation_alone_differs(tmp_path: Path) -> None:
    items = ItemTable.of([Item(name, "class") for name in "abcdef"])
    other = Split(np.arange(4), np.array([4]), np.array([5]))
    moved = Split(np.array([0, 1, 2, 4]), np.array([3]), np.array([5]))
    assert "validation differs from seed to seed" in require_resplit(items, other, moved, StudyConfig())
    assert require_resplit(items, other, Split(moved.train, np.array([5]), np.array([3])), StudyConfig()) == ""


def save_photographs(root: Path) -> dict[str, str]:
    """A folder of two classes with copies, and of which image each is one."""
    rng = np.random.default_rng(0)
    copies = {}
    for label in ("bean", "pea"):
        (root / label).mkdir(parents=True)
        for number in range(20):
            picture = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8)).resize(
                (96, 96), Image.Resampling.BICUBIC
            )
            picture.save(root / label / f"{number:02d}.png")
            if number < 10:
                copies[f"{label}/small_{number}.jpg"] = f"{label}/{number:02d}.png"
                picture.resize((64, 64)).save(root / f"{label}/small_{number}.jpg", quality=80)
    return copies


def test_a_batch_is_large_enough_for_the_devices_where_trainings_are_of_so_many_images() -> None:
    items = ItemTable.of([Item(f"{number}.png", "ab"[number % 2]) for number in range(40)])

    def refused(**options: object) -> str:
        asked = {"methods": "simclr,random", "per_class": "1,all", "devices": 4, **options}
        try:
            require_shared_batches(validate(asked), items)
        except UserError as error:
            return str(error)
        return ""

    few = "--per-class 1: a training on 2 images has batches of 2, too few for --devices 4; use --devices 2, or "
    for options in ({}, {"methods": "auto"}, {"methods": "supervised", "protocol": "label-efficiency"}):
        assert refused(**options) == few + "train on more images."
    small = "--per-class all: a training on 28 images has batches of 2, too few for --devices 4; use --devices 2, or "
    assert refused(per_class="all", batch_size=3) == small + "a larger --batch-size."
    for options in ({"devices": 2}, {"per_class": "2,all"}, {"methods": "random"}, {"protocol": "label-efficiency"}):
        assert not refused(**options), options


def test_copies_stay_on_one_side_unless_they_may_be_divided(tmp_path: Path) -> None:
    copies = save_photographs(tmp_path / "data")
    said: list[str] = []
    folder, _ = begin(tmp_path / "data", tmp_path / "study", say=said.append)
    split, names = split_of(folder), list(pd.read_csv(folder.path / "images.csv").path)
    side_of = {names[index]: side for side in ("train", "val", "test") for index in split[side]}
    assert all(side_of[name] == side_of[original] for name, original in copies.items())
    groups = dict(zip(names, split["groups"].tolist(), strict=True))
    assert not folder.read_json("dataset.json")["grouped"]
    assert all(
        (groups[one] == groups[other]) == (copies.get(one) == other)
        for one in copies
        for other in names
        if one != other
    )
    assert (
        sum(line.startswith("Images that are earlier ones in another size or compression: 20 (") for line in said) == 1
    )
    audit = pd.read_csv(folder.path / "audit.csv")
    assert set(audit[audit.problem == "near duplicate"].path) == set(copies)

    divided, _ = begin(tmp_path / "data", tmp_path / "divided", split_duplicates=True, say=said.append)
    old = split_images(np.repeat([0, 1], 30), val_fraction=0.1, test_fraction=0.2, seed=0)
    assert all(np.array_equal(split_of(divided)[side], getattr(old, side)) for side in ("train", "val", "test"))
    across = pd.read_csv(divided.path / "audit.csv").problem.value_counts()["duplicate across split"]
    assert sum(line.startswith(f"Copies of images on another side of the split: {across} (") for line in said) == 1


def test_pixels_under_several_classes_are_listed_and_never_evaluated(tmp_path: Path) -> None:
    save_photographs(tmp_path / "data")
    for number in range(6):
        shutil.copy(tmp_path / f"data/bean/{number + 12}.png", tmp_path / f"data/pea/also_{number}.png")
    for options in ({}, {"split_duplicates": True}, {"group": r"(\d+)\.png"}):
        folder, _ = begin(tmp_path / "data", tmp_path / f"study-{len(options)}-{''.join(options)}", **options)
        names, split = list(pd.read_csv(folder.path / "images.csv").path), split_of(folder)
        audit = pd.read_csv(folder.path / "audit.csv")
        conflicts = set(audit[audit.problem == "label conflict"].path)
        assert conflicts == {f"bean/{n + 12}.png" for n in range(6)} | {f"pea/also_{n}.png" for n in range(6)}
        assert not conflicts & {names[index] for side in ("val", "test") for index in split[side]}


def test_the_digits_hold_no_copies_and_keep_their_split(tmp_path: Path) -> None:
    folder, _ = begin(Path("digits"), tmp_path / "study")
    split = split_of(folder)
    labels = open_store(folder.read_json("dataset.json")["store"]).labels
    old = split_images(labels, val_fraction=0.1, test_fraction=0.2, seed=0)
    assert set(split) == {"train", "val", "test"}
    assert all(np.array_equal(split[side], getattr(old, side)) for side in split)


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("images", [1, 2, 3, 4])
def test_one_to_four_images_are_refused_before_anything_runs(tmp_path: Path, images: int, labelled: bool) -> None:
    rng = np.random.default_rng(0)
    for number in range(images):
        place = tmp_path / "data" / (f"class {number % 2}" if labelled else "all")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).save(place / f"{number}.png")
    values = {"data": str(tmp_path / "data"), "methods": "random", "backbones": "test_resnet"}
    noun = "image" if images == 1 else "images"
    said: list[str] = []
    plan = partial(plan_study, say=said.append)
    for refused in (plan, lambda values: begin(tmp_path / "data", tmp_path / "study")):
        with pytest.raises(UserError, match=rf"has {images} {noun} that can be used.*; give at least 5"):
            refused(values)
    assert said == []  # of a plan that there is not


def test_images_of_which_none_can_be_read_are_refused_by_a_plan_as_by_a_run(tmp_path: Path) -> None:
    for path in save_images(tmp_path / "data").rglob("*.tif"):
        path.write_bytes(b"no image")
    for refused in (plan_study, lambda values: begin(tmp_path / "data", tmp_path / "study")):
        with pytest.raises(
            UserError, match=r"No image of 'data' can be read, of 10 \(10 x not an image .*'bean/0.tif'"
        ):
            refused({"data": str(tmp_path / "data")})


def test_classes_of_two_images_cannot_be_validated_and_that_is_said(tmp_path: Path) -> None:
    save_images(tmp_path / "data", per_class=2)
    (tmp_path / "data/rye").mkdir()
    Image.fromarray(np.zeros((12, 12), np.uint8)).save(tmp_path / "data/rye/1.png")
    with pytest.raises(UserError, match=r"hold one out for validation and one for the test \(3 are needed\)"):
        begin(tmp_path / "data", tmp_path / "study")


@pytest.mark.usefixtures("without_pictures")
def test_a_class_of_one_image_and_batches_of_two_run_to_their_end(tmp_path: Path) -> None:
    save_images(tmp_path / "data", per_class=4)
    (tmp_path / "data/rye").mkdir()
    Image.fromarray(np.arange(144, dtype=np.uint8).reshape(12, 12)).save(tmp_path / "data/rye/1.png")
    grid = {"backbone": "test_resnet", "image_size": 32, "executor": "inline", "threads": 1, "augmentations": "weak"}
    study = selfsup.compare(
        tmp_path / "data", out=tmp_path / "study", methods="moco,supervised", lrs="0.01", per_class="1,all", epochs=1,
        batch_size=2, **grid,
    )  # fmt: skip
    assert set(study.results.status) <= {"done", "collapsed"}
    assert study.results.train_images.tolist() == [3, 5, 3, 5]


def test_a_report_tells_one_data_set_from_another_wherever_it_lies(tmp_path):
    from selfsup.report.recorded import read_study

    here = save_images(tmp_path / "a" / "photos")
    there = Path(shutil.copytree(here, tmp_path / "b" / "photos"))
    other = save_images(tmp_path / "c" / "photos", per_class=6)
    first, copy, another = (
        read_study(begin(data, tmp_path / f"study-{number}")[0].path).images
        for number, data in enumerate((here, there, other))
    )
    assert first == copy
    assert len(first) == 10
    assert first != another


def test_a_plan_says_which_channels_are_taken_and_refuses_what_cannot_be(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / "d" / label).mkdir(parents=True)
        for number in range(4):
            pixels = np.random.default_rng([number, ord(label)]).random((2, 12, 12))
            np.save(tmp_path / "d" / label / f"{number}.npy", pixels)
    asked = {
        "data": str(tmp_path / "d"), "methods": "random", "backbones": "test_resnet", "image_size": 16, "per_class": 2,
        "references": "none", "augmentations": "auto", "threads": 1,
    }  # fmt: skip
    plan = plan_study(asked)
    assert [entry.detail for entry in plan.audit if entry.problem == "channels"] == [
        "images of 2 channels: all are taken"
    ]
    with pytest.raises(UserError, match=r"--channels 3,1 asks for more than .* have \(2 channels\)"):
        plan_study({**asked, "channels": "3,1"})
    with pytest.raises(UserError, match="--augmentations byol is for images of 3 channels, and these have 2"):
        plan_study({**asked, "augmentations": "byol"})
    folder, config = begin(tmp_path / "d", tmp_path / "study")
    images = ImagesSeen.decoded(prepare_images(folder, config, print))
    with pytest.raises(UserError, match="--show-channels 4 names 4, which is none of those"):
        resolve_for_images(config.model_copy(update={"show_channels": (4,)}), images, print)


def save_unequal(root: Path) -> Path:
    """30 beans and 6 peas."""
    data = save_images(root, per_class=30)
    for number in range(6, 30):
        (data / "pea" / f"{number}.tif").unlink()
    return data


def test_very_unequal_classes_are_said_in_one_line_that_names_another_metric(tmp_path: Path) -> None:
    said: list[str] = []
    data = save_unequal(tmp_path / "data")
    begin(data, tmp_path / "study", said.append)
    line = (
        "Very unequal classes, of 1 to 6 test images: accuracy speaks for the large ones, so balanced accuracy is "
        "shown beside it; --metric balanced-accuracy compares by it."
    )
    assert said.count(line) == 1
    said.clear()
    begin(data, tmp_path / "balanced", said.append, metric="balanced-accuracy")
    begin(save_images(tmp_path / "equal"), tmp_path / "other", said.append)
    assert not [text for text in said if text.startswith("Very unequal")]


def test_a_metric_that_cannot_be_computed_is_refused_before_anything_runs(tmp_path: Path) -> None:
    data = save_unequal(tmp_path / "data")
    for number in range(2, 6):  # too few peas for any to be held out
        (data / "pea" / f"{number}.tif").unlink()
    with pytest.raises(UserError, match=r"--metric auroc tells classes apart, and all images held out .* of one class"):
        begin(data, tmp_path / "study", metric="auroc")
