"""Images of any number of channels: as many as most have, each with its own scale, to the store and to pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from pictures import save_picture
from selfsup.data.build import prepare_store
from selfsup.data.rendering import Rendering
from selfsup.data.sources import open_source
from selfsup.data.store import Store, open_store
from selfsup.errors import UserError

#: Brightness of each channel: a factor of 400 between the brightest and the faintest.
BRIGHT = np.array([40000, 3000, 100, 900, 12000])


def bands(seed: int, channels: int = 5) -> np.ndarray:
    """A 16-bit picture of noise, its channels of very different brightness, each from next to 0 on."""
    return (np.random.default_rng(seed).random((12, 10, channels)) * BRIGHT[:channels]).astype(np.uint16)


def save(path: Path, values: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, values, **{"photometric": "minisblack", "planarconfig": "contig", **options})
    return path


def store_of(folder: Path, **asked: Any) -> Store:
    return prepare_store(
        open_source(str(folder)),
        store_size=64,
        rendering=Rendering.asked(**asked),
        cache_dir=folder.parent / f"cache-{folder.name}",
    )


def told(store: Store, problem: str) -> list[str]:
    return [entry.detail for entry in store.audit if entry.problem == problem]


@pytest.fixture
def five(tmp_path: Path) -> Path:
    for number in range(4):
        save(tmp_path / f"five/{number}.tif", bands(number))
    return tmp_path / "five"


def test_all_channels_are_stored_each_with_a_scale_of_its_own(five: Path) -> None:
    store = store_of(five)
    assert store.channels == 5
    assert store.image(0).shape == (12, 10, 5)
    assert told(store, "channels") == ["images of 5 channels: all are taken"]
    scales = np.array(store.rendering.integer)
    expected = np.clip((bands(2) - scales[:, 0]) / (scales[:, 1] - scales[:, 0]) * 255, 0, 255)
    assert np.abs(store.image(2) - expected).max() <= 0.51
    assert (store.image(2).reshape(-1, 5).std(0) > 40).all(), "a faint channel is as dark as beside a bright one"
    (line,) = told(store, "brightness scale")
    assert line.startswith("4 images of more than 8 bits: 0 to 65535 in channel 1, 0 to 4095 in channel 2, ")
    assert open_store(store.path).rendering == store.rendering


def test_a_batch_holds_all_of_them(five: Path) -> None:
    store = store_of(five)
    images, _ = store.batch([2, 1])
    assert images.shape == (2, 5, 12, 10)
    assert np.array_equal(images[0].permute(1, 2, 0).numpy(), store.image(2))


def test_channels_are_chosen_and_ordered_by_their_numbers_from_1(five: Path) -> None:
    whole, chosen = store_of(five), store_of(five, channels=(5, 2))
    assert np.array_equal(chosen.image(1), whole.image(1)[..., [4, 1]])
    assert told(chosen, "channels") == ["images of 5 channels: 5, 2 are taken, in this order"]
    with pytest.raises(UserError, match=r"--channels 1,6 asks for more than .* have \(5 channels\); .* from 1 to 5"):
        store_of(five, channels=(1, 6))


def test_of_colours_too(tmp_path: Path) -> None:
    save_picture(tmp_path / "d/a.png")
    whole, chosen = store_of(tmp_path / "d"), store_of(tmp_path / "d", channels=(3, 2, 1))
    assert np.array_equal(chosen.image(0), whole.image(0)[..., ::-1])
    assert not told(whole, "channels")


def test_images_of_another_number_of_channels_are_set_aside_with_the_reason(five: Path) -> None:
    save(five / "four.tif", bands(7, 4))
    save_picture(five / "photo.png")
    store = store_of(five)
    assert store.names == ("0.tif", "1.tif", "2.tif", "3.tif")
    assert {entry.path: entry.detail for entry in store.audit if entry.problem == "other channels"} == {
        "four.tif": "has 4 channels where most images have 5 channels",
        "photo.png": "has three, grey or colours where most images have 5 channels",
    }


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize(
    ("photometric", "channels"), [("minisblack", 2), ("minisblack", 4), ("minisblack", 12), ("rgb", 4), ("rgb", 5)]
)
def test_no_band_of_a_tiff_is_lost(tmp_path: Path, channels: int, photometric: str, planar: str) -> None:
    """Pillow opens RGB with further bands, and gives three of them; grey with one more, as transparency."""
    values = np.random.default_rng(0).integers(0, 256, (12, 10, channels), np.uint8)
    stored = values if planar == "contig" else np.moveaxis(values, 2, 0)
    extra = ["unspecified"] * (channels - (3 if photometric == "rgb" else 1))
    save(tmp_path / "d/a.tif", stored, photometric=photometric, planarconfig=planar, extrasamples=extra)
    assert np.array_equal(store_of(tmp_path / "d").image(0), values)


def test_alpha_is_no_channel(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (12, 10, 4), np.uint8)
    values[..., 3] = 255
    save(tmp_path / "d/a.tif", values, photometric="rgb", extrasamples=["unassalpha"])
    assert np.array_equal(store_of(tmp_path / "d").image(0), values[..., :3])


def test_channels_are_shrunk_as_colours_are(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (200, 160, 3), np.uint8)
    save(tmp_path / "d/a.tif", np.dstack([values, values[..., :2]]))
    save(tmp_path / "e/a.tif", values, photometric="rgb")
    assert np.array_equal(store_of(tmp_path / "d").image(0)[..., :3], store_of(tmp_path / "e").image(0))


def test_nodata_is_black_in_every_channel_that_lacks_it(tmp_path: Path) -> None:
    values = bands(0).astype(np.float32)
    values[:4, :4, 1] = -9999
    values[5, 5, 4] = np.nan
    save(tmp_path / "d/a.tif", values)
    pixels = store_of(tmp_path / "d").image(0)
    assert not pixels[:4, :4, 1].any()
    assert not pixels[5, 5, 4]
    assert pixels[:4, :4, 0].any()


def test_copies_are_found_among_them(five: Path) -> None:
    save(five / "copy.tif", bands(1))
    store = store_of(five)
    assert store.originals[store.names.index("copy.tif")] == 1


def test_a_picture_shows_three_of_them_or_those_that_are_named(five: Path) -> None:
    store = store_of(five)
    image = store.image(0)
    assert np.array_equal(store.picture(0), image[..., :3])
    assert np.array_equal(store.picture(0, [5, 1, 4]), image[..., [4, 0, 3]])
    assert np.array_equal(store.picture(0, [2]), np.dstack([image[..., 1]] * 3))
    two = store_of(five, channels=(4, 2))
    assert np.array_equal(two.picture(0), np.dstack([two.image(0), np.zeros((12, 10), np.uint8)]))
