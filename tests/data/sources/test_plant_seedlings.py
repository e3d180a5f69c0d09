"""The Plant Seedlings data set, from a small zip of the same shape served here."""

from __future__ import annotations

import os
import socket
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from range_server import Served, serve

from selfsup.data.build import prepare_store
from selfsup.data.sources import open_source, plant_seedlings
from selfsup.errors import UserError

SPECIES = ("Black-grass", "Charlock", "Scentless Mayweed")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "Segmented.zip"
    with zipfile.ZipFile(path, "w") as opened:
        for label, name in enumerate(SPECIES):
            for number in range(2):
                image = tmp_path / "one.png"
                Image.new("RGB", (9, 7), (40 * label, 100 * number, 0)).save(image)
                opened.writestr(
                    zipfile.ZipInfo(f"Segmented/{name}/{number}.png", (2017, 1, 2, 3, 4, 6)), image.read_bytes()
                )
        opened.writestr("__MACOSX/Segmented/._1.png", b"junk")
    return path


def test_it_is_downloaded_once_and_unpacked(archive: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    with serve(Served(archive.read_bytes())) as served:
        sources = [
            open_source("plant-seedlings", data_url=served.url, cache_dir=tmp_path / "cache", say=lines.append)
            for _ in range(2)
        ]
    assert len(served.requests) == 1
    assert [line.split()[0] for line in lines] == ["Downloading", "Unpacking"]
    for source in sources:
        assert source.name == "plant-seedlings"
        assert [item.name for item in source.items] == [
            f"{name}/{number}.png" for name in SPECIES for number in range(2)
        ]
        assert sorted({item.label for item in source.items}) == list(SPECIES)
    assert sources[0].fingerprint() == sources[1].fingerprint()
    store = prepare_store(sources[0], store_size=32, cache_dir=tmp_path / "cache")
    assert store.classes == SPECIES
    assert not list((tmp_path / "cache").rglob("*.zip*"))


def test_a_download_that_was_cut_is_resumed_by_the_next_run(archive: Path, tmp_path: Path) -> None:
    with serve(Served(archive.read_bytes(), cut_after=[500, 0])) as served:
        with pytest.raises(UserError, match=r"broke off .* --data-url, .* --data-root"):
            open_source("plant-seedlings", data_url=served.url, cache_dir=tmp_path / "cache")
        source = open_source("plant-seedlings", data_url=served.url, cache_dir=tmp_path / "cache")
    assert served.requests[-1] == ("bytes=500-", '"v1"')
    assert len(source.items) == 6


def test_a_local_zip_stands_in_and_stays_where_it_is(archive: Path, tmp_path: Path) -> None:
    for url in (str(archive), f"file://{archive}"):
        source = open_source("plant-seedlings", data_url=url, cache_dir=tmp_path / "cache")
        assert len(source.items) == 6
    assert archive.exists()


def test_the_same_zip_has_the_same_fingerprint_in_every_cache(archive: Path, tmp_path: Path) -> None:
    prints = {
        open_source("plant-seedlings", data_url=str(archive), cache_dir=tmp_path / name).fingerprint() for name in "ab"
    }
    assert len(prints) == 1


def test_a_local_zip_that_has_changed_is_unpacked_anew(archive: Path, tmp_path: Path) -> None:
    before = open_source("plant-seedlings", data_url=str(archive), cache_dir=tmp_path / "cache")
    with zipfile.ZipFile(archive, "a") as opened:
        opened.write(tmp_path / "one.png", "Segmented/Charlock/new.png")
    after = open_source("plant-seedlings", data_url=str(archive), cache_dir=tmp_path / "cache")
    assert len(after.items) == len(before.items) + 1


def test_a_folder_that_holds_the_images_needs_no_network(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "mine")
    source = open_source("plant-seedlings", data_root=tmp_path / "mine", cache_dir=tmp_path / "cache")
    assert len(source.items) == 6
    without = open_source("plant-seedlings", data_root=tmp_path / "mine", unlabelled=True)
    assert {item.label for item in without.items} == {None}


def test_a_damaged_download_is_thrown_away_and_can_be_fetched_again(archive: Path, tmp_path: Path) -> None:
    whole = archive.read_bytes()
    with serve(Served(whole[:-100])) as served:
        with pytest.raises(UserError, match="cannot be unpacked"):
            open_source("plant-seedlings", data_url=served.url, cache_dir=tmp_path / "cache")
        served.content = whole
        assert len(open_source("plant-seedlings", data_url=served.url, cache_dir=tmp_path / "cache").items) == 6


def test_a_damaged_local_zip_is_never_removed(archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(UserError, match="cannot be unpacked"):
        open_source("plant-seedlings", data_url=str(archive), cache_dir=tmp_path / "cache")
    assert archive.exists()


def test_offline_it_fails_in_one_sentence_that_names_the_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(plant_seedlings, "URL", f"http://127.0.0.1:{taken.getsockname()[1]}/Segmented.zip")
        with pytest.raises(UserError) as caught:
            open_source("plant-seedlings", cache_dir=tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    assert "--data-url" in message
    assert "--data-root" in message


@pytest.mark.parametrize("option", ["data_url", "data_root"])
def test_a_place_that_does_not_exist_is_refused(tmp_path: Path, option: str) -> None:
    with pytest.raises(UserError, match=rf"There is no .*nowhere.* --{option.replace('_', '-')}"):
        open_source("plant-seedlings", cache_dir=tmp_path, **{option: os.fspath(tmp_path / "nowhere")})
