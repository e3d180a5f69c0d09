"""Colours of 16 bits are read as they are, whatever file holds them."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.ndimage import gaussian_filter

from selfsup.data.decode import decode
from selfsup.data.formats.deep_colour import bits_per_colour
from selfsup.data.formats.depth import deep_pixels, kind_of
from selfsup.data.rendering import Renderer, Rendering

#: Smooth, so that the lossy files come back nearly the same.
COLOURS = np.rint(1030 + 200 * gaussian_filter(np.random.default_rng(0).random((24, 16, 3)), (3, 3, 0))).astype(
    np.uint16
)
ALPHA = np.linspace(0, 65535, 24 * 16).reshape(24, 16, 1).astype(np.uint16)


def tiff(values: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, photometric="rgb", **options)
    return file.getvalue()


FILES: dict[str, Callable[[np.ndarray], bytes]] = {
    "PNG": imagecodecs.png_encode,
    "TIFF": tiff,
    "TIFF, big-endian": lambda values: tiff(values, byteorder=">"),
    "TIFF, LZW": lambda values: tiff(values, compression="lzw"),
    "TIFF, deflate with differences": lambda values: tiff(values, compression="zlib", predictor=True),
    "TIFF, in planes": lambda values: tiff(np.moveaxis(values, -1, 0), planarconfig="separate"),
    "TIFF, tiles": lambda values: tiff(values, tile=(16, 16)),
    "PPM": lambda values: b"P6 16 24 65535\n" + values.astype(">u2").tobytes(),
    "AVIF": lambda values: imagecodecs.avif_encode(values, level=100, bitspersample=12),
    "JPEG 2000": lambda values: imagecodecs.jpeg2k_encode(values, level=0, codecformat="jp2"),
    "JPEG 2000 codestream": lambda values: imagecodecs.jpeg2k_encode(values, level=0, codecformat="j2k"),
}


@pytest.mark.parametrize("file", FILES)
def test_all_bits_are_read(file: str) -> None:
    with Image.open(io.BytesIO(FILES[file](COLOURS))) as image:
        assert kind_of(image) == "integer"
        values, alpha = deep_pixels(image)
    assert np.abs(values - COLOURS).max() <= (1 if "2000" in file else 0)
    assert alpha is None


@pytest.mark.parametrize("file", ["PNG", "TIFF"])
def test_alpha_is_apart(file: str) -> None:
    values = np.concatenate([COLOURS, ALPHA], axis=2)
    options = {} if file == "PNG" else {"extrasamples": ["unassalpha"]}
    with Image.open(io.BytesIO(FILES[file](values, **options))) as image:
        colours, alpha = deep_pixels(image)
    assert np.array_equal(colours, COLOURS)
    assert alpha is not None
    np.testing.assert_allclose(alpha, ALPHA[..., 0] / 65535, rtol=1e-6)


@pytest.mark.parametrize("bits", [10, 12])
def test_an_avif_has_alpha_of_as_many_bits_as_colours(bits: int) -> None:
    values = (np.concatenate([COLOURS, ALPHA // 16], axis=2) // 2 ** (12 - bits)).astype(np.uint16)
    with Image.open(io.BytesIO(imagecodecs.avif_encode(values, level=100, bitspersample=bits))) as image:
        assert bits_per_colour(image) == bits
        colours, alpha = deep_pixels(image)
    assert np.array_equal(colours, values[..., :3])
    assert alpha is not None
    np.testing.assert_allclose(alpha, values[..., 3] / (2**bits - 1), atol=1e-4)


def test_grey_with_alpha_is_read_too() -> None:
    with Image.open(io.BytesIO(imagecodecs.png_encode(np.concatenate([COLOURS[..., :1], ALPHA], axis=2)))) as image:
        colours, alpha = deep_pixels(image)
    assert np.array_equal(colours, COLOURS[..., 0])
    assert alpha is not None


def test_files_of_8_bits_are_left_to_pillow() -> None:
    shallow = (COLOURS // 5).astype(np.uint8)
    files = [encode(shallow) for encode in (imagecodecs.png_encode, tiff, imagecodecs.avif_encode)]
    files += [imagecodecs.jpeg2k_encode(shallow, level=0)]
    for content in [*files, b"P6 16 24 255\n" + shallow.tobytes()]:
        assert bits_per_colour(Image.open(io.BytesIO(content))) == 8


@pytest.mark.parametrize("file", FILES)
def test_an_image_that_a_source_has_loaded_is_taken_as_it_is(tmp_path: Path, file: str) -> None:
    (tmp_path / "a").write_bytes(FILES[file](COLOURS))
    with Image.open(tmp_path / "a") as image:
        image.load()
        renderer = Renderer(None, Rendering(integer=(1030, 1230)))  # type: ignore[arg-type]
        assert decode(image, store_size=32, renderer=renderer).pixels.shape == (24, 16, 3)


@pytest.mark.parametrize("file", ["PNG", "TIFF"])
def test_colours_are_scaled_together_turned_and_put_on_the_ground(file: str) -> None:
    values = np.concatenate([COLOURS, ALPHA], axis=2)
    if file == "PNG":
        content = imagecodecs.png_encode(values)
        exif = Image.Exif()
        exif[0x0112] = 3
        chunk = exif.tobytes().removeprefix(b"Exif\0\0")
        content = (
            content[:33]
            + len(chunk).to_bytes(4)
            + b"eXIf"
            + chunk
            + zlib.crc32(b"eXIf" + chunk).to_bytes(4)
            + content[33:]
        )
    else:
        content = tiff(values, extrasamples=["unassalpha"], extratags=[(0x0112, "H", 1, 3, True)])
    renderer = Renderer(None, Rendering(integer=(1030, 1230), ground=255))  # type: ignore[arg-type]
    with Image.open(io.BytesIO(content)) as image:
        pixels = decode(image, store_size=32, renderer=renderer).pixels
    opacity = ALPHA / 65535
    expected = (COLOURS - 1030.0).clip(0, 200) / 200 * 255 * opacity + 255 * (1 - opacity)
    assert np.abs(pixels[::-1, ::-1] - expected).max() <= 2


def test_a_later_page_is_read() -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, np.stack([COLOURS, COLOURS + 9]), photometric="rgb")
    with Image.open(file) as image:
        image.seek(1)
        assert np.array_equal(deep_pixels(image).values, COLOURS + 9)
