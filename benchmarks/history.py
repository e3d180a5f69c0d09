"""Keeps every ratio that a benchmark printed in history.csv: ratios only, for rates of two machines do not compare."""

from __future__ import annotations

import csv
import platform
from datetime import date
from pathlib import Path

import torch
from joblib import cpu_count

import selfsup

HISTORY = Path(__file__).with_name("history.csv")
COLUMNS = ("date", "selfsup", "torch", "processor", "cores", "benchmark", "case", "ratio", "value")


def note(benchmark: str, case: str, **ratios: float) -> None:
    """Append a row per ratio."""
    where = (date.today().isoformat(), selfsup.__version__, torch.__version__, processor(), cpu_count())
    new = not HISTORY.exists()
    with HISTORY.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        writer.writerows((*where, benchmark, case, name, f"{value:.3g}") for name, value in ratios.items())


def processor() -> str:
    """What the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
