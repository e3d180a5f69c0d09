"""DICOM files become what a viewer shows, in numbers; compared with pydicom's own windowing."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import UnidentifiedImageError

from selfsup.data.build import prepare_store
from selfsup.data.formats import image_files
from selfsup.data.formats.depth import deep_pixels, kind_of
from selfsup.data.formats.image_files import open_image
from selfsup.data.pages import with_pages
from selfsup.data.sources import open_source
from selfsup.errors import UserError

pydicom = pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
STORED = np.random.default_rng(0).integers(0, 4096, (7, 5), np.uint16)


def save(path: Path, stored: np.ndarray = STORED, *, frames: int = 1, **tags: Any) -> Path:
    """A file as a scanner writes it, of 12 bits (8 for bytes)."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    colour = stored.ndim == 3 and frames == 1
    data.Rows, data.Columns = stored.shape[:2] if colour else stored.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    data.BitsAllocated = 8 * stored.itemsize
    data.BitsStored = 8 if stored.itemsize == 1 else 12
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(stored.dtype.kind == "i")
    if colour:
        data.PlanarConfiguration = 0
    if frames > 1:
        data.NumberOfFrames = frames
    for name, value in tags.items():
        setattr(data, name, value)
    data.PixelData = stored.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def values_of(path: Path) -> np.ndarray:
    with open_image(path) as image:
        return deep_pixels(image).values


def test_stored_values_become_those_of_the_modality(tmp_path: Path) -> None:
    values = values_of(save(tmp_path / "ct.dcm", RescaleSlope=2, RescaleIntercept=-1024))
    assert np.array_equal(values, 2.0 * STORED - 1024)


def test_a_window_is_0_to_1_as_pydicom_shows_it(tmp_path: Path) -> None:
    rescale = {"RescaleSlope": 1, "RescaleIntercept": -1024}
    path = save(tmp_path / "a.dcm", WindowCenter=[40, 300], WindowWidth=[400, 9], **rescale)
    data = pydicom.dcmread(path)
    shown = pydicom.pixels.apply_voi_lut(pydicom.pixels.apply_modality_lut(data.pixel_array, data), data)
    expected = (shown - shown.min()) / (shown.max() - shown.min())
    values = values_of(path)
    assert {0.0, 1.0} < set(values.ravel().tolist())
    assert np.abs(values - expected).max() < 1e-6
    with open_image(path) as image:
        assert kind_of(image) == "floating"


def test_it_is_said_where_some_files_have_a_window_and_others_none(tmp_path: Path) -> None:
    def told(folder: str) -> list[str]:
        store = prepare_store(open_source(str(tmp_path / folder)), store_size=32, cache_dir=tmp_path / "c")
        return [entry.detail for entry in store.audit if entry.problem == "two brightness scales"]

    for number in range(3):
        for folder in ("all", "some"):
            save(tmp_path / folder / f"{number}.dcm", STORED + number, WindowCenter=2048, WindowWidth=4096)
    for number, stored in enumerate((STORED, (STORED // 16).astype(np.uint8))):
        for folder in ("none", "some"):
            save(tmp_path / folder / f"plain {number}.dcm", stored)
    assert told("all") == told("none") == []
    (line,) = told("some")
    assert line.startswith(
        "3 of 5 DICOM images have a window (WindowCenter, WindowWidth), which becomes 0 to 255; the "
    )


def test_monochrome1_is_inverted_within_what_can_be_stored(tmp_path: Path) -> None:
    plain = save(tmp_path / "plain.dcm", PhotometricInterpretation="MONOCHROME1")
    windowed = save(
        tmp_path / "window.dcm", PhotometricInterpretation="MONOCHROME1", WindowCenter=2048, WindowWidth=4096
    )
    assert np.array_equal(values_of(plain), 4095.0 - STORED)
    order = np.argsort(STORED.ravel())
    assert (np.diff(values_of(windowed).ravel()[order]) <= 0).all()


def test_padding_is_absent(tmp_path: Path) -> None:
    stored = (STORED // 2).astype(np.int16)
    stored[0] = -2000
    values = values_of(save(tmp_path / "a.dcm", stored, PixelPaddingValue=-2000))
    assert np.isnan(values[0]).all()
    assert np.array_equal(values[1:], stored[1:].astype(np.float32))


def test_they_are_images_of_a_study_frame_by_frame_and_in_colour(tmp_path: Path) -> None:
    frames = np.stack([STORED, STORED // 2, STORED // 4])
    save(tmp_path / "d/heart.dcm", frames, frames=3)
    save(tmp_path / "d/one.dcm")
    store = prepare_store(with_pages(open_source(str(tmp_path / "d")), "all"), store_size=32, cache_dir=tmp_path / "c")
    assert store.names == ("heart.dcm#page=1", "heart.dcm#page=2", "heart.dcm#page=3", "one.dcm")
    assert store.rendering.integer == (0, 4095)
    assert np.abs(store.image(1)[..., 0] - STORED // 2 / 4095 * 255).max() <= 0.6
    colours = np.random.default_rng(1).integers(0, 256, (7, 5, 3), np.uint8)
    save(tmp_path / "e/colour.dcm", colours)
    store = prepare_store(open_source(str(tmp_path / "e")), store_size=32, cache_dir=tmp_path / "c")
    assert np.array_equal(store.image(0), colours)


def test_what_is_no_dicom_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.dcm").write_text("no image")
    with pytest.raises(UnidentifiedImageError, match="no DICOM file"):
        open_image(tmp_path / "text.dcm")


def test_without_pydicom_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.dcm")
    find = importlib.util.find_spec
    monkeypatch.setattr(image_files, "find_spec", lambda name: None if name == "pydicom" else find(name))
    with pytest.raises(UserError, match=r"'a.dcm' is a DICOM file, .* pip install 'selfsup\[dicom\]'"):
        open_source(str(tmp_path))
