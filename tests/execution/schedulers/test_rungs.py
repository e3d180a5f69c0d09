"""Rungs: where trainings are compared, and what that is expected to cost."""

from __future__ import annotations

import pytest

from selfsup.config.validation import validate
from selfsup.errors import UserError
from selfsup.execution.schedulers.base import Rungs, rungs_of


def test_rungs_grow_by_the_factor_and_end_before_the_last_epoch() -> None:
    assert list(Rungs(2, 3, 54)) == [2, 6, 18]
    assert list(Rungs(6, 3, 50)) == [6, 18]
    assert list(Rungs(1, 2, 1)) == []


def test_by_default_there_are_two_rungs() -> None:
    assert list(rungs_of(validate({"epochs": 50}))) == [6, 18]
    assert list(rungs_of(validate({"epochs": 100, "reduction_factor": 2}))) == [25, 50]
    assert list(rungs_of(validate({"epochs": 50, "min_epochs": 10}))) == [10, 30]


def test_share_counts_the_epochs_of_those_that_go_on() -> None:
    # 16 to epoch 6, 6 to 18, 2 to 50.
    assert Rungs(6, 3, 50).share(16) == pytest.approx((16 * 6 + 6 * 12 + 2 * 32) / (16 * 50))
    assert Rungs(6, 3, 50).share(1) == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"scheduler": "halvng"}, "halving"),
        ({"reduction_factor": 1}, "--reduction-factor = 1"),
        ({"min_epochs": 50, "epochs": 50}, "--min-epochs 50"),
        ({"min_epochs": 0}, "--min-epochs = 0"),
    ],
)
def test_what_does_not_fit_is_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        validate(values)
