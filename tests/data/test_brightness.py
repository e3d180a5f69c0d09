"""One scale for each kind of image: by its pixels, whatever a few of them or a few images say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pictures import save_picture, smooth
from selfsup.data.audit import Problem
from selfsup.data.brightness import Extent, choose_range, extent_of
from selfsup.data.build import prepare_store
from selfsup.data.formats.depth import Kind
from selfsup.data.rendering import Rendering
from selfsup.data.sources import open_source
from selfsup.data.store import Store


def stripes(low: float, high: float, side: int = 40) -> np.ndarray:
    return np.tile(np.where(np.arange(side) // 4 % 2, high, low), (side, 1)).astype(np.float32)


def bounds(values: np.ndarray) -> tuple[float, float]:
    extent = extent_of(values, "floating")
    return extent.low, extent.high


def test_an_extent_leaves_out_single_pixels_and_keeps_what_is_near() -> None:
    values = np.linspace(0.05, 0.45, 1600, dtype=np.float32).reshape(40, 40)
    assert bounds(values) == pytest.approx((0.05, 0.45))
    values[7, 7], values[20, 3], values[9, 30] = 1.01, 1.1, -7
    assert bounds(values) == pytest.approx((0.05, 0.45), abs=0.001)
    values[7, 7] = 0.6
    assert bounds(values)[1] == pytest.approx(0.6)


def test_an_extent_of_few_pixels_is_all_of_them() -> None:
    assert bounds(np.array([[3.0]], np.float32)) == (3, 3)
    assert bounds(np.array([[3.0, 9.0]], np.float32)) == (3, 9)


def test_a_small_object_counts_and_as_many_single_pixels_do_not() -> None:
    sky = np.random.default_rng(0).normal(100, 3, (90, 90)).astype(np.float32)
    single, star = sky.copy(), sky.copy()
    single[5:85:16, 5:85:16] = 3000
    star[40:45, 50:55] = 3000  # 25 pixels too
    assert bounds(single)[1] < 120
    assert bounds(star)[1] == 3000
    assert bounds(np.where(star == 3000, 3000, 0).astype(np.float32)) == (0, 3000)


def test_an_extent_knows_of_no_absent_values() -> None:
    assert extent_of(np.array([[np.nan, 2.0, 4.0]], np.float32), "floating") == Extent("floating", 2, 4, absent=True)
    nothing = extent_of(np.full((2, 2), np.nan, np.float32), "floating")
    assert nothing.absent
    assert np.isnan(nothing.low)


def test_many_pixels_are_sampled() -> None:
    values = np.random.default_rng(0).normal(100, 1, (1000, 1000)).astype(np.float32)
    assert bounds(values) == pytest.approx((100 - 3.8, 100 + 3.8), abs=0.5)


@pytest.mark.parametrize(
    ("lows", "highs", "kind", "scale"),
    [
        ([0], [200], "integer", (0, 255)),  # 8 bits in a file of 16
        ([20], [3900], "integer", (0, 4095)),
        ([0], [40_000], "integer", (0, 65535)),
        ([0], [1500], "integer", (0, 1500)),  # less than half of 12 bits
        ([1030], [1230], "integer", (1030, 1230)),
        ([-20], [35], "integer", (-20, 35)),
        ([0], [2**20], "integer", (0, 2**20)),
        ([0.01], [0.9], "floating", (0, 1)),
        ([0.05], [0.45], "floating", (0.05, 0.45)),
        ([-0.9], [0.8], "floating", (-1, 1)),
        ([-4], [4], "floating", (-4, 4)),
        ([0], [250], "floating", (0, 255)),
        ([240], [320], "floating", (240, 320)),  # kelvins
        ([0] * 3, [400, 4000, 60], "integer", (0, 4095)),  # of three, none is a stray
        ([0] * 5, [4000] * 4 + [65535], "integer", (0, 4095)),
        ([0] * 60, [65535] + [4000] * 59, "integer", (0, 4095)),
        ([0] * 64, [65535] * 4 + [4000] * 60, "integer", (0, 65535)),  # more than one in 20 are no strays
        ([0] * 60, [900] * 59 + [3500], "integer", (0, 4095)),  # less than two bits more: the others stay visible
        ([0] * 60, [900] * 59 + [10_000], "integer", (0, 1023)),
        ([-500] + [-4] * 19, [4] * 20, "floating", (-4, 4)),
        ([7] * 9, [7] * 9, "integer", (0, 255)),
        ([-5], [-5], "integer", (-5, -4)),
        ([np.nan, 2], [np.nan, 9], "floating", (2, 9)),
        ([np.nan], [np.nan], "floating", (0, 1)),
        ([], [], "integer", (0, 255)),
    ],
)
def test_the_scale_is_what_all_but_strays_need_or_a_usual_one(
    lows: list[float], highs: list[float], kind: Kind, scale: tuple[float, float]
) -> None:
    assert choose_range([Extent(kind, *ends) for ends in zip(lows, highs, strict=True)], kind) == scale


def save_deep(path: Path, low: float, high: float, dtype: type = np.uint16) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = stripes(low, high).astype(dtype)
    Image.fromarray(values).save(path)
    return values


def store_of(folder: Path, rendering: Rendering | None = None) -> Store:
    return prepare_store(
        open_source(str(folder)), store_size=64, rendering=rendering, cache_dir=folder.parent / "cache"
    )


def brightest(store: Store) -> dict[str, int]:
    return {name: int(store.image(index).max()) for index, name in enumerate(store.names)}


def told(store: Store, problem: Problem) -> list[str]:
    return [entry.detail for entry in store.audit if entry.problem == problem]


def test_one_scale_serves_a_dark_and_a_bright_image(tmp_path: Path) -> None:
    save_deep(tmp_path / "d/dark.tif", 0, 400)
    save_deep(tmp_path / "d/bright.tif", 0, 4000)
    save_picture(tmp_path / "d/plain.png")
    store = store_of(tmp_path / "d")
    assert brightest(store)["dark.tif"] == round(400 * 255 / 4095)
    assert brightest(store)["bright.tif"] == round(4000 * 255 / 4095)
    assert told(store, "brightness scale") == ["2 images of more than 8 bits: 0 to 4095 becomes 0 to 255"]
    assert store.rendering == Rendering(integer=(0, 4095))
    assert not told(store, "beyond the scale")


def contrast(store: Store) -> list[int]:
    return [int(np.ptp(np.quantile(store.image(index), (0.05, 0.95)))) for index in range(len(store))]


def test_hot_pixels_in_every_image_do_not_make_the_others_black(tmp_path: Path) -> None:
    for number in range(6):
        values = stripes(200, 300).astype(np.uint16)
        values[number, 3] = 65535
        (tmp_path / "d").mkdir(exist_ok=True)
        Image.fromarray(values).save(tmp_path / f"d/{number}.png")
    store = store_of(tmp_path / "d")
    assert store.rendering.integer == (200, 300)
    assert contrast(store) == [255] * 6


def test_floats_and_integers_have_scales_of_their_own(tmp_path: Path) -> None:
    save_deep(tmp_path / "d/a.tif", 0, 60_000)
    save_deep(tmp_path / "d/b.tif", 0, 250, np.float32)
    store = store_of(tmp_path / "d")
    assert (store.rendering.integer, store.rendering.floating) == ((0, 65535), (0, 255))
    assert contrast(store) == [round(60_000 * 255 / 65535), 250]
    assert told(store, "brightness scale") == [
        "1 image of more than 8 bits: 0 to 65535 becomes 0 to 255",
        "1 image of floating-point numbers: 0 to 255 becomes 0 to 255",
    ]


def test_negative_values_are_kept_and_nodata_is_black(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for number, nodata in enumerate((3.4e38, np.nan, -9999)):
        values = stripes(-4, 4)
        values[:10, :10] = nodata
        Image.fromarray(values).save(tmp_path / f"d/{number}.tif")
    store = store_of(tmp_path / "d")
    assert store.rendering.floating == (-4, 4)
    for index in range(3):
        assert not store.image(index)[:10, :10].any()
        assert np.array_equal(store.image(index)[20:, :, 0], (stripes(0, 255)[20:]).astype(np.uint8))
    assert "black where they have no values (NaN, infinite, nodata), in 3" in told(store, "brightness scale")[0]


def test_images_of_8_bits_are_never_stretched(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    dark = (smooth() // 16).astype(np.uint8)
    Image.fromarray(dark).save(tmp_path / "d/dark.png")
    store = store_of(tmp_path / "d")
    assert np.array_equal(store.image(0), dark)
    assert store.rendering == Rendering()
    (line,) = told(store, "little contrast")
    assert line.startswith("the median of 1 image of 8 bits uses 5.")
    assert "of the scale 0 to 255" in line


def test_a_median_image_that_uses_less_than_a_tenth_of_the_scale_is_told_of(tmp_path: Path) -> None:
    for number in range(10):  # each spans 2 degrees, all together 60
        save_deep(tmp_path / f"d/{number}.tif", 6 * number - 20, 6 * number - 18, np.float32)
    (line,) = told(store_of(tmp_path / "d"), "little contrast")
    assert line.startswith("the median of 10 images of floating-point numbers uses 3.6% of the scale -20 to 36")
    save_deep(tmp_path / "e/0.tif", 0, 1, np.float32)
    assert not told(store_of(tmp_path / "e"), "little contrast")
    assert (
        "uses 0.1% of the scale 0 to 1000"
        in told(store_of(tmp_path / "e", Rendering.asked(full_scale=1000)), "little contrast")[0]
    )


def test_one_stray_image_is_cut_off_and_told_of(tmp_path: Path) -> None:
    for number in range(20):
        save_deep(tmp_path / f"d/{number:02d}.tif", 0, 60_000 if number == 11 else 2048)
    store = store_of(tmp_path / "d")
    assert set(brightest(store).values()) == {round(2048 * 255 / 4095), 255}
    assert told(store, "beyond the scale") == [
        "1 of 20 images of more than 8 bits go beyond the scale 0 to 4095, the first '11.tif' (0 to 60000)"
    ]


def test_images_beyond_the_scale_are_counted_even_where_they_were_not_measured(tmp_path: Path) -> None:
    for number in range(100):
        save_deep(tmp_path / f"d/{number:03d}.tif", 0, 5000 if number in (1, 4) else 3000)
    store = store_of(tmp_path / "d")
    assert store.rendering.integer == (0, 4095)
    assert told(store, "beyond the scale")[0].startswith("2 of 100 images")


def test_a_given_scale_holds_for_every_kind_and_makes_another_store(tmp_path: Path) -> None:
    for number in range(1, 5):
        save_deep(tmp_path / f"d/{number}.tif", 0, 1000 * number, np.float32 if number == 1 else np.uint16)
    decided, given = store_of(tmp_path / "d"), store_of(tmp_path / "d", Rendering.asked(full_scale=2000))
    assert decided.path != given.path
    assert list(brightest(given).values()) == [128, 255, 255, 255]
    assert all("0 to 2000 becomes 0 to 255, as given" in line for line in told(given, "brightness scale"))
    assert len(told(given, "brightness scale")) == 2
    assert "2 of 3 images" in told(given, "beyond the scale")[0]
    assert given.rendering == Rendering((0, 2000), (0, 2000))
