"""One run at a time at an address."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fsspec
import pytest

from selfsup.errors import UserError
from selfsup.record.storage.lease import LAPSES_SECONDS, LOCK, Lease


@pytest.fixture(params=["file", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, str]:
    options = {"auto_mkdir": True} if request.param == "file" else {}
    fs = fsspec.filesystem(request.param, **options)
    root = str(tmp_path / "study")
    return fs, root


def lease(place: tuple[Any, str], folder: str = "a") -> Lease:
    return Lease(*place, "x://lab/study", Path(folder))


def held_by(place: tuple[Any, str], **about: Any) -> None:
    fs, root = place
    content = {"owner": "other", "host": "elsewhere", "pid": 1, "renewed": time.time(), **about}
    fs.pipe_file(f"{root}/{LOCK}", json.dumps(content).encode())


def test_a_second_run_is_refused_until_the_first_ends(place: tuple[Any, str]) -> None:
    first, second = lease(place), lease(place, "b")
    first.acquire()
    with pytest.raises(UserError, match=f"Another selfsup is at work on 'x://lab/study' .on {platform.node()}"):
        second.acquire()
    assert first.renew()
    first.release()
    second.acquire()
    assert second.holds()
    assert not first.renew()


def test_a_run_that_was_not_heard_of_for_long_has_lost_it(place: tuple[Any, str]) -> None:
    held_by(place, renewed=time.time() - LAPSES_SECONDS + 30)
    with pytest.raises(UserError, match="on elsewhere"):
        lease(place).acquire()
    held_by(place, renewed=time.time() - LAPSES_SECONDS - 1)
    taken = lease(place)
    taken.acquire()
    assert taken.holds()


def test_a_process_of_this_machine_that_is_gone_has_lost_it_at_once(place: tuple[Any, str]) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    held_by(place, host=platform.node(), pid=process.pid)
    lease(place).acquire()
    held_by(place, host=platform.node(), pid=os.getpid())
    with pytest.raises(UserError):
        lease(place).acquire()


def test_a_lock_that_was_left_from_the_same_folder_is_taken(place: tuple[Any, str]) -> None:
    lease(place).acquire()  # the network went away before it was released
    lease(place).acquire()


def test_a_lock_of_another_run_is_not_released(place: tuple[Any, str]) -> None:
    mine = lease(place)
    mine.acquire()
    held_by(place)
    mine.release()
    assert not mine.holds()
    assert place[0].exists(f"{place[1]}/{LOCK}")


def test_a_lock_that_is_read_while_it_is_renewed_is_still_held(
    place: tuple[Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fs, root = place
    mine, other = lease(place), lease(place, "b")
    mine.acquire()
    whole, reads = fs.cat_file(f"{root}/{LOCK}"), iter([b"", b'{"owner": "'])
    monkeypatch.setattr(fs, "cat_file", lambda path: next(reads, whole))
    assert mine.holds()  # read to the end the third time
    monkeypatch.setattr(fs, "cat_file", lambda path: b"")
    assert mine.holds()
    with pytest.raises(UserError, match="Another selfsup is at work"):
        other.acquire()
    monkeypatch.undo()
    held_by(place)
    assert not mine.holds()
