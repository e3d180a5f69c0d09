"""The curves of a study's figure: which of them have their intervals drawn."""

from __future__ import annotations

import numpy as np
import pytest

from selfsup.report.pictures import curves_figure
from selfsup.report.recorded import read_study
from selfsup.report.series import score_series, size_places
from selfsup.report.verdict import answer_study

SEVEN = ("simclr", "moco", "byol", "mae", "supervised", "frozen", "random")


@pytest.mark.parametrize(("methods", "shaded"), [(SEVEN, {"moco", "frozen"}), (SEVEN[1:], set(SEVEN[1:]))])
def test_of_seven_methods_or_more_only_the_best_and_its_rival_without_training_are_shaded(make_study, methods, shaded):
    writer = make_study(methods=methods, augmentations=("weak",), lrs=(0.06,), sizes=("5", "20"))
    study = read_study(writer.path)
    found = answer_study(study)
    curves = score_series(found, size_places(study))
    assert {curve.name for curve in curves} == set(methods)
    assert {curve.name for curve in curves if np.isfinite(curve.low).all()} == shaded
    of_them = " of moco and frozen" if len(shaded) == 2 else ""
    assert curves_figure(study, found).draw.keywords["band"] == f"95 % interval{of_them}"


def test_shares_of_as_many_images_have_one_tick_with_both_names(make_study):
    writer = make_study(methods=("moco",), augmentations=("weak",), lrs=(0.06,), sizes=("1%", "0.5%", "50%"))
    study = read_study(writer.path)
    _, ticks = curves_figure(study, answer_study(study)).draw.args
    assert ticks == {1: "0.5%, 1%", 63: "50%"}
