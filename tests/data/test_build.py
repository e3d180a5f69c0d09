"""Building the store: every readable image once, in order, whole or not at all, and only once."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from pictures import labelled_folder, save_picture, smooth
from selfsup.data import decoding_threads as reading
from selfsup.data.build import prepare_store
from selfsup.data.decode import Decoded
from selfsup.data.decoding_threads import DecodedImage, read_all
from selfsup.data.items import NO_SIDE, TEST, UNKNOWN, VAL, Side
from selfsup.data.rendering import Renderer, Rendering
from selfsup.data.sources import open_source
from selfsup.data.sources.base import Arrays, ArraySource, Source
from selfsup.data.store import Store, open_store
from selfsup.errors import UserError


def build(folder: Path, cache: Path, *, store_size: int = 64, threads: int = 2, **options: Any) -> Store:
    return prepare_store(open_source(str(folder)), store_size=store_size, cache_dir=cache, threads=threads, **options)


def problems(store: Store) -> dict[str, str]:
    return {entry.path: entry.problem for entry in store.audit}


def refuse_to_decode(source: Source) -> None:
    def fail(index: int) -> Image.Image:
        raise AssertionError("was decoded again")

    source.open = fail  # type: ignore[method-assign]


def test_images_keep_the_order_of_the_source_whatever_thread_is_first(tmp_path: Path) -> None:
    for number in range(40):
        size = 200 if number % 7 == 0 else 20  # the slow ones would come last
        save_picture(tmp_path / f"d/c{number % 3}/{number:02d}.png", seed=number, height=size, width=size)
    store = build(tmp_path / "d", tmp_path / "cache", store_size=256, threads=4)
    assert store.classes == ("c0", "c1", "c2")
    assert len(store) == len(store.names) == 40
    for index, name in enumerate(store.names):
        original = np.asarray(Image.open(tmp_path / "d" / name))
        assert np.array_equal(store.image(index), original)
        assert store.classes[store.labels[index]] == name.split("/")[0]
        assert store.sizes[index].tolist() == list(original.shape[:2])


def test_large_images_are_shrunk_once_and_small_ones_kept(tmp_path: Path) -> None:
    save_picture(tmp_path / "d/large.png", height=100, width=300)
    save_picture(tmp_path / "d/long.png", seed=1, height=10, width=300)
    save_picture(tmp_path / "d/small.png", seed=2, height=9, width=11)
    store = build(tmp_path / "d", tmp_path / "cache", store_size=16)
    assert dict(zip(store.names, store.sizes.tolist(), strict=True)) == {
        "large.png": [16, 48],
        "long.png": [2, 64],
        "small.png": [9, 11],
    }


def test_what_cannot_be_read_is_set_aside_with_the_reason(tmp_path: Path) -> None:
    data = labelled_folder(tmp_path / "d")
    (data / "class_0/empty.png").touch()
    (data / "class_0/text.jpg").write_text("no image at all")
    whole = save_picture(tmp_path / "whole.jpg", height=64, width=64).read_bytes()
    (data / "class_1/cut.jpg").write_bytes(whole[:-50])
    whole = save_picture(tmp_path / "whole.png", height=64, width=64).read_bytes()
    (data / "class_1/cut.png").write_bytes(whole[: len(whole) // 2])
    (data / "class_1/wrong.png").write_bytes(whole[:100] + bytes(200) + whole[300:])
    save_picture(data / "class_1/large.png", height=200, width=300)
    store = build(data, tmp_path / "cache", max_pixels=200 * 300 - 2)
    assert len(store) == 6
    assert problems(store) == {
        "class_0/empty.png": "empty",
        "class_0/text.jpg": "unreadable",
        "class_1/cut.jpg": "unreadable",
        "class_1/cut.png": "unreadable",
        "class_1/large.png": "too large",
        "class_1/wrong.png": "unreadable",
    }
    reasons = {entry.path: entry.detail for entry in store.audit}
    assert "truncated" in reasons["class_1/cut.jpg"]
    assert reasons["class_1/large.png"] == "more than 59,998 pixels"
    assert reasons["class_0/text.jpg"] == "not an image in a known format"
    assert str(tmp_path) not in "".join(reasons.values())


def test_images_that_vanish_before_their_turn_are_set_aside(tmp_path: Path) -> None:
    source = open_source(str(labelled_folder(tmp_path / "d")))
    (tmp_path / "d/class_1/2.png").unlink()
    store = prepare_store(source, store_size=64, cache_dir=tmp_path / "cache")
    assert problems(store) == {"class_1/2.png": "unreadable"}


def test_a_disk_that_fails_for_a_moment_leaves_no_store_without_the_image(tmp_path: Path) -> None:
    source = open_source(str(labelled_folder(tmp_path / "d")))
    sound = source.open

    def failing(index: int) -> Image.Image:
        if source.items[index].name == "class_1/2.png":
            raise OSError(errno.EIO, "Input/output error")
        return sound(index)

    source.open = failing  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"'class_1/2\.png' cannot be read now \(Input/output error\); look after"):
        prepare_store(source, store_size=64, cache_dir=tmp_path / "cache")
    source.open = sound  # type: ignore[method-assign]
    assert "class_1/2.png" in prepare_store(source, store_size=64, cache_dir=tmp_path / "cache").names


def test_if_nothing_can_be_read_the_error_names_the_reasons(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"d/{number}.png").parent.mkdir(exist_ok=True)
        (tmp_path / f"d/{number}.png").write_text("x" * number)
    with pytest.raises(
        UserError, match=r"No image of 'd' can be read, of 3 .*2 x not an image.*1 x the file holds no bytes"
    ):
        build(tmp_path / "d", tmp_path / "cache")
    assert not list((tmp_path / "cache/stores").glob("*/"))


def test_images_up_to_the_limit_are_read_and_if_all_are_larger_the_remedy_says_so(tmp_path: Path) -> None:
    save_picture(tmp_path / "d/large.png", height=20, width=30)
    before = Image.MAX_IMAGE_PIXELS
    assert len(build(tmp_path / "d", tmp_path / "cache", max_pixels=600)) == 1
    with pytest.raises(UserError, match=r"of 1 \(.*\); shrink or tile them, or raise --max-pixels\."):
        build(tmp_path / "d", tmp_path / "cache", max_pixels=598)
    assert before == Image.MAX_IMAGE_PIXELS


def test_many_images_with_the_same_pixels_are_told_of(tmp_path: Path) -> None:
    data = labelled_folder(tmp_path / "d", per_class=10)
    assert "same pixels" not in [entry.problem for entry in build(data, tmp_path / "cache").audit]
    for number in range(5):
        Image.new("L", (30, 20)).save(data / f"class_1/black{number}.png")
    (entry,) = (entry for entry in build(data, tmp_path / "cache").audit if entry.problem == "same pixels")
    assert "5 of 25 images have the same pixels, such as 'class_1/black0.png'" in entry.detail


def test_a_class_without_readable_images_is_reported_and_dropped(tmp_path: Path) -> None:
    data = labelled_folder(tmp_path / "d")
    (data / "class_9").mkdir()
    (data / "class_9/0.png").touch()
    store = build(data, tmp_path / "cache")
    assert store.classes == ("class_0", "class_1")
    assert problems(store)["class_9/"] == "small class"


def test_one_readable_class_out_of_two_is_refused(tmp_path: Path) -> None:
    data = labelled_folder(tmp_path / "d", classes=1)
    (data / "class_9").mkdir()
    (data / "class_9/0.png").touch()
    with pytest.raises(UserError, match=r"Only the class 'class_0' of 'd' has images .* or give --unlabelled"):
        build(data, tmp_path / "cache")


def test_copies_are_known_even_in_unequal_files_and_classes(tmp_path: Path) -> None:
    data = labelled_folder(tmp_path / "d")
    Image.fromarray(smooth(0)).save(data / "class_1/equal.bmp")  # class_0/0.png is smooth(0) too
    large = save_picture(data / "class_0/large.png", seed=7, width=128, height=96)
    Image.open(large).resize((64, 48)).save(data / "class_0/small.jpg")
    store = build(data, tmp_path / "cache")
    named = dict(zip(store.names, [store.names[original] for original in store.originals], strict=True))
    copies = {"class_1/equal.bmp": "class_0/0.png", "class_0/small.jpg": "class_0/large.png"}
    assert named == {name: copies.get(name, name) for name in store.names}


def test_the_digest_tells_shapes_apart() -> None:
    arrays = [np.zeros((1, 2, 8), np.uint8), np.zeros((1, 4, 4), np.uint8)]
    digests = set()
    for number, images in enumerate(arrays):
        source = ArraySource("zeros", lambda images=images: Arrays(images, ["a"]), identity=str(number))
        (picture,) = read_all(source, 64, Renderer(source), 1)
        assert isinstance(picture, DecodedImage)
        digests.add(picture.digest)
    assert len(digests) == 2


def test_labels_and_given_sides_stay_with_their_image(tmp_path: Path) -> None:
    images = np.arange(5, dtype=np.uint8)[:, None, None] * np.ones((4, 4), np.uint8)
    sides: list[Side | None] = ["train", "test", "val", None, "test"]
    source = ArraySource("toy", lambda: Arrays(images, ["a", "b", "a", None, "b"], sides), identity="1")
    broken = source.open

    def open_all_but_the_first(index: int) -> Image.Image:
        if index == 0:
            raise OSError("broken")
        return broken(index)

    source.open = open_all_but_the_first  # type: ignore[method-assign]
    store = prepare_store(source, store_size=8, cache_dir=tmp_path)
    assert store.items.sides.tolist() == [TEST, VAL, NO_SIDE, TEST]
    assert store.labels.tolist() == [1, 0, UNKNOWN, 1]
    assert [store.image(index).max() for index in range(4)] == [1, 2, 3, 4]


def test_a_second_opening_decodes_nothing(tmp_path: Path) -> None:
    picture = save_picture(tmp_path / "one.png", height=8, width=8).read_bytes()
    for number in range(12):
        path = tmp_path / f"d/class_{number % 4}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)
    first = build(tmp_path / "d", tmp_path / "cache")
    source = open_source(str(tmp_path / "d"))
    refuse_to_decode(source)
    second = prepare_store(source, store_size=64, cache_dir=tmp_path / "cache")
    assert second.path == first.path
    assert second.names == first.names


def test_another_size_or_a_changed_image_makes_another_store(tmp_path: Path) -> None:
    data = labelled_folder(tmp_path / "d")
    first = build(data, tmp_path / "cache")
    smaller = build(data, tmp_path / "cache", store_size=16)
    save_picture(data / "class_0/0.png", seed=77)
    changed = build(data, tmp_path / "cache")
    assert len({first.path, smaller.path, changed.path}) == 3
    assert np.array_equal(changed.image(0), smooth(77))


def test_what_the_source_ignores_is_told_anew_without_a_new_store(tmp_path: Path) -> None:
    data = labelled_folder(tmp_path / "d")
    first = build(data, tmp_path / "cache")
    (data / "notes.txt").write_text("x")
    second = build(data, tmp_path / "cache")
    assert second.path == first.path
    assert problems(first) == {}
    assert problems(second) == {"*.txt": "ignored"}


def test_progress_counts_every_image_once(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    source = open_source(str(labelled_folder(tmp_path / "d")))
    prepare_store(source, store_size=64, cache_dir=tmp_path / "c", progress=lambda done, of: calls.append((done, of)))
    assert calls == [(done, 6) for done in range(1, 7)]


def test_few_images_wait_in_memory(tmp_path: Path) -> None:
    images = np.zeros((400, 4, 4), np.uint8)
    source = ArraySource("many", lambda: Arrays(images, ["a", "b"] * 200), identity="1")
    opened = 0
    ahead: list[int] = []
    lock = threading.Lock()
    plain = source.open

    def count(index: int) -> Image.Image:
        nonlocal opened
        with lock:
            opened += 1
        return plain(index)

    def slow_disk(done: int, total: int) -> None:
        time.sleep(0.001)
        ahead.append(opened - done)

    source.open = count  # type: ignore[method-assign]
    decided = Rendering()  # what nothing is to be opened for beforehand
    prepare_store(source, store_size=8, rendering=decided, cache_dir=tmp_path, progress=slow_disk, threads=2)
    assert max(ahead) <= 4 * (2 * 2 + 1)


def test_a_disk_that_fails_while_pixels_are_flushed_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"No space left on device\); make room there"):
        build(labelled_folder(tmp_path / "d"), tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache/stores").iterdir() if path.is_dir()]


def test_huge_images_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LARGE", 100)
    images = np.zeros((12, 16, 16), np.uint8)
    source = ArraySource("huge", lambda: Arrays(images, ["a", "b"] * 6), identity="1")
    at_once, most = 0, 0
    decode = reading.decode

    def watch(image: Image.Image, **options: Any) -> Decoded:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        time.sleep(0.005)
        at_once -= 1
        return decode(image, **options)

    monkeypatch.setattr(reading, "decode", watch)
    prepare_store(source, store_size=8, cache_dir=tmp_path, threads=4)
    assert most == 1


def test_the_environment_variable_names_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFSUP_CACHE", str(tmp_path / "elsewhere"))
    store = prepare_store(open_source(str(labelled_folder(tmp_path / "d"))), store_size=64)
    assert (tmp_path / "elsewhere") in store.path.parents


def test_a_cache_that_cannot_be_written_to_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be written .*SELFSUP_CACHE"):
        build(labelled_folder(tmp_path / "d"), tmp_path / "file")


BUILD = """
import sys
from selfsup.data.build import prepare_store
from selfsup.data.items import NO_SIDE, TEST, UNKNOWN, VAL, Side
from selfsup.data.rendering import Renderer
from selfsup.data.sources import open_source
from selfsup.errors import UserError
{before}
try:
    store = prepare_store(open_source(sys.argv[1]), store_size=64, cache_dir=sys.argv[2]{arguments})
