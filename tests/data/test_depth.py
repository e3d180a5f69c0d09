"""Images of more than 8 bits share one scale, decided from the data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pictures import save_picture
from selfsup.data.build import prepare_store
from selfsup.data.depth import SAMPLE, DeepScale, Extent, choose_full_scale, deep_values, level_above
from selfsup.data.sources import open_source
from selfsup.data.sources._image_folder import FolderSource
from selfsup.data.store import Store


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


def extents(*largest: float, floating: bool = False) -> list[Extent]:
    return [Extent(0, value, floating) for value in largest]


@pytest.mark.parametrize(
    ("largest", "scale"),
    [
        ([400, 4000], 4095),  # of two, neither is a stray
        ([4000] * 3 + [65535], 65535),
        ([4000] * 4 + [65535], 4095),
        ([65535] + [4000] * 59, 4095),
        ([65535] * 3 + [4000] * 61, 4095),
        ([65535] * 4 + [4000] * 60, 65535),  # more than one in 20 are no strays
        ([900] * 59 + [4000], 4095),  # two bits more: the others stay visible
        ([900] * 59 + [10_000], 1023),
        ([900] * 58 + [4000, 65535], 4095),
        ([4000] * 64, 4095),
        ([0] * 10, 255),
    ],
)
def test_a_few_strays_do_not_decide_for_the_rest(largest: list[float], scale: float) -> None:
    assert choose_full_scale(extents(*largest)) == scale


def test_a_stray_among_floating_point_images_does_not_decide_either() -> None:
    assert choose_full_scale(extents(*[0.8] * 20, 200.0, floating=True)) == 1
    assert choose_full_scale(extents(*[0.8] * 2, 200.0, floating=True)) == 255


def save_deep(path: Path, largest: float, dtype: type = np.uint16) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros((8, 8), dtype)
    values[0, 0] = largest
    Image.fromarray(values).save(path)


def store_of(folder: Path, full_scale: float | None = None) -> Store:
    source = open_source(str(folder))
    return prepare_store(source, store_size=32, full_scale=full_scale, cache_dir=folder.parent / "cache")


def brightest(store: Store) -> dict[str, int]:
    return {name: int(store.image(index).max()) for index, name in enumerate(store.names)}


def scale_row(store: Store) -> str:
    (entry,) = (entry for entry in store.audit if entry.problem == "brightness scale")
    assert entry.path == "*"
    assert "--full-scale" in entry.detail
    return entry.detail


def test_one_scale_serves_a_dark_and_a_bright_image(tmp_path: Path) -> None:
    save_deep(tmp_path / "d/dark.tif", 400)
    save_deep(tmp_path / "d/bright.tif", 4000)
    save_picture(tmp_path / "d/plain.png", height=8, width=8)
    store = store_of(tmp_path / "d")
    assert brightest(store)["dark.tif"] == round(400 * 255 / 4095)
    assert brightest(store)["bright.tif"] == round(4000 * 255 / 4095)
    row = scale_row(store)
    assert row.startswith("2 images of more than 8 bits: 0 to 4095 becomes 0 to 255")
    assert "largest value of each of the 2 measured: 400 to 4000, median 2200" in row
    assert "clipped" not in row
    assert (store.depth.full_scale, store.depth.images, store.depth.clipped) == (4095, 2, 0)


def test_one_stray_image_is_clipped_and_the_others_stay_bright(tmp_path: Path) -> None:
    for number in range(60):
        save_deep(tmp_path / f"d/{number:02d}.tif", 60_000 if number == 41 else 2048)
    store = store_of(tmp_path / "d")
    assert set(brightest(store).values()) == {round(2048 * 255 / 4095), 255}
    row = scale_row(store)
    assert "60 measured: 2048 to 60000, median 2048" in row
    assert "clipped, for values above 4095: 1, the first '41.tif' (up to 60000)" in row


def test_images_beyond_the_scale_are_counted_even_where_they_were_not_measured(tmp_path: Path) -> None:
    for number in range(200):
        save_deep(tmp_path / f"d/{number:03d}.tif", 5000 if number in (1, 2) else 3000)
    store = store_of(tmp_path / "d")
    assert (store.depth.full_scale, store.depth.clipped) == (4095, 2)
    assert "clipped, for values above 4095: 2, the first '001.tif' (up to 5000)" in scale_row(store)


def test_a_given_scale_holds_and_makes_another_store(tmp_path: Path) -> None:
    for number in range(6):
        save_deep(tmp_path / f"d/{number}.tif", 1000 * number)
    decided, given = store_of(tmp_path / "d"), store_of(tmp_path / "d", 2000)
    assert decided.path != given.path
    assert list(brightest(given).values()) == [0, 128, 255, 255, 255, 255]
    assert "0 to 2000 becomes 0 to 255, as given" in scale_row(given)
    assert "above 2000: 3, the first '3.tif' (up to 3000)" in scale_row(given)
    assert given.depth.full_scale == 2000


def test_without_deep_images_there_is_no_scale_but_one_that_was_given(tmp_path: Path) -> None:
    save_picture(tmp_path / "d/plain.png", height=8, width=8)
    for full_scale in (None, 4095.0):
        store = store_of(tmp_path / "d", full_scale)
        assert (store.depth.full_scale, store.depth.images, store.audit) == (full_scale, 0, ())


def test_at_most_64_images_are_measured_evenly_spaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(200):
        save_deep(tmp_path / f"{number:03d}.tif", 300 + number)
    source = FolderSource(tmp_path)
    decoded: list[int] = []
    scale = DeepScale(source)

    def values_of(image: Image.Image) -> np.ndarray:
        values = deep_values(image)
        decoded.append(int(values.max()) - 300)
        return values

    monkeypatch.setattr("selfsup.data.depth.deep_values", values_of)
    assert scale() == 1023
    assert scale() == 1023
    assert len(decoded) == SAMPLE == 64
    assert decoded[0] == 0
    assert decoded[-1] == 199
    assert set(np.diff(decoded)) <= {3, 4}


def test_floats_and_negative_values_are_told_of(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    Image.fromarray(np.array([[-3.0, 0.25, 1.0]], np.float32)).save(tmp_path / "d/f.tif")
    store = store_of(tmp_path / "d")
    assert store.image(0)[0, :, 0].tolist() == [0, 64, 255]
    row = scale_row(store)
    assert row.startswith("1 image of floating-point numbers: 0 to 1 becomes 0 to 255")
    assert "values below 0 become 0: in 1" in row


def test_floats_among_integers_are_counted(tmp_path: Path) -> None:
    save_deep(tmp_path / "d/a.tif", 4000)
    save_deep(tmp_path / "d/b.tif", 3000.5, np.float32)
    assert scale_row(store_of(tmp_path / "d")).startswith("2 images of more than 8 bits (1 floating-point): 0 to 4095")


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
    assert (entry.path, entry.problem) == ("*", "sixteen-bit colour")
    assert "upper 8" in entry.detail
