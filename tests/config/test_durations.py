"""Times as people write them."""

from __future__ import annotations

import pytest

from selfsup.config.durations import seconds_in
from selfsup.config.validation import validate


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30m", 1800), ("2h", 7200), ("1d12h", 129_600), ("1h30m", 5400), ("90s", 90), (" 2 H ", 7200)],
)
def test_a_time_is_read(text: str, seconds: int) -> None:
    budget = validate({"budget": text}).budget
    assert budget is not None
    assert seconds_in(budget) == seconds
