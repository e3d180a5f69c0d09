"""Whatever is drawn on nothing is still seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from selfsup.data.build import prepare_store
from selfsup.data.formats.transparency import contrasts_of
from selfsup.data.rendering import Rendering
from selfsup.data.sources import open_source
from selfsup.data.store import Store


def drawing(number: int, colour: tuple[int, int, int]) -> Image.Image:
    """A box of a colour on nothing, which is stored as black."""
    image = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    ImageDraw.Draw(image).rectangle((4 + number, 6, 20 + number, 25), fill=(*colour, 255))
    return image


def as_palette(image: Image.Image) -> Image.Image:
    """The same with a palette, all of one colour, of which one entry is transparent."""
    opaque = np.asarray(image)[..., 3] > 0
    result = Image.fromarray(opaque.astype(np.uint8), "P")
    result.putpalette(list(image.getpixel((16, 16))[:3]) * 2)  # type: ignore[index]
    return result


def store_of(folder: Path, rendering: Rendering | None = None) -> Store:
    return prepare_store(
        open_source(str(folder)), store_size=32, rendering=rendering, cache_dir=folder.parent / "cache"
    )


def told(store: Store) -> list[str]:
    return [entry.detail for entry in store.audit if entry.problem == "transparency"]


@pytest.mark.parametrize(
    ("colours", "ground"),
    [
        ([(0, 0, 0)], 255),
        ([(255, 255, 255)], 0),
        ([(0, 0, 0), (255, 255, 255)], 128),
        ([(30, 90, 40), (200, 60, 50)], 255),
    ],
)
def test_the_ground_is_that_on_which_everything_stands_out(
    tmp_path: Path, colours: list[tuple[int, int, int]], ground: int
) -> None:
    (tmp_path / "d").mkdir()
    for number in range(6):
        drawing(number, colours[number % len(colours)]).save(tmp_path / f"d/{number}.png")
    store = store_of(tmp_path / "d")
    assert store.rendering == Rendering(ground=ground)
    assert len(set(store.digests.tolist())) == 6
    for index in range(6):
        assert store.image(index)[0, 0].tolist() == [ground] * 3
        assert store.image(index)[16, 16].tolist() == list(colours[index % len(colours)])
    name = {0: "black", 128: "grey", 255: "white"}[ground]
    assert told(store) == [f"6 images with transparent pixels: on {name}, on which what they show stands out most"]


@pytest.mark.parametrize("format", ["png", "gif"])
def test_a_transparent_colour_of_a_palette_counts(tmp_path: Path, format: str) -> None:
    (tmp_path / "d").mkdir()
    for number in range(3):
        as_palette(drawing(number, (0, 0, 0))).save(tmp_path / f"d/{number}.{format}", transparency=0)
    store = store_of(tmp_path / "d")
    assert store.rendering.ground == 255
    assert len(set(store.digests.tolist())) == 3


def test_blank_and_opaque_images_do_not_decide(tmp_path: Path) -> None:
    assert contrasts_of(Image.new("RGBA", (4, 4), (0, 0, 0, 0))) is None
    assert contrasts_of(Image.new("RGBA", (4, 4), (0, 0, 0, 255))) is None
    (tmp_path / "d").mkdir()
    Image.new("RGBA", (4, 4), (255, 255, 255, 255)).save(tmp_path / "d/opaque.png")
    assert store_of(tmp_path / "d").rendering == Rendering()
    assert told(store_of(tmp_path / "d")) == []


def test_a_given_ground_holds(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    drawing(0, (0, 0, 0)).save(tmp_path / "d/0.png")
    store = store_of(tmp_path / "d", Rendering(ground=128))
    assert store.image(0)[0, 0].tolist() == [128] * 3
    assert told(store) == ["1 image with transparent pixels: on grey, as given"]
