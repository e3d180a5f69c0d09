"""Very many images: what listing, splitting, subsets and the audit take; and reading a store larger than memory.

    python benchmarks/scale.py [--images 100000] [--classes 1000] [--megabytes 1000] [--folder FOLDER]

Makes PNG files of 8 px and noise, a folder per class, and prepares a study of them as `selfsup run` does, in a process
of its own: CPU seconds of each stage, as multiples too of asking the system for the size and time of every file, which
is the least that a listing can take; and the peak of memory. Then once more, in another process, where the decoded
images are there already. Decoding is told per image.

Then batches of 128 images of 64 px, in a random order, from a store whose file is dropped from the system's memory
before each pass, with a pause where training would compute: what a batch takes, with and without the disk being told of
the next two batches, against a store that is in memory. For a store that never fits, run it within a limit:
systemd-run --scope -p MemoryMax=800M python benchmarks/scale.py --images 1000 --megabytes 2000
"""

from __future__ import annotations

import argparse
import os
import resource
import struct
import tempfile
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
#: Pixels of the side of an image that is listed, and of one that is read; images of a batch; batches of a pass.
TINY, SIDE, BATCH, BATCHES = 8, 64, 128, 60


def write_images(root: Path, images: int, classes: int) -> Path:
    """PNG files of noise, in a folder for each class; those that are there are left."""
    rng = np.random.default_rng(0)
    for number in range(classes):
        (root / f"class {number:05}").mkdir(parents=True, exist_ok=True)
    for number in range(images):
        path = root / f"class {number % classes:05}" / f"{number:08}.png"
        pixels = rng.integers(0, 256, (TINY, TINY * 3), np.uint8)
        if not path.exists():
            path.write_bytes(png(pixels))
    return root


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of colours, uint8 of shape (H, 3 W); Pillow takes ten times as long."""
    height, width = pixels.shape
    rows = np.pad(pixels, ((0, 0), (1, 0))).tobytes()  # each begins with the number of its filter
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width // 3, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 1)),
        (b"IEND", b""),
    )
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def ask_for_all(root: Path) -> None:
    """Size and time of every file below, as the system tells them."""
    for folder in os.scandir(root):
        for entry in os.scandir(folder):
            entry.stat()


class Clock:
    """CPU seconds of stages, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def time(self, name: str, function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        started = time.process_time()
        result = function(*arguments, **options)
        self.seconds[name] = self.seconds.get(name, 0) + time.process_time() - started
        return result

    def timed(self, name: str, function: Callable[..., T]) -> Callable[..., T]:
        return lambda *arguments, **options: self.time(name, function, *arguments, **options)


def prepare(root: Path, study: Path) -> tuple[dict[str, float], float]:
    """CPU seconds of the stages of preparing a study, and the peak memory of this process in MB."""
    from selfsup.config.validation import validate
    from selfsup.data import build
    from selfsup.data.sources._file_source import FileSource
    from selfsup.data.split import draw_subset
    from selfsup.execution import preparation
    from selfsup.record.folder import StudyFolder

    clock = Clock()
    clock.time("ask for size and time", ask_for_all, root)
    preparation.open_images = clock.timed("list", preparation.open_images)
    preparation.prepare_store = clock.timed("store", preparation.prepare_store)
    build.find_originals = clock.timed("copies", build.find_originals)
    FileSource.fingerprint = clock.timed("fingerprint", FileSource.fingerprint)  # type: ignore[method-assign]
    preparation.split_study = clock.timed("split", preparation.split_study)
    folder, config = StudyFolder(study), validate({"data": str(root)})
    new = not folder.exists()
    if new:
        folder.create()
    store = clock.time("all", preparation.prepare_images, folder, config, lambda line: None)
    if new:
        folder.write_config(config)
    train = np.load(study / "split.npz")["train"]
    for per_class in (1, 5, 20, "all"):
        clock.time("subsets", draw_subset, store.labels, train, per_class=per_class, seed=0)
    found = clock.seconds
    found["decode, or open the store"] = found.pop("store") - found["fingerprint"] - found.get("copies", 0)
    known = ("list", "fingerprint", "copies", "split", "decode, or open the store")
    found["audit, files of the study"] = found["all"] - sum(found.get(name, 0) for name in known)
    found["all"] += found["subsets"]
    return found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(function: Callable[..., T], *arguments: Any) -> T:
    """The function's result, computed in a fresh process, in which nothing but what it needs is imported."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def show(title: str, seconds: dict[str, float], peak: float, images: int) -> None:
    print(f"{title}: peak memory {peak:.0f} MB")
    least = seconds["ask for size and time"]
    for name, taken in seconds.items():
        print(f"  {name:28} {taken:8.2f} s CPU {taken / least:8.2f} x {1e6 * taken / images:8.1f} µs per image")


def read_passes(folder: Path, megabytes: int, pause: float) -> None:
    """Seconds of a batch from a store on the disk, by whether the disk is told of what comes."""
    from selfsup.data.items import NO_SETS
    from selfsup.data.store import PIXELS, Store

    size = SIDE * SIDE * 3
    count = max(BATCH, megabytes * 2**20 // size)
    folder.mkdir(parents=True, exist_ok=True)
    block = np.random.default_rng(0).integers(0, 256, 2**20, np.uint8).tobytes()
    with open(folder / PIXELS, "wb") as file:
        for _ in range(-(-count * size // len(block))):
            file.write(block)
        file.truncate(count * size)
        os.fsync(file.fileno())
    meta: dict[str, Any] = {"name": "noise", "names": [""] * count, "classes": [], "groups": [], "audit": []}
    index = {name: np.zeros(count, np.int64) for name in ("labels", "sides", "digests", "originals")}
    index |= {"sizes": np.full((count, 2), SIDE, np.int32), "folds": np.zeros((0, count), bool), "sets": NO_SETS}
    index["offsets"] = np.arange(count + 1, dtype=np.int64) * size
    meta["rendering"] = {"file_channels": 3}
    order = np.random.default_rng(1).permutation(count)[: BATCH * BATCHES]
    batches = np.array_split(order, -(-len(order) // BATCH))

    def waited(*, told: bool, cold: bool) -> float:
        """Seconds of a batch beside the pause."""
        if cold:
            drop(folder / PIXELS)
        store = Store(folder, meta, index)  # anew, for what is mapped cannot be dropped
        started = time.perf_counter()
        for number, batch in enumerate(batches):
            if told:
                coming = batches[number : number + 3] if number == 0 else batches[number + 2 : number + 3]
                if coming:
                    store.will_need(np.concatenate(coming))
            store.batch(batch)
            time.sleep(pause)
        return (time.perf_counter() - started) / len(batches) - pause

    waited(told=False, cold=False)
    memory = waited(told=False, cold=False)
    print(f"{count} images of {SIDE} px, {megabytes} MB; batches of {BATCH}, {1000 * pause:.0f} ms of training each")
    for name, told, cold in (
        ("in memory, if it fits", False, False),
        ("in memory, the disk told", True, False),
        ("on the disk", False, True),
        ("on the disk, told", True, True),
    ):
        seconds = memory if not (told or cold) else waited(told=told, cold=cold)
        print(f"  {name:28} {1000 * seconds:8.1f} ms per batch, {100 * seconds / pause:6.1f} % of the training")


def drop(path: Path) -> None:
    """Have the system forget what it keeps of a file, where it can be asked to."""
    if hasattr(os, "posix_fadvise"):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--megabytes", type=int, default=1000, help="of the store that is read (default 1000)")
    parser.add_argument("--pause", type=float, default=0.03, help="seconds that a batch is trained on (default 0.03)")
    parser.add_argument("--folder", type=Path, help="where the images are made, and kept (default: a temporary one)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["SELFSUP_CACHE"] = f"{scratch}/cache"
        root = write_images(given.folder or Path(scratch, "images"), given.images, given.classes)
        print(f"{given.images} images of {TINY} px in {given.classes} classes")
        for title in ("first start", "second start"):
            show(title, *apart(prepare, root, Path(scratch, "study")), given.images)
        read_passes(Path(scratch, "store"), given.megabytes, given.pause)


if __name__ == "__main__":
    main()
