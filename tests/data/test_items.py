"""Items as arrays: the same as one by one, without an object for each image."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from selfsup.data.items import Item, ItemTable, TabledItems
from selfsup.data.sources import open_source

ITEMS = [
    Item("a/1", "fern", "test", "tom", (0, 2)),
    Item("a/2", None, None, None, (2,)),
    Item("b/3", "alga", "train"),
    Item("b/4", "moss", "val", "tim"),
]


def test_items_of_a_table_are_those_that_it_was_made_of() -> None:
    tabled = TabledItems(ItemTable.of(ITEMS))
    assert list(tabled) == ITEMS
    assert (tabled[-1], tabled[1:3], len(tabled)) == (ITEMS[-1], ITEMS[1:3], 4)
    assert ItemTable.of(tabled) is tabled.table


@pytest.mark.parametrize("kept", [[0, 1, 2, 3], [0, 2], [1, 3], [1], [2]])
def test_some_of_a_table_are_the_table_of_some(kept: list[int]) -> None:
    taken, expected = ItemTable.of(ITEMS).take(np.array(kept)), ItemTable.of([ITEMS[index] for index in kept])
    assert list(TabledItems(taken)) == list(TabledItems(expected)) == [ITEMS[index] for index in kept]
    assert taken.classes == expected.classes


def test_images_of_a_folder_take_little_memory_beside_their_names(tmp_path: Path) -> None:
    def kept(images: int) -> int:
        """Bytes that the source of a folder holds."""
        for number in range(10):
            (tmp_path / str(images) / f"class {number}").mkdir(parents=True)
        for number in range(images):
            (tmp_path / str(images) / f"class {number % 10}/{number:06}.png").touch()
        tracemalloc.start()
        source = open_source(str(tmp_path / str(images)))
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(source.items) == images
        return size

    few, many = kept(200), kept(1700)
    name = 49 + len("class 0/000000.png") + 2 * 8  # a text, and a reference to it from two places
    assert (many - few) / 1500 < name + 4 * 8 + 40  # size, time, label and side; an Item alone takes 80 more
