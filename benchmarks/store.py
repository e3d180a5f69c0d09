"""The store of decoded images: rate against Pillow's bare decode, start of a second study, memory.

    python benchmarks/store.py [--images 2000] [--side 512] [--many 200000]

The bare rate is Pillow alone, opening a JPEG file and turning it into RGB pixels of full size, in as
many processes at once as there are cores: what the machine can do at best, which is less than one
process's rate times the cores where these share caches or clock. selfsup also checks, shrinks, hashes
and writes every image. It does so twice and the second time counts: in a virtual machine the
first writing of gigabytes may wait for memory from the host, whoever writes. Memory is the peak of a
process that builds a store of `--many` small images, against one that builds a store of 1,000.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from joblib import cpu_count
from PIL import Image
from scipy.ndimage import zoom
from sklearn.datasets import load_sample_images

from cell import apart
from history import note
from selfsup.data.build import prepare_store
from selfsup.data.sources import open_source

CLASSES = 10


def write_photographs(folder: Path, count: int, side: int) -> Path:
    """`count` JPEG crops of two real photographs, `side` pixels wide."""
    rng = np.random.default_rng(0)
    photographs = [zoom(image, (2, 2, 1), order=1) for image in load_sample_images().images]
    for number in range(count):
        whole = photographs[number % 2]
        top, left = rng.integers(0, whole.shape[0] - side), rng.integers(0, whole.shape[1] - side)
        place = folder / f"class {number % CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(whole[top : top + side, left : left + side]).save(place / f"{number}.jpg", quality=90)
    return folder


def write_small_images(folder: Path, count: int) -> Path:
    """`count` uncompressed pictures of 16 px, each of its own pixels."""
    rng = np.random.default_rng(0)
    for number in range(CLASSES):
        (folder / f"class {number}").mkdir(parents=True)
    header = b"P6 16 16 255\n"
    for number in range(count):
        pixels = rng.integers(0, 256, 16 * 16 * 3, np.uint8).tobytes()
        (folder / f"class {number % CLASSES}" / f"{number:06d}.ppm").write_bytes(header + pixels)
    return folder


def bare_rate(folder: Path) -> float:
    """Images per second of Pillow alone in one process."""
    files = sorted(folder.glob("*/*.jpg"))
    started = time.perf_counter()
    for file in files:
        with Image.open(file) as image:
            image.convert("RGB").load()
    return len(files) / (time.perf_counter() - started)


def bare_rate_of_all_cores(folder: Path) -> float:
    """Images per second of one process per core, each reading all files."""
    cores, spawn = cpu_count(), get_context("spawn")
    # Each waits for the others to have started, or the first would read alone for a while.
    with ProcessPoolExecutor(cores, mp_context=spawn, initializer=spawn.Barrier(cores).wait) as pool:
        return sum(pool.map(bare_rate, [folder] * cores))


def build(folder: Path, cache: Path) -> tuple[float, float]:
    """Seconds that :func:`prepare_store` took, and the peak memory of this process in MB."""
    started = time.perf_counter()
    prepare_store(open_source(str(folder)), store_size=256, cache_dir=cache)
    return time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--side", type=int, default=512, help="of the photographs, in pixels (default 512)")
    parser.add_argument("--many", type=int, default=200_000, help="small images for the memory's sake")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        photographs = write_photographs(root / "photographs", given.images, given.side)
        os.sync()  # or the store's own flush would wait for these files too
        one, bare = apart(bare_rate, photographs), bare_rate_of_all_cores(photographs)
        first, _ = apart(build, photographs, root / "cache")
        shutil.rmtree(root / "cache")
        seconds, _ = apart(build, photographs, root / "cache")
        again, _ = apart(build, photographs, root / "cache")
        rate, cores = given.images / seconds, cpu_count()
        print(f"{given.images} JPEG files of {given.side} px, {cores} cores")
        print(f"  Pillow, one process {one:8.0f} images/s")
        print(f"  Pillow, {cores} at once   {bare:8.0f} images/s   {bare / one / cores:.2f} of one x {cores}")
        print(f"  selfsup             {rate:8.0f} images/s   {rate / bare:.2f} of Pillow, {cores} at once")
        print(f"  the build before    {given.images / first:8.0f} images/s")
        print(f"  a second study finds the store in {again:.2f} s")
        note("store", f"{given.side} px", share_of_pillow_on_all_cores=rate / bare)
        _, few = apart(build, write_small_images(root / "few", 1000), root / "cache")
        many_seconds, many = apart(build, write_small_images(root / "many", given.many), root / "cache")
        again, _ = apart(build, root / "many", root / "cache")
        print(f"{given.many} against 1000 images of 16 px")
        print(f"  peak memory {many:.0f} MB against {few:.0f} MB, {(many - few) * 1e3 / given.many:.2f} kB per image")
        print(f"  {given.many / many_seconds:.0f} images/s; a second study finds the store in {again:.2f} s")
        note("store", f"{given.many} images", peak_memory_against_1000_images=many / few)


if __name__ == "__main__":
    main()
