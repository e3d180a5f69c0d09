"""Uploads while a study runs: the lock at the address is held for as long as they take."""

from __future__ import annotations

import platform
import threading
from pathlib import Path
from typing import Any

import fsspec
import pytest

from selfsup.errors import UserError
from selfsup.record.storage import lease, uploads
from selfsup.record.storage.lease import Lease
from selfsup.record.storage.mirror import Mirror
from selfsup.record.storage.uploads import kept_in_step

ADDRESS = "memory://lab/slow"


@pytest.mark.parametrize("at_the_end", [False, True])
def test_an_upload_that_takes_longer_than_the_lock_lasts_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_the_end: bool
) -> None:
    monkeypatch.setenv("SELFSUP_CACHE", str(tmp_path))
    monkeypatch.setattr(lease, "LAPSES_SECONDS", 1.0)
    monkeypatch.setattr(uploads, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(uploads, "EVERY", 60.0 if at_the_end else 0.01)
    memory = fsspec.filesystem("memory")
    mirror, began, arrived = Mirror(ADDRESS), threading.Event(), threading.Event()
    put = type(memory).put

    def slow(*files: Any) -> None:
        began.set()
        assert arrived.wait(60)
        put(*files)

    monkeypatch.setattr(type(memory), "put", slow)
    refused: list[str] = []

    def another_run() -> None:
        assert began.wait(60)
        threading.Event().wait(1.5)  # longer than a lock lasts that nobody renews
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(platform, "node", lambda: "elsewhere")
            try:
                Lease(memory, "/lab/slow", ADDRESS, Path("/elsewhere")).acquire()
            except UserError as error:
                refused.append(str(error))
        arrived.set()

    other = threading.Thread(target=another_run)
    other.start()
    with kept_in_step(mirror, print):
        mirror.folder.mkdir(parents=True, exist_ok=True)
        (mirror.folder / "config.toml").write_text("epochs = 2")
        if not at_the_end:
            other.join()
    other.join()
    assert refused
    assert refused[0].startswith(f"Another selfsup is at work on '{ADDRESS}'")
    assert memory.cat_file("/lab/slow/config.toml") == b"epochs = 2"
    assert not memory.exists(f"/lab/slow/{lease.LOCK}")
    memory.store.clear()