except UserError as error:
    sys.exit(str(error))
print(store.path)
"""


def run_build(data: Path, cache: Path, before: str = "", arguments: str = "") -> subprocess.Popen[str]:
    code = BUILD.format(before=before, arguments=arguments)
    command = [sys.executable, "-c", code, str(data), str(cache)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on file sizes")
def test_a_disk_that_fills_up_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    data = labelled_folder(tmp_path / "d", per_class=10)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))"  # a write then fails
    process = run_build(data, tmp_path / "cache", before=limit)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "cannot be written" in error
    assert error.count("\n") == 1
    assert not [path for path in (tmp_path / "cache/stores").iterdir() if path.is_dir()]


STALL = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where the tests run in the background
def stall(done, total):
    if done == 3:
        print("stalled", flush=True)
        import time; time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_build_leaves_no_store_and_the_next_one_clears_up(tmp_path: Path) -> None:
    data = labelled_folder(tmp_path / "d")
    other = labelled_folder(tmp_path / "other", classes=3)
    process = run_build(data, tmp_path / "cache", before=STALL, arguments=", progress=stall")
    assert process.stdout is not None
    assert process.stdout.readline() == "stalled\n"
    stores = tmp_path / "cache/stores"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    left = [path for path in stores.iterdir() if path.is_dir()]
    assert len(left) == 1
    with pytest.raises(UserError, match="no complete store"):
        open_store(left[0])
    other_store = build(other, tmp_path / "cache")  # another data set's build removes it as well
    assert [path for path in stores.iterdir() if path.is_dir()] == [other_store.path]
    assert len(build(data, tmp_path / "cache")) == 6


def test_the_unfinished_build_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    stores = tmp_path / "cache/stores"
    (stores / ".aside-busy").mkdir(parents=True)
    with FileLock(stores / ".busy.lock"):
        build(labelled_folder(tmp_path / "d"), tmp_path / "cache")
        assert (stores / ".aside-busy").is_dir()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    data = labelled_folder(tmp_path / "d")
    process = run_build(data, tmp_path / "cache", before=STALL, arguments=", progress=stall")
    assert process.stdout is not None
    assert process.stdout.readline() == "stalled\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert not [path for path in (tmp_path / "cache/stores").iterdir() if path.is_dir()]


def test_two_processes_do_the_work_once(tmp_path: Path) -> None:
    data = labelled_folder(tmp_path / "d", per_class=20)
    note = f"""
