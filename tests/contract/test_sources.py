"""Every source keeps the contract, and the contract's checks catch what breaks it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from published_copies import FAKES
from selfsup import registry
from selfsup.data.audit import AuditEntry
from selfsup.data.items import Item
from selfsup.data.sources._image_folder import FolderSource
from selfsup.data.sources.base import Arrays, ArraySource, Source, SourceOptions
from selfsup.testing.sources import check_source

Maker = Callable[[Path, pytest.MonkeyPatch], SourceOptions]


def folder_of_plants(root: Path) -> Path:
    for label, species in enumerate(("Charlock", "Maize", "Scentless Mayweed")):
        (root / species).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (9 + number, 7), (40 * label, 100 * number, 0)).save(root / species / f"{number}.png")
    return root


def copy_of(name: str) -> Maker:
    return lambda root, monkeypatch: SourceOptions(data_root=FAKES[name](monkeypatch).lie_in(root))


#: How a test comes by the files of each source.
MAKERS: dict[str, Maker] = {
    "digits": lambda root, monkeypatch: SourceOptions(),
    "plant-seedlings": lambda root, monkeypatch: SourceOptions(data_root=folder_of_plants(root)),
    **{name: copy_of(name) for name in FAKES},
}


@pytest.mark.parametrize("name", registry.ours(registry.SOURCE))
def test_source_keeps_the_contract(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert name in MAKERS, "a new source needs a maker of its files here"
    check_source(registry.load(registry.SOURCE, name), MAKERS[name](tmp_path, monkeypatch))


def test_a_folder_keeps_the_contract(tmp_path: Path) -> None:
    (folder_of_plants(tmp_path) / "notes.txt").write_text("not an image")
    check_source(lambda options: FolderSource(tmp_path, unlabelled=options.unlabelled))


# -- the checks themselves ---------------------------------------------------------------------------

IMAGES = 6


class Stripes(ArraySource):
    """A correct source of a few lines: six images of three classes, the last two for the test."""

    def __init__(self, options: SourceOptions) -> None:
        super().__init__("stripes", self.read, identity="1", unlabelled=options.unlabelled)

    def read(self) -> Arrays:
        pixels = np.stack([np.full((8, 9), 40 * index, np.uint8) for index in range(IMAGES)])
        return Arrays(pixels, [f"class {index % 3}" for index in range(IMAGES)], ["train"] * 4 + ["test"] * 2)


def test_the_checks_accept_an_outside_source() -> None:
    check_source(Stripes)


class Nameless(Stripes):
    """Has an empty name."""

    def __init__(self, options: SourceOptions) -> None:
        super().__init__(options)
        self.name = ""


class Empty(Stripes):
    """Has no images."""

    items: Sequence[Item] = ()


class Repeating(Stripes):
    """Calls two images the same."""

    items = tuple(map(Item, "aacdef"))


class Absolute(Stripes):
    """Names images by where they lie on the disk."""

    items = tuple(Item(f"/data/{index}") for index in range(IMAGES))


class Untyped(Stripes):
    """Gives names alone."""

    items: Any = tuple("abcdef")


class Numbered(Stripes):
    """Gives numbers for labels."""

    items: Any = tuple(Item(name, label=index) for index, name in enumerate("abcdef"))  # type: ignore[arg-type]


class Nowhere(Stripes):
    """Gives an empty text where there is no group."""

    items = tuple(Item(name, group="") for name in "abcdef")


class Misspelt(Stripes):
    """Gives images for a side of another name."""

    items = tuple(Item(name, split="valid") for name in "abcdef")  # type: ignore[arg-type]


class AllTest(Stripes):
    """Leaves nothing to train on."""

    items = tuple(Item(name, "x", "test") for name in "abcdef")


class Contradictory(Stripes):
    """Says of an image that it is not used."""

    ignored = (AuditEntry("stripes/0", "unreadable", "torn"),)


class Shuffled(Stripes):
    """Lists its images in another order each time."""

    opened = 0

    def __init__(self, options: SourceOptions) -> None:
        super().__init__(options)
        type(self).opened += 1
        self.items = [Item(f"i{n}") for n in np.random.default_rng(self.opened).permutation(IMAGES)]


class Relabelled(Stripes):
    """Has other labels each time."""

    opened = 0

    def __init__(self, options: SourceOptions) -> None:
        super().__init__(options)
        type(self).opened += 1
        self.items = [Item(name, f"{self.opened}") for name in "abcdef"]


class Restless(Stripes):
    """Has another fingerprint each time."""

    def fingerprint(self) -> str:
        return str(time.perf_counter_ns())


class Stubborn(Stripes):
    """Has labels, whatever is asked."""

    def __init__(self, options: SourceOptions) -> None:
        super().__init__(SourceOptions())


class Coarse(Stripes):
    """Has one fingerprint with labels and without."""

    def fingerprint(self) -> str:
        return "stripes"


class Raw(Stripes):
    """Opens an image as an array."""

    def open(self, index: int) -> Any:
        return np.asarray(super().open(index))


class Grainy(Stripes):
    """Opens an image differently each time."""

    opened = 0

    def open(self, index: int) -> Image.Image:
        self.opened += 1
        return Image.new("L", (8, 9), self.opened % 256)


class OneHanded(Stripes):
    """Keeps the place at which it reads, so that threads disturb each other."""

    def open(self, index: int) -> Image.Image:
        self.place = index
        time.sleep(0.002)
        return super().open(self.place)


class Torn(Stripes):
    """Lists an image that cannot be read."""

    def open(self, index: int) -> Image.Image:
        image = super().open(index)
        return Image.new("L", (0, 0)) if index == 3 else image


BROKEN = [
    (Nameless, "name is empty"),
    (Empty, "no images"),
    (Repeating, "one name"),
    (Absolute, "no path relative"),
    (Untyped, "other things than Item"),
    (Numbered, "is an empty text, or none"),
    (Nowhere, "an empty text, or none"),
    (Misspelt, "another side than train, val, test"),
    (AllTest, "nothing to train"),
    (Contradictory, "in ignored too"),
    (Shuffled, "other items, or another order"),
    (Relabelled, "other items, or another order"),
    (Restless, "another fingerprint"),
    (Stubborn, "with unlabelled it has labels"),
    (Coarse, "same with and without labels"),
    (Raw, "no PIL image"),
    (Grainy, "other pixels"),
    (OneHanded, "in several threads"),
    (Torn, "not all images can be read"),
]


@pytest.mark.parametrize(("cls", "promise"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_the_checks_name_the_promise_that_a_source_breaks(cls: Callable[[SourceOptions], Source], promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check_source(cls)
