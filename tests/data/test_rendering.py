"""What is decided once for a study: from few images, and only if an image needs it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pictures import save_picture
from selfsup.data import rendering
from selfsup.data.formats.depth import DeepPixels, deep_pixels
from selfsup.data.rendering import SAMPLE, Renderer, Rendering
from selfsup.data.sources._image_folder import FolderSource


@pytest.mark.parametrize("decided", [Rendering(), Rendering((0, 4095), (-1.5, 2.25), 255), Rendering(ground=0)])
def test_a_rendering_is_stored_as_json(decided: Rendering) -> None:
    assert Rendering.from_json(json.loads(json.dumps(asdict(decided)))) == decided


def test_at_most_64_images_are_measured_evenly_spaced_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(200):
        Image.fromarray(np.full((8, 8), 300 + number, np.uint16)).save(tmp_path / f"{number:03d}.tif")
    (tmp_path / "last.tif").write_bytes(b"no image")
    measured: list[int] = []

    def watch(image: Image.Image) -> DeepPixels:
        pixels = deep_pixels(image)
        measured.append(int(pixels.values.max()) - 300)
        return pixels

    monkeypatch.setattr(rendering, "deep_pixels", watch)
    renderer = Renderer(FolderSource(tmp_path))
    assert renderer.rendering() == Rendering()
    assert renderer.scale("integer") == renderer.scale("integer") == (300, 499)
    assert len(measured) == SAMPLE == 64
    assert measured[0] == 0
    assert measured[-1] == 199
    assert set(np.diff(measured)) <= {3, 4}
    assert renderer.rendering() == Rendering(integer=(300, 499))


def test_what_is_given_is_not_measured(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png")
    source = FolderSource(tmp_path)
    source.open = lambda index: pytest.fail("was opened")  # type: ignore[method-assign]
    renderer = Renderer(source, Rendering((0, 7), (1, 2), 0))
    assert (renderer.scale("integer"), renderer.scale("floating"), renderer.ground()) == ((0, 7), (1, 2), 0)
    assert renderer.scale("8-bit") == (0, 255)
