"""Downloads: complete or not there, resumed only onto the same version, quick to fail."""

from __future__ import annotations

import shutil
import socket
import threading
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from range_server import Served, serve

from selfsup.data.sources import _download
from selfsup.data.sources._download import download
from selfsup.errors import UserError

CONTENT = np.random.default_rng(0).bytes(1_000_000)
OTHER = np.random.default_rng(1).bytes(1_000_000)


def fetch(served: Served, folder: Path) -> list[str]:
    lines: list[str] = []
    download(served.url, folder / "file.zip", say=lines.append, remedy="give --data-url")
    return lines


def test_a_whole_file_arrives_and_nothing_else_is_left(tmp_path: Path) -> None:
    with serve(Served(CONTENT)) as served:
        lines = fetch(served, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file.zip"]
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    assert served.requests == [(None, None)]
    assert lines == ["Downloading file.zip: 0.0 MB of 1.0 MB."]


def test_a_connection_that_breaks_off_is_taken_up_where_it_ended(tmp_path: Path) -> None:
    with serve(Served(CONTENT, cut_after=[300_000, 400_000])) as served:
        lines = fetch(served, tmp_path)
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    assert served.requests == [(None, None), ("bytes=300000-", '"v1"'), ("bytes=700000-", '"v1"')]
    assert sum("broke off" in line for line in lines) == 2


def break_off(served: Served, folder: Path, at: int) -> None:
    """Leave a part of `at` bytes behind, as a run that was stopped does."""
    served.cut_after = [at, 0]
    with pytest.raises(UserError, match=r"broke off after \d+ of 1000000 bytes; give --data-url"):
        fetch(served, folder)
    assert not (folder / "file.zip").exists()
    assert (folder / "file.zip.part").stat().st_size == at
    served.requests.clear()
    served.cut_after = []


def test_a_later_run_goes_on_where_the_earlier_one_stopped(tmp_path: Path) -> None:
    with serve(Served(CONTENT)) as served:
        break_off(served, tmp_path, 600_000)
        fetch(served, tmp_path)
    assert served.requests == [("bytes=600000-", '"v1"')]
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_file_that_has_changed_meanwhile_is_fetched_from_its_start(tmp_path: Path) -> None:
    with serve(Served(CONTENT)) as served:
        break_off(served, tmp_path, 600_000)
        served.content, served.etag = OTHER, '"v2"'
        fetch(served, tmp_path)
    assert served.requests == [("bytes=600000-", '"v1"')]
    assert (tmp_path / "file.zip").read_bytes() == OTHER


def test_a_server_that_ignores_ranges_sends_it_all_again(tmp_path: Path) -> None:
    with serve(Served(CONTENT)) as served:
        break_off(served, tmp_path, 600_000)
        served.ranges = False
        fetch(served, tmp_path)
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_without_a_mark_of_the_version_it_is_fetched_from_its_start(tmp_path: Path) -> None:
    with serve(Served(CONTENT, etag=None, cut_after=[600_000, 0])) as served:
        with pytest.raises(UserError, match="broke off"):
            fetch(served, tmp_path)
        served.cut_after = []
        fetch(served, tmp_path)
    assert served.requests == [(None, None)] * 3
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_part_of_another_address_is_thrown_away(tmp_path: Path) -> None:
    with serve(Served(CONTENT)) as served:
        break_off(served, tmp_path, 600_000)
    with serve(Served(OTHER)) as other:
        fetch(other, tmp_path)
    assert other.requests == [(None, None)]
    assert (tmp_path / "file.zip").read_bytes() == OTHER


@pytest.mark.parametrize("note", ["", "{", '{"url": 1}', "[]", "null", "3"])
def test_a_part_whose_note_is_damaged_is_thrown_away(tmp_path: Path, note: str) -> None:
    (tmp_path / "file.zip.part").write_bytes(OTHER[:1000])
    (tmp_path / "file.zip.part.json").write_text(note)
    with serve(Served(CONTENT)) as served:
        fetch(served, tmp_path)
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_part_to_which_nothing_is_missing_is_fetched_anew(tmp_path: Path) -> None:
    with serve(Served(CONTENT)) as served:
        break_off(served, tmp_path, 600_000)
        (tmp_path / "file.zip.part").write_bytes(CONTENT)
        fetch(served, tmp_path)
    assert served.requests == [("bytes=1000000-", '"v1"'), (None, None)]
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_body_of_unknown_length_is_taken_as_it_comes(tmp_path: Path) -> None:
    with serve(Served(CONTENT, chunked=True)) as served:
        fetch(served, tmp_path)
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


@pytest.mark.parametrize("status", [403, 404, 500])
def test_an_error_of_the_server_is_one_sentence(tmp_path: Path, status: int) -> None:
    with serve(Served(CONTENT, status=status)) as served, pytest.raises(UserError, match=f"answered {status} .*; give"):
        fetch(served, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_refused_connection_is_one_sentence_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/x.zip"
        asked = []
        urlopen = urllib.request.urlopen
        monkeypatch.setattr(urllib.request, "urlopen", lambda *a, **o: (asked.append(a), urlopen(*a, **o))[1])
        with pytest.raises(UserError, match=r"cannot be downloaded: .*refused; give --data-url\.$"):
            fetch(Served(CONTENT, url=url), tmp_path)
        assert len(asked) == 1


def test_a_lookup_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_up = threading.Event()
    monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **options: given_up.wait(60))
    monkeypatch.setattr(_download, "SECONDS_TO_ANSWER", 0.2)
    with pytest.raises(UserError, match=r"no answer within .*; give --data-url"):
        fetch(Served(CONTENT, url="http://example.invalid/x.zip"), tmp_path)
    given_up.set()


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher", "http://", "http://a..b/x", "http://a b"]
)
def test_other_addresses_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(UserError, match="give --data-url"):
        fetch(Served(CONTENT, url=url), tmp_path)


def test_a_disk_without_room_is_noticed_before_the_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with (
        serve(Served(CONTENT)) as served,
        pytest.raises(UserError, match=r"1\.0 MB needed and 0\.0 MB free\); make room"),
    ):
        fetch(served, tmp_path)


def test_a_long_download_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_download, "SECONDS_BETWEEN_LINES", 0)
    with serve(Served(CONTENT)) as served:
        lines = fetch(served, tmp_path)
    assert len(lines) >= 4
    assert lines[-1] == "Downloading file.zip: 1.0 MB of 1.0 MB."
