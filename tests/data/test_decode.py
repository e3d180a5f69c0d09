"""Any image becomes upright RGB of a bounded size, with the colours that it shows."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms
from sklearn.datasets import load_sample_image

from pictures import smooth
from selfsup.data.decode import decode, fitted_size
from selfsup.data.formats.image_files import open_image
from selfsup.data.rendering import Renderer, Rendering


def stored(image: Image.Image, format: str, **options: Any) -> Image.Image:
    """The image as a file would give it back."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return Image.open(file)


def rendered(*, scale: tuple[float, float] = (0, 255), ground: int = 0) -> Renderer:
    """A renderer with nothing left to decide."""
    return Renderer(None, Rendering(scale, scale, ground))  # type: ignore[arg-type]


def pixels(
    image: Image.Image, *, store_size: int = 256, scale: tuple[float, float] = (0, 255), ground: int = 0
) -> np.ndarray:
    decoded = decode(image, store_size=store_size, renderer=rendered(scale=scale, ground=ground)).pixels
    assert decoded.dtype == np.uint8
    assert decoded.ndim == 3
    assert decoded.shape[2] == 3
    assert decoded.flags.c_contiguous
    return decoded


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=2)


def test_rgb_comes_back_as_it_was() -> None:
    assert np.array_equal(pixels(stored(Image.fromarray(smooth()), "PNG")), smooth())


def test_one_bit_becomes_black_and_white() -> None:
    bits = smooth()[..., 0] > 128
    assert np.array_equal(pixels(stored(Image.fromarray(bits), "TIFF")), grey(np.where(bits, 255, 0)))


def test_grey_is_repeated_over_the_colours() -> None:
    assert np.array_equal(pixels(stored(Image.fromarray(smooth()[..., 0]), "BMP")), grey(smooth()[..., 0]))


