"""Everything that we want to know of a GPU, in at most eight minutes and without a network.

Needs PyTorch and what selfsup imports; says first what is missing. Sections come in the order of their worth; one that
fails prints its error and the rest goes on; at the end of the time, what there is has been printed and written.

    python benchmarks/gpu.py [--minutes 8] [--json gpu.json] [--sections tests,rates] [--sizes 32,64,224]
    python benchmarks/gpu.py --device cpu --tiny      # whether the script works: nothing that it prints counts
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import re
import sys
import threading
import time
import tomllib
import traceback
from pathlib import Path

from findings import Findings

ROOT = Path(__file__).resolve().parents[1]
#: Packages beside selfsup's own: of the tests, and of the peer.
ALSO = ("pytest", "pytest-timeout", "hypothesis", "lightly")


def missing_packages() -> list[str]:
    """Names of the packages that selfsup, its tests and the peer need and that are not here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[<>=]", line)[0] for line in project["dependencies"]]
    return [name for name in (*names, *ALSO) if not _is_here(name)]


def _is_here(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def end_after(seconds: float) -> None:
    """End this process when its time is up, whatever it waits for."""

    def end() -> None:
        print("The time is up; what is not printed was not measured.", flush=True)
        os._exit(0)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=8.0, help="after which it ends, done or not (default 8)")
    parser.add_argument("--json", type=Path, help="a file for all numbers")
    parser.add_argument("--sections", help="some of them, in this order (default all)")
    parser.add_argument("--sizes", default="32,64,224", help="sides of the views in pixels")
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=2.0, help="that one rate is measured for (default 2)")
    parser.add_argument("--tiny", action="store_true", help="the least of everything")
    given = parser.parse_args()
    if given.tiny:
        given.sizes, given.images, given.batch_size, given.seconds = "32", 16, 8, 0.0
    given.sizes = [int(size) for size in given.sizes.split(",")]
    return given


def main() -> None:
    given = options()
    started = time.monotonic()
    end_after(60 * given.minutes)
    print("missing:", ", ".join(missing_packages()) or "nothing", flush=True)
    if importlib.util.find_spec("selfsup") is None:
        sys.path.insert(0, str(ROOT / "src"))
        os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    import gpu_sections
    from selfsup.errors import UserError

    findings = Findings(given.json)
    gpu_sections.set_up(given)
    try:
        gpu_sections.describe(given, findings)
    except UserError as error:
        sys.exit(str(error))
    for name in given.sections.split(",") if given.sections else gpu_sections.SECTIONS:
        begun = time.monotonic()
        try:
            section = gpu_sections.SECTIONS[name]
            print(f"{name}: {(section.__doc__ or '').splitlines()[0]}", flush=True)
            section(given, findings)
        except Exception:
            # On the standard output, where it stands under its section.
            traceback.print_exc(file=sys.stdout)
        print(f"  ({time.monotonic() - begun:.0f} s, {time.monotonic() - started:.0f} s since the start)", flush=True)


if __name__ == "__main__":
    main()
