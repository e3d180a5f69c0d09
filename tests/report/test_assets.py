"""The shared files of a study: written once, found again, never half there."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from study_folder import FakeStore

from selfsup.report.assets import read_thumbnails, write_assets


def make_store(n: int = 6) -> FakeStore:
    images = np.stack([np.full((16, 16, 3), 40 * i, np.uint8) for i in range(n)])
    return FakeStore([f"a/{i}.png" for i in range(n)], images)


def test_thumbnails_are_found_by_their_place_in_the_store(tmp_path):
    write_assets(tmp_path, make_store(), [5, 1, 3])
    found = read_thumbnails(tmp_path)
    assert found.slots(np.array([1, 2, 5])).tolist() == [1, -1, 0]
    assert found.names == ("a/5.png", "a/1.png", "a/3.png")
    sheet = np.asarray(Image.open(io.BytesIO(found.content)).convert("RGB"))
    side = found.sheet.side
    assert abs(int(sheet[side // 2, side // 2, 0]) - 200) < 8
    assert abs(int(sheet[side // 2, side + side // 2, 0]) - 40) < 8


def test_writing_again_changes_nothing(tmp_path):
    write_assets(tmp_path, make_store(), [0, 1])
    before = {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in (tmp_path / "assets").iterdir()}
    assert before.keys() == {"bokeh.min.js", "thumbnails.webp", "thumbnails.json"}
    write_assets(tmp_path, make_store(), [0, 1])
    assert before == {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in (tmp_path / "assets").iterdir()}


def test_other_images_replace_the_sheet(tmp_path):
    write_assets(tmp_path, make_store(), [0, 1])
    write_assets(tmp_path, make_store(), [2, 3, 4])
    assert read_thumbnails(tmp_path).indices.tolist() == [2, 3, 4]


def test_a_crash_between_the_files_leaves_no_wrong_sheet(tmp_path, monkeypatch):
    write_assets(tmp_path, make_store(), [0, 1])

    class Crash(Exception):
        pass

    def crash(path, content):
        raise Crash

    monkeypatch.setattr("selfsup.report.assets.replace_file", crash)
    try:
        write_assets(tmp_path, make_store(), [2, 3])
    except Crash:
        assert read_thumbnails(tmp_path) is None
    else:
        raise AssertionError("the crash did not happen")


def test_no_images_are_no_error(tmp_path):
    write_assets(tmp_path, make_store(), [])
    assert read_thumbnails(tmp_path).indices.size == 0
