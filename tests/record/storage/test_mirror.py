"""A folder and an address, kept alike: what wins where the two differ."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from selfsup.errors import UserError
from selfsup.record.storage import Mirror, is_address, local_folder, shown

ADDRESS = "memory://lab/study"


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[fsspec.AbstractFileSystem]:
    monkeypatch.setenv("SELFSUP_CACHE", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    yield memory
    memory.store.clear()


def write(folder: Path, name: str, content: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content)


def content(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def stored(memory: fsspec.AbstractFileSystem) -> dict[str, str]:
    return {
        name.removeprefix("/lab/study/"): memory.cat_file(name).decode() for name in memory.find("/lab/study") if name
    }


def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Mirror:
    monkeypatch.setenv("SELFSUP_CACHE", str(tmp_path / "elsewhere"))
    return Mirror(ADDRESS)


STUDY = {
    "config.toml": "epochs = 2",
    "cells/a/metrics.json": "{}",
    "cells/a/backbone.safetensors": "weights",
    "running/b/checkpoint.pt": "half",
}


def test_what_is_pushed_is_pulled_elsewhere(
    there: fsspec.AbstractFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = Mirror(ADDRESS)
    for name, text in STUDY.items():
        write(mirror.folder, name, text)
    for private in ("running/aside/x/metrics.json", "running/b/log.txt", ".lock", "results.csv.partial"):
        write(mirror.folder, private, "mine")
    assert mirror.push() == len(STUDY)
    assert mirror.push() == 0
    assert stored(there) == STUDY
    other = elsewhere(monkeypatch, tmp_path)
    assert other.pull() == len(STUDY)
    assert content(other.folder) == STUDY
    assert other.pull() == other.push() == 0


def test_what_goes_here_goes_there_and_what_went_there_goes_here(
    there: fsspec.AbstractFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = Mirror(ADDRESS)
    for name, text in STUDY.items():
        write(mirror.folder, name, text)
    mirror.push()
    other = elsewhere(monkeypatch, tmp_path)
    other.pull()
    (other.folder / "cells/a/backbone.safetensors").unlink()
    write(other.folder, "config.toml", "epochs = 20")
    other.push()
    left = {**STUDY, "config.toml": "epochs = 20"}
    del left["cells/a/backbone.safetensors"]
    assert stored(there) == left
    mirror.pull()
    assert content(mirror.folder) == left


def test_what_could_not_be_pushed_stays_and_is_pushed_by_the_next_run(
    there: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = Mirror(ADDRESS)
    write(mirror.folder, "config.toml", "epochs = 2")
    mirror.push()
    write(mirror.folder, "config.toml", "epochs = 3")
    write(mirror.folder, "cells/a/metrics.json", "new")
    with monkeypatch.context() as patch, pytest.raises(ConnectionError):
        patch.setattr(type(there), "put_file", broken)
        mirror.push()
    again = Mirror(ADDRESS)
    again.pull()
    assert again.push() == 2
    assert stored(there) == {"config.toml": "epochs = 3", "cells/a/metrics.json": "new"}


def broken(*_: object, **__: object) -> None:
    raise ConnectionError("the network is gone")


def test_a_cell_that_another_machine_made_anew_replaces_the_one_here_whole(
    there: fsspec.AbstractFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = Mirror(ADDRESS)
    write(mirror.folder, "cells/a/metrics.json", "failed")
    write(mirror.folder, "cells/a/log.txt", "what happened")
    mirror.push()
    other = elsewhere(monkeypatch, tmp_path)
    other.pull()
    (other.folder / "cells/a/log.txt").unlink()
    write(other.folder, "cells/a/metrics.json", "done")
    other.push()
    write(mirror.folder, "cells/a/left over", "x")
    mirror.pull()
    assert content(mirror.folder) == {"cells/a/metrics.json": "done"}


def test_a_cell_that_goes_on_elsewhere_keeps_the_files_that_did_not_change(
    there: fsspec.AbstractFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = Mirror(ADDRESS)
    write(mirror.folder, "cells/a/metrics.json", "pruned")
    write(mirror.folder, "cells/a/config.json", "the same")
    mirror.push()
    other = elsewhere(monkeypatch, tmp_path)
    other.pull()
    write(other.folder, "cells/a/metrics.json", "done")
    other.push()
    mirror.pull()
    assert content(mirror.folder) == {"cells/a/metrics.json": "done", "cells/a/config.json": "the same"}
    assert mirror.push() == 0
    assert stored(there) == content(mirror.folder)


def test_what_was_sent_before_the_network_went_is_not_fetched_over_what_is_newer_here(
    there: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = Mirror(ADDRESS)
    write(mirror.folder, "cells/a/metrics.json", "failed")
    write(mirror.folder, "config.toml", "x")
    put_file = type(there).put_file

    def without_configuration(self: object, here: str, *rest: object, **options: object) -> None:
        if here.endswith("config.toml"):
            raise ConnectionError("the network is gone")
        put_file(self, here, *rest, **options)

    with monkeypatch.context() as patch, pytest.raises(ConnectionError):
        patch.setattr(type(there), "put_file", without_configuration)
        mirror.push()
    write(mirror.folder, "cells/a/metrics.json", "done")
    again = Mirror(ADDRESS)
    again.pull()
    assert again.push() == 2
    assert stored(there) == {"cells/a/metrics.json": "done", "config.toml": "x"}


def test_a_working_folder_that_was_deleted_is_fetched_anew(there: fsspec.AbstractFileSystem) -> None:
    import shutil

    mirror = Mirror(ADDRESS)
    write(mirror.folder, "config.toml", "x")
    mirror.push()
    shutil.rmtree(mirror.folder)
    again = Mirror(ADDRESS)
    assert again.pull() == 1
    assert stored(there) == {"config.toml": "x"}


@pytest.mark.parametrize("name", ["../evil", "cells/../../evil", "C:evil", "a\\b"])
def test_names_that_lead_out_of_the_study_are_refused(there: fsspec.AbstractFileSystem, name: str) -> None:
    there.store[f"/lab/study/{name}"] = there.open("/lab/other", "wb")
    with pytest.raises(UserError, match="no name for a file of a study"):
        Mirror(ADDRESS).pull()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s4://bucket/study", "cannot be opened"),
        ("memory://", "names no place"),
        ("s3://", "names no place"),
        ("ftp://me:secret@127.0.0.1:1/study", "'ftp://me@127.0.0.1:1/study' cannot be reached .*refused"),
    ],
)
def test_addresses_that_cannot_be_are_refused(address: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Mirror(address)


def test_a_missing_package_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError("Please install gcsfs")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(UserError, match=r"pip install 'selfsup\[gs\]'"):
        Mirror("gs://bucket/study")


def test_of_an_address_without_a_study_nothing_is_fetched(there: fsspec.AbstractFileSystem) -> None:
    there.pipe_file("/lab/study/config.toml", b"epochs = 2")
    there.pipe_file("/lab/photos/1.png", b"large")
    assert content(local_folder("memory://lab")) == {}
    assert content(local_folder(ADDRESS)) == {"config.toml": "epochs = 2"}
    there.rm_file("/lab/study/config.toml")
    assert content(local_folder(ADDRESS)) == {}  # what is gone there goes here


def test_what_is_an_address() -> None:
    assert all(map(is_address, ("s3://b/s", "gs://b/s", "memory://x", "S3://b/s")))
    assert not any(map(is_address, ("studies/x", "/a/b", "C:\\x", Path("a://b"), "")))


def test_secrets_are_not_shown() -> None:
    assert shown("ftp://me:secret@host/study?token=1") == "ftp://me@host/study?…"
    assert shown("https://token@host:80/a") == "https://host:80/a"
    for address in ("s3://bucket/study", "abfs://red@lab.dfs.core.windows.net/study", "sftp://host:22/v@2"):
        assert shown(address) == address
    command = "selfsup run 's3://key:secret@b/x y' --data-url 'https://h/a.zip?token=1' --out 'why?'"
    assert shown(command) == "selfsup run 's3://key@b/x y' --data-url 'https://h/a.zip?…' --out 'why?'"


def test_a_working_folder_is_of_one_place_whatever_the_password(there: fsspec.AbstractFileSystem) -> None:
    places = ("red@lab/study", "blue@lab/study", "lab/study", "lab/study?part=1", "lab/study?part=2", "lab/x/study")
    assert len({Mirror(f"memory://{place}").folder for place in places}) == len(places)
    assert Mirror("memory://me:old@lab/study").folder == Mirror("memory://me:new@lab/study").folder
    # Where no user and no query are named, as in earlier versions.
    assert Mirror(ADDRESS).folder.name == "study-" + hashlib.blake2b(ADDRESS.encode(), digest_size=6).hexdigest()
