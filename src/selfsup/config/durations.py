"""Times as people write them: 30m, 2h, 1d12h."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

_DURATION = r"(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?"


def seconds_in(duration: str) -> int:
    """Seconds of a time such as ``1d12h``; 0 for what is none."""
    parts = re.fullmatch(_DURATION, duration)
    counts = parts.groups() if parts else ()
    return sum(int(count or 0) * unit for count, unit in zip(counts, (86400, 3600, 60, 1), strict=False))


def _duration(value: Any) -> Any:
    text = re.sub(r"\s", "", value).lower() if isinstance(value, str) else ""
    if value is not None and not seconds_in(text):
        raise ValueError("must be a time above 0 such as 30m, 2h or 1d12h, of days, hours, minutes and seconds")
    return text or None


#: A time above 0 as text, without spaces; or None.
Duration = Annotated[str | None, BeforeValidator(_duration)]