def note(done, total):
    import os, time; time.sleep(0.02)
    open({str(tmp_path)!r} + f"/decoded-by-{{os.getpid()}}", "w").close()
"""
    processes = [run_build(data, tmp_path / "cache", before=note, arguments=", progress=note") for _ in range(2)]
    answers = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    assert answers[0][0] == answers[1][0]
    assert len(list(tmp_path.glob("decoded-by-*"))) == 1


def damage_pixels(path: Path) -> None:
    os.truncate(path / "pixels.bin", 10)


def damage_index(path: Path) -> None:
    (path / "index.npz").write_bytes(b"PK")


def damage_meta(path: Path) -> None:
    (path / "meta.json").write_text("{")


def make_older(path: Path) -> None:
    meta = json.loads((path / "meta.json").read_text())
    (path / "meta.json").write_text(json.dumps(meta | {"version": 0}))


@pytest.mark.parametrize("damage", [damage_pixels, damage_index, damage_meta, make_older])
def test_a_damaged_or_outdated_store_is_none_and_is_built_again(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    data = labelled_folder(tmp_path / "d")
    path = build(data, tmp_path / "cache").path
    damage(path)
    with pytest.raises(UserError, match="holds no complete store"):
        open_store(path)
    assert np.array_equal(build(data, tmp_path / "cache").image(0), smooth(0))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_no_utf8_survive_the_store(tmp_path: Path) -> None:
    data = labelled_folder(tmp_path / "d")
    raw = os.fsencode(data / "class_0") + b"/\xff\xfe.png"
    save_picture(Path(os.fsdecode(raw)), seed=9)
    (Path(os.fsdecode(os.fsencode(data) + b"/class_0/\xfa.png"))).touch()
    store = build(data, tmp_path / "cache")
    assert any("udcff" in name for name in store.names)
    (entry,) = store.audit
    for text in (*store.names, *store.classes, entry.path, entry.detail):
        text.encode("utf-8")
