"""Images of more than 8 bits share one scale, decided from the data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictures import save_picture
from PIL import Image

from selfsup.data import open_source, prepare_store
from selfsup.data.depth import SAMPLE, DeepScale, level_above
from selfsup.data.sources._folder import FolderSource


@pytest.mark.parametrize(
    ("largest", "floating", "level"),
    [
        (0, False, 255), (1, False, 255), (255, False, 255), (256, False, 1023), (1023, False, 1023),
        (3911, False, 4095), (4096, False, 16383), (16384, False, 65535), (65535, False, 65535),
        (70_000, False, 2**24 - 1), (2**30, False, 2**32 - 1), (0.7, True, 1), (1, True, 1), (1.5, True, 255),
        (2.0**40, True, 2.0**40),
    ],
)  # fmt: skip
def test_the_scale_is_the_next_usual_number_of_bits(largest: float, floating: bool, level: float) -> None:
    assert level_above(largest, floating=floating) == level


def save_deep(path: Path, largest: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros((8, 8), np.uint16)
    values[0, 0] = largest
    Image.fromarray(values).save(path)


def test_one_scale_serves_a_dark_and_a_bright_image(tmp_path: Path) -> None:
    save_deep(tmp_path / "dark.tif", 400)
    save_deep(tmp_path / "bright.tif", 4000)
    save_picture(tmp_path / "plain.png", height=8, width=8)
    store = prepare_store(open_source(str(tmp_path)), store_size=32, cache_dir=tmp_path / "cache")
    brightest = {name: int(store.image(index).max()) for index, name in enumerate(store.names)}
    assert brightest["dark.tif"] == round(400 * 255 / 4095)
    assert brightest["bright.tif"] == round(4000 * 255 / 4095)
    (entry,) = (entry for entry in store.audit if entry.problem == "sixteen-bit scale")
    assert "2 images" in entry.detail
    assert "0 to 4095 becomes 0 to 255" in entry.detail
    assert "4000" in entry.detail


def test_at_most_64_images_are_measured_evenly_spaced(tmp_path: Path) -> None:
    for number in range(200):
        save_deep(tmp_path / f"{number:03d}.tif", 300 + number)
    source = FolderSource(tmp_path)
    decoded: list[int] = []
    scale = DeepScale(source)
    measure = scale._extremes
    scale._extremes = lambda index: (decoded.append(index), measure(index))[1]  # type: ignore[method-assign, assignment]
    assert scale() == 1023
    assert scale() == 1023
    assert len(decoded) == SAMPLE == 64
    assert decoded[0] == 0
    assert decoded[-1] == 199
    assert set(np.diff(decoded)) <= {3, 4}


def test_negative_values_and_floats_are_told_of(tmp_path: Path) -> None:
    Image.fromarray(np.array([[-3.0, 0.25, 1.0]], np.float32)).save(tmp_path / "f.tif")
    store = prepare_store(open_source(str(tmp_path)), store_size=32, cache_dir=tmp_path / "cache")
    assert store.image(0)[0, :, 0].tolist() == [0, 64, 255]
    (entry,) = store.audit
    assert "values below 0 become 0" in entry.detail


def test_colours_of_sixteen_bits_are_told_of(tmp_path: Path) -> None:
    # Pillow cannot write these: a PNG of 2x1 pixels, 16 bits per colour, made by hand.
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    row = b"\0" + struct.pack(">6H", 0xFF00, 0x8000, 0x0100, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    (tmp_path / "1.png").write_bytes(png)
    store = prepare_store(open_source(str(tmp_path)), store_size=32, cache_dir=tmp_path / "cache")
    assert store.image(0).tolist() == [[[255, 128, 1], [0, 0, 0]]]
    (entry,) = store.audit
    assert (entry.path, entry.problem) == ("*", "sixteen-bit scale")
    assert "upper 8" in entry.detail
