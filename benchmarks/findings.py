"""What a benchmark found: printed as it comes, and kept in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Findings:
    """Numbers by section, case and name: printed as they come, and kept in a file."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.values: dict[str, Any] = {}

    def note(self, section: str, case: str, **numbers: Any) -> None:
        """Print a line and write the file anew."""
        self.values.setdefault(section, {}).setdefault(case, {}).update(numbers)
        shown = "   ".join(f"{name} {_shown(value)}" for name, value in numbers.items())
        print(f"  {case:<44}{shown}", flush=True)
        if self.path is not None:
            self.path.write_text(json.dumps(self.values, indent=1), encoding="utf-8")


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
