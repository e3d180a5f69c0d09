"""How long commands take until they do something, against importing torch: by the wall clock, and in CPU time.

    python benchmarks/startup.py [--repeats 3]

`selfsup --help`, `selfsup plan digits`, and `selfsup run digits` until its first step asks for its views, each in
processes of its own, by turns with `python -c "import torch"`. Seconds are medians; the CPU time of `run` is that of
all its processes. The ratio of CPU times is the one that other work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil

from history import note

#: An augmentation that says when it is first asked for a view.
STARTED = """
'''The policy simclr, which leaves a file where it was first used.'''
from pathlib import Path
from selfsup.views.simclr_policy import policy as simclr

class Started:
    channels = simclr.channels
    apply = staticmethod(simclr.apply)

    def draw(self, *given, **named):
        Path({file!r}).touch()
        return simclr.draw(*given, **named)

    def __call__(self, images, sizes, out_size, generator, *view):
        return self.apply(images, sizes, self.draw(sizes, out_size, generator, *view), out_size)

policy = Started()
"""
SELFSUP = [sys.executable, "-m", "selfsup"]


def whole(command: list[str]) -> tuple[float, float]:
    """Seconds of a command to its end, by the wall clock and in CPU time."""
    before, began = _children(), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began, _children() - before


def until_first_step(folder: Path, options: list[str]) -> tuple[float, float]:
    """The same of a study until a training asks for its first views, when it is ended."""
    file = folder / "first"
    (folder / "started.py").write_text(STARTED.format(file=str(file)), encoding="utf-8")
    study = ["--out", str(folder / "study"), "--plugin", str(folder / "started.py"), "--augmentations", "started"]
    began = time.perf_counter()
    process = subprocess.Popen([*SELFSUP, "run", "digits", *study, *options], stderr=subprocess.DEVNULL)
    try:
        while not file.exists():
            if process.poll() is not None:
                raise RuntimeError("the study ended before its first step")
            time.sleep(0.01)
        taken, parent = time.perf_counter() - began, psutil.Process(process.pid)
        all_of_them = [each.cpu_times() for each in (parent, *parent.children(recursive=True))]
        return taken, sum(times.user + times.system for times in all_of_them)
    finally:
        process.kill()  # its workers go with it
        process.wait()


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    arguments, options = parser.parse_known_args()
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(arguments.repeats):
        with tempfile.TemporaryDirectory() as scratch:
            found.setdefault("import torch", []).append(whole([sys.executable, "-c", "import torch"]))
            found.setdefault("selfsup --help", []).append(whole([*SELFSUP, "--help"]))
            found.setdefault("selfsup plan digits", []).append(whole([*SELFSUP, "plan", "digits", *options]))
            first = until_first_step(Path(scratch), options)
            found.setdefault("first step of selfsup run digits", []).append(first)
    seconds = {name: tuple(median(column) for column in zip(*pairs, strict=True)) for name, pairs in found.items()}
    wall, cpu = seconds["import torch"]
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; medians of {arguments.repeats}\n")
    print("| | seconds | CPU seconds | of `import torch` | in CPU time |\n|---|---|---|---|---|")
    for name, (taken, used) in seconds.items():
        print(f"| {name} | {taken:.2f} | {used:.2f} | {taken / wall:.2f} | {used / cpu:.2f} |")
        if name != "import torch":
            note("startup", name, wall=taken / wall, cpu=used / cpu)


if __name__ == "__main__":
    main()