def test_a_palette_shows_its_colours() -> None:
    image = Image.fromarray(smooth()).quantize(16)
    assert np.array_equal(pixels(stored(image, "GIF")), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("format", ["PNG", "GIF"])
@pytest.mark.parametrize("ground", [0, 255])
def test_the_transparent_entry_of_a_palette_is_the_ground(format: str, ground: int) -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([200, 100, 50, 10, 20, 30])
    assert pixels(stored(image, format, transparency=0), ground=ground).tolist() == [[[ground] * 3, [10, 20, 30]]]


def test_the_transparent_colour_of_an_rgb_image_is_the_ground() -> None:
    image = Image.fromarray(np.array([[[9, 9, 9], [10, 20, 30]]], np.uint8))
    assert pixels(stored(image, "PNG", transparency=(9, 9, 9)), ground=255).tolist() == [[[255] * 3, [10, 20, 30]]]


@pytest.mark.parametrize("ground", [0, 128, 255])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_composited_on_the_ground(mode: str, ground: int) -> None:
    alpha = np.linspace(0, 255, smooth()[..., 0].size).astype(np.uint8).reshape(smooth().shape[:2])
    colour = smooth() if mode == "RGBA" else grey(smooth()[..., 0])
    channels = np.dstack([colour if mode == "RGBA" else colour[..., :1], alpha])
    opacity = alpha[..., None] / 255
    expected = colour * opacity + ground * (1 - opacity)
    result = pixels(stored(Image.fromarray(channels, mode), "PNG"), ground=ground)
    assert np.abs(result - expected).max() <= 1


def test_what_lies_under_transparent_pixels_does_not_bleed_when_shrunk() -> None:
    channels = np.zeros((64, 64, 4), np.uint8)
    channels[..., 0] = 255  # red everywhere, and nowhere visible
    assert not pixels(Image.fromarray(channels, "RGBA"), store_size=10).any()


def test_cmyk_is_converted() -> None:
    inks = np.zeros((4, 4, 4), np.uint8)
    inks[..., 1] = 255  # magenta alone
    image = stored(Image.fromarray(inks, "CMYK"), "TIFF")
    assert image.mode == "CMYK"
    assert (pixels(image) == [255, 0, 255]).all()


def test_lab_is_converted_to_srgb() -> None:
    rgb = Image.fromarray(smooth())
    to_lab = ImageCms.profileToProfile(
        rgb, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert to_lab is not None
    image = stored(to_lab, "TIFF")
    assert image.mode == "LAB"
    assert np.abs(pixels(image).astype(int) - smooth()).mean() < 3  # LAB in 8 bits is coarse


@pytest.mark.parametrize("mode", ["HSV", "YCbCr"])
def test_other_colour_spaces_are_converted(mode: str) -> None:
    assert np.abs(pixels(Image.fromarray(smooth()).convert(mode)).astype(int) - smooth()).mean() < 4


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
@pytest.mark.parametrize("format", ["TIFF", "PNG"])
def test_sixteen_bits_of_either_byte_order_are_scaled(dtype: str, format: str) -> None:
    values = (smooth()[..., 0].astype(np.uint16) * 16 + 5).astype(dtype)
    result = pixels(stored(Image.fromarray(values), format), scale=(0, 4095))
    assert np.array_equal(result, grey(np.rint(values.astype(float) * 255 / 4095).astype(np.uint8)))


def test_thirty_two_bit_integers_are_scaled_and_clipped() -> None:
    image = stored(Image.fromarray(np.array([[-5, 0, 100, 200, 999]], np.int32)), "TIFF")
    assert image.mode == "I"
    assert pixels(image, scale=(0, 200))[0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_floats_are_scaled_and_what_is_no_number_is_black() -> None:
    values = np.array([[0.0, 0.5, 1.0, np.nan, np.inf, -np.inf]], np.float32)
    assert pixels(stored(Image.fromarray(values), "TIFF"), scale=(0, 1))[0, :, 0].tolist() == [0, 128, 255, 0, 0, 0]


def test_a_scale_may_begin_below_zero_or_far_above() -> None:
    values = np.array([[-4.0, -2.0, 0.0, 4.0]], np.float32)
    assert pixels(stored(Image.fromarray(values), "TIFF"), scale=(-4, 4))[0, :, 0].tolist() == [0, 64, 128, 255]
    grey_values = np.array([[1000, 1030, 1130, 1230, 1300]], np.uint16)
    assert pixels(stored(Image.fromarray(grey_values), "PNG"), scale=(1030, 1230))[0, :, 0].tolist() == [
        0, 0, 128, 255, 255,
    ]  # fmt: skip


def turned(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The inverse of each turn, written out by hand from the EXIF standard's description."""
    return {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: upright.transpose(1, 0, 2)[::-1],
        7: upright[::-1, ::-1].transpose(1, 0, 2), 8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]  # fmt: skip


@pytest.mark.parametrize("format", ["JPEG", "TIFF", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_respected(format: str, orientation: int) -> None:
    upright = smooth(height=40, width=64)
    picture = Image.fromarray(np.ascontiguousarray(turned(upright, orientation)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = stored(picture, format, exif=exif, quality=95)
    assert np.abs(pixels(image).astype(int) - upright).mean() < 3
    image = stored(picture, format, exif=exif, quality=95)
    assert pixels(image, store_size=20).shape == (20, 32, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["grey", "16 bits", "colours of 16 bits", "floating", "five bands"])
def test_a_tiff_in_a_file_is_upright_whatever_reads_it(tmp_path: Path, kind: str, orientation: int) -> None:
    grey, deep = smooth(height=40, width=64)[..., :1], "16 bits" in kind
    upright = np.repeat(grey, {"colours of 16 bits": 3, "five bands": 5}.get(kind, 1), axis=2)
    upright = upright.astype(np.uint16) * 257 if deep else upright.astype(float) if kind == "floating" else upright
    tifffile.imwrite(
        tmp_path / "a.tif",
        turned(upright, orientation).squeeze(),
        photometric="rgb" if "colours" in kind else "minisblack",
        planarconfig="contig" if upright.shape[2] > 1 else None,
        extratags=[(274, "H", 1, orientation, True)],
    )
    with open_image(tmp_path / "a.tif") as image:
        bands = kind == "five bands"
        found = image.read() if bands else pixels(image, scale=(0, 65535) if deep else (0, 255))  # type: ignore[attr-defined]
        assert not bands or image.size == (64, 40)
    assert np.array_equal(found, np.repeat(grey, 5 if bands else 3, axis=2))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_lose_the_picture() -> None:
    image = stored(
        Image.fromarray(smooth()), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01garbage", quality=95
    )
    assert pixels(image).shape == smooth().shape


@pytest.mark.parametrize("format", ["TIFF", "GIF", "PNG", "WEBP"])
def test_the_first_frame_counts(format: str) -> None:
    frames = [Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (40, 200)]
    options = {"lossless": True} if format == "WEBP" else {}
    image = stored(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert image.n_frames == 2  # type: ignore[attr-defined]
    assert (pixels(image) == 40).all()


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(8, 512))
def test_sizes_are_bounded_never_enlarged_and_keep_their_proportions(width: int, height: int, store_size: int) -> None:
    new_width, new_height = fitted_size(width, height, store_size)
    assert 1 <= new_width <= width
    assert 1 <= new_height <= height
    assert min(new_width, new_height) <= store_size
    assert max(new_width, new_height) <= 4 * store_size
    fits = min(width, height) <= store_size and max(width, height) <= 4 * store_size
    assert fits == ((new_width, new_height) == (width, height))
    ratio = min(1, store_size / min(width, height), 4 * store_size / max(width, height))
    assert abs(new_width - max(1, width * ratio)) <= 0.5
    assert abs(new_height - max(1, height * ratio)) <= 0.5


@pytest.mark.parametrize("store_size", [16, 50, 64, 100, 128, 200, 256])
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_the_quick_ways_to_shrink_a_photograph_stay_close_to_the_thorough_one(format: str, store_size: int) -> None:
    photograph = Image.fromarray(load_sample_image("china.jpg")).crop((0, 0, 512, 400)).resize((640, 512))
    options = {"quality": 92, "subsampling": 0} if format == "JPEG" else {}
    result = pixels(stored(photograph, format, **options), store_size=store_size)
    thorough = stored(photograph, format, **options).resize(fitted_size(640, 512, store_size), Image.Resampling.HAMMING)
    assert result.shape == np.asarray(thorough).shape
    assert np.abs(result.astype(int) - np.asarray(thorough)).mean() < 1.5


def test_shrinking_does_not_alias() -> None:
    rows, columns = np.indices((300, 300))
    board = (255 * ((rows + columns) % 2)).astype(np.uint8)
    for store_size in (150, 140, 64):
        assert np.abs(pixels(Image.fromarray(board), store_size=store_size).astype(int) - 128).max() <= 20
