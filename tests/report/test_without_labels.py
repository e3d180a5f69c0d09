"""Measures without labels: how far this study's accuracies bear them out, and what they would choose."""

from __future__ import annotations

import re

import pandas as pd

from page_reader import PageReader
from selfsup.report.page import write_report
from selfsup.report.recorded import read_study
from selfsup.report.without_labels import opinions, trust


def cell(lr: float, **values) -> dict:
    return {
        "cell": f"moco-weak-lr{lr}", "method": "moco", "augmentation": "weak", "lr": lr, "per_class": "all", "seed": 0,
        "status": "done",
    } | values  # fmt: skip


def test_each_measure_has_its_own_direction():
    rows = [
        cell(0.1, effective_rank=9.0, alpha_req=2.0, alignment=0.5, uniformity=-3.0),
        cell(0.2, effective_rank=5.0, alpha_req=1.1, alignment=0.1, uniformity=-1.0),
        cell(0.3, effective_rank=99.0, alpha_req=1.0, alignment=0.0, uniformity=-9.0, status="collapsed"),
    ]
    chosen = {found.measure: found.lr for found in opinions(pd.DataFrame(rows))}
    assert chosen == {"effective_rank": 0.1, "alpha_req": 0.2, "alignment": 0.2, "uniformity": 0.1}


def test_a_measure_that_follows_the_accuracy_is_trusted_most(make_study):
    # The made-up spread is 0.9 times the accuracy, the effective rank 40 times; alignment is the same everywhere.
    study = read_study(make_study(methods=("moco", "simclr")).path)
    found = trust(study)
    assert [first.measure for first in found] == ["embedding_std", "effective_rank"]
    assert all(first.correlation.rho > 0.95 and abs(first.regret) < 0.02 for first in found)
    assert "alignment" not in {agreement.measure for agreement in found}


def test_the_page_says_how_far_to_trust_them(make_study):
    page = PageReader(write_report(make_study(methods=("moco", "simclr")).path).read_text())
    assert "Could the learning rate be chosen without labels?" in page.visible
    assert re.search(r"RankMe, effective rank \(Garrido et al., 2023\) \+(0\.9|1\.0)", page.visible)


def test_without_labels_the_page_shows_every_opinion(make_study):
    writer = make_study(labelled=False, methods=("moco", "simclr", "frozen"), sizes=("all",))
    page = PageReader(write_report(writer.path).read_text())
    assert "What each measure would choose" in page.visible
    assert "measures would choose the settings recommended above" in page.visible
    assert trust(read_study(writer.path)) == []
