"""What a scheduler compares trainings by."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import balanced_accuracy_score, f1_score

from selfsup.config.grid import Cell, Job
from selfsup.evaluation.linear_probe import fit_linear_probe
from selfsup.execution.jobs import job_callbacks
from selfsup.execution.jobs.job_callbacks import score_cells

DATA = load_digits()
FEATURES, LABELS = DATA.data[:400].astype(np.float32), DATA.target[:400].astype(np.int64)
#: Few of the classes 5 to 9 to learn from, all of them to validate on.
TRAIN = np.flatnonzero((np.arange(400) < 200) & ((LABELS < 5) | (np.arange(400) < 15)))
VAL = np.arange(200, 400)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("accuracy", lambda true, predicted: (true == predicted).mean()),
        ("balanced-accuracy", balanced_accuracy_score),
        ("macro-f1", lambda true, predicted: f1_score(true, predicted, average="macro")),
    ],
)
def test_trainings_are_compared_by_the_studys_metric_on_validation(
    metric: str, expected, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = SimpleNamespace(
        config=SimpleNamespace(metric=metric, probe="logistic"),
        store=SimpleNamespace(items=SimpleNamespace(targets=LABELS.__getitem__, classes=tuple("0123456789"))),
        split=lambda seed: SimpleNamespace(val=VAL),
        evaluated=lambda seed: VAL,
        hardware=SimpleNamespace(device="cpu"),
        probe_images=lambda cell: TRAIN,
    )
    cell = Cell("moco", "resnet18", "weak", 0.1, 5, 0)
    monkeypatch.setattr(job_callbacks, "embed_plain", lambda study, backbone, indices: FEATURES[indices])
    (score,) = score_cells(study, Job((cell,)), torch.nn.Identity()).values()
    probe = fit_linear_probe(FEATURES[TRAIN], LABELS[TRAIN], FEATURES[VAL], LABELS[VAL], num_classes=10)
    assert score == pytest.approx(expected(LABELS[VAL], probe.predict(FEATURES[VAL])))
