"""One job of a real study: stopped anywhere it ends the same; watched, fine-tuned and named when it collapses."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier
from tests.undrawn import undrawn

import selfsup
from selfsup.backbones import Backbone
from selfsup.config.grid import Cell, Job
from selfsup.errors import Interrupted
from selfsup.evaluation.embedding import embed
from selfsup.evaluation.evaluators.knn import knn_predict
from selfsup.evaluation.linear_probe import fit_linear_probe
from selfsup.execution.jobs.context import StudyContext, limit
from selfsup.execution.jobs.job import run_job
from selfsup.inference import load_probe
from selfsup.methods import ParameterGroup, method_class
from selfsup.record.folder import StudyFolder
from selfsup.record.results import MEASURED_COLUMNS
from selfsup.training.device import Hardware

pytestmark = pytest.mark.usefixtures("without_pictures")

TINY = {
    "backbone": "test_resnet",
    "image_size": 16,
    "batch_size": 64,
    "epochs": 4,
    "augmentations": "weak",
    "lrs": "0.03",
    "executor": "inline",
    "precision": "fp32",
    "threads": 1,
    "device": "cpu",
    "keep": "all",
}


class StopAt:
    """Asks to stop at the `number`-th question."""

    def __init__(self, number: int | None = None) -> None:
        self.number, self.asked = number, 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.asked == self.number


def opened(study: selfsup.Study) -> StudyContext:
    return StudyContext(StudyFolder(study.path), Hardware("cpu", "fp32"))


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> selfsup.Study:
    """One pretraining, watched in every second epoch, fine-tuned with two numbers of labels."""
    with undrawn():
        return selfsup.compare(
            "digits",
            out=tmp_path_factory.mktemp("tuned") / "study",
            **{**TINY, "methods": "moco", "per_class": "2,5", "protocol": "label-efficiency"},
            evaluate="finetune",
            finetune_epochs=3,
            finetune_lrs="0.001,0.03",
            knn_every=2,
        )


def test_fine_tuning_has_columns_of_its_own(tuned: selfsup.Study) -> None:
    table = tuned.results
    assert set(table.finetune_lr) <= {0.001, 0.03}
    assert table.finetune_accuracy.between(0.05, 1).all()
    assert table.finetune_val_accuracy.between(0.05, 1).all()
    assert not table.finetune_accuracy.equals(table.test_accuracy)
    assert tuned.config.evaluate == ("probe", "finetune")


def test_a_job_stopped_anywhere_ends_with_the_same_numbers(tuned: selfsup.Study, tmp_path: Path) -> None:
    """Stopped early and late in the pretraining, and three times in the fine-tunings, each time going on from there.

    A job that is never stopped is asked 80 times in its pretraining and 12 times in its four fine-tunings.
    """
    shutil.copytree(tuned.path, tmp_path / "study", ignore=shutil.ignore_patterns("cells", "running"))
    study = StudyContext(StudyFolder(tmp_path / "study"), Hardware("cpu", "fp32"))
    study.folder.create()
    job = Job(tuple(Cell("moco", "test_resnet", "weak", 0.03, n, 0) for n in (2, 5)), shared=True)
    for more in (7, 73, 3, 5, 4):
        with pytest.raises(Interrupted):
            run_job(study, job.without(study.folder.finished()), should_stop=StopAt(more))
    counted = StopAt()
    run_job(study, job.without(study.folder.finished()), should_stop=counted)
    assert counted.asked < 12, "what was trained is trained again"
    found = [study.folder.results(), tuned.results]
    first, second = (table.drop(columns=list(MEASURED_COLUMNS)) for table in found)
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    for name in first.cell:
        logs = [pd.read_csv(path / "cells" / name / "training_log.csv") for path in (study.folder.path, tuned.path)]
        timed = ["seconds", "images_per_second"]
        pd.testing.assert_frame_equal(*(log.drop(columns=timed) for log in logs), check_exact=True)
    assert not study.folder.checkpoint(job.id).exists()


def test_neighbours_are_asked_in_every_second_epoch_of_the_training(tuned: selfsup.Study) -> None:
    (cell, _) = tuned.results.cell
    log = pd.read_csv(tuned.path / "cells" / cell / "training_log.csv")
    assert log.knn_accuracy.notna().tolist() == [False, True, False, True]
    study = opened(tuned)
    backbone: Any = tuned.load_backbone(tuned.result(cell))
    bank, asked = limit(study.split(0).train, 1000, study.config.split_seed), study.split(0).val
    features = [embed(backbone, study.store, part, image_size=16, device="cpu") for part in (bank, asked)]
    predicted = knn_predict(features[0], study.store.labels[bank], features[1], num_classes=10)
    assert log.knn_accuracy.iloc[-1] == (predicted == study.store.labels[asked]).mean()


def run_simclr(out: Path, **options: object) -> pd.Series:
    grid: dict[str, object] = {**TINY, "methods": "simclr", "per_class": "10", **options}
    (row,) = selfsup.compare("digits", out=out, **grid).results.to_dict("records")
    return pd.Series(row)


def test_a_collapse_is_named_with_its_epoch_and_the_usual_causes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weight decay that takes all weights to zero in the first step, those of the norms too."""
    monkeypatch.setattr(
        method_class("simclr"), "parameter_groups", lambda self: [ParameterGroup(list(self.parameters()))]
    )
    row = run_simclr(
        tmp_path / "study",
        lrs="0.1",
        schedule="constant",
        settings={"simclr": {"weight_decay": 10, "optimizer_momentum": 0}},
    )
    assert row.status == "collapsed"
    assert "collapsed" in row.message
    assert "epoch 2" in row.message
    assert "learning rate" in row.message


@pytest.mark.parametrize("weight", [1e12, np.inf])
def test_embeddings_beyond_any_measure_end_as_diverged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weight: float
) -> None:
    """The training's own numbers are as they were: its network is another one once it has ended."""
    monkeypatch.setattr(method_class("simclr"), "encoder", property(lambda self: _magnified(self.backbone, weight)))
    row = run_simclr(tmp_path / "study", epochs=2, knn_every=1)
    assert row.status == "diverged"
    assert "after epoch 2; a smaller learning rate would help" in row.message
    assert pd.isna(row.test_accuracy)
    assert pd.read_csv(tmp_path / "study" / "cells" / row.cell / "training_log.csv").knn_accuracy.isna().all()


def test_a_network_that_was_not_trained_is_not_said_to_have_a_learning_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(method_class("random"), "encoder", property(lambda self: _magnified(self.backbone, 1e12)))
    row = run_simclr(tmp_path / "study", methods="random")
    assert row.status == "diverged"
    assert row.message == (
        "the embeddings had values that are not finite or beyond 65,504, without any training; other weights or "
        "another network would help"
    )


def _magnified(backbone: Backbone, weight: float) -> Backbone:
    magnified = copy.deepcopy(backbone)
    magnified.register_forward_hook(lambda module, given, result: result * weight)
    return magnified


def test_a_healthy_cell_has_no_message(tmp_path: Path) -> None:
    row = run_simclr(tmp_path / "study")
    assert (row.status, row.message) == ("done", None)
    assert pd.isna(row.finetune_accuracy)
    for measure in ("effective_rank", "alpha_req", "lidar", "alignment", "uniformity", "silhouette", "few_shot_sd"):
        assert np.isfinite(row[measure]), measure


def test_settings_of_neighbours_and_probe_reach_the_numbers(tmp_path: Path) -> None:
    out = tmp_path / "study"
    row = run_simclr(out, epochs=1, knn_neighbours=1, probe="sgd")
    study = selfsup.load_study(out)
    found, labels = opened(study), opened(study).store.labels
    parts = [found.subset(Cell("simclr", "test_resnet", "weak", 0.03, 10, 0)), found.split(0).val, found.split(0).test]
    backbone = study.load_backbone(study.result(row.cell))
    features = [embed(backbone, found.store, part, image_size=16, device="cpu") for part in parts]
    nearest = KNeighborsClassifier(1, metric="cosine").fit(features[0], labels[parts[0]])
    # Of two neighbours that are as near, rounding decides.
    assert row.knn_accuracy == pytest.approx(nearest.score(features[2], labels[parts[2]]), abs=2 / len(parts[2]))
    by_sgd, optimum = (
        fit_linear_probe(features[0], labels[parts[0]], features[1], labels[parts[1]], num_classes=10, solver=solver)
        for solver in ("sgd", "lbfgs")
    )
    kept = load_probe(study, row.cell)
    np.testing.assert_allclose(kept.weight, by_sgd.weight, rtol=1e-3, atol=1e-5)
    assert not np.allclose(kept.weight, optimum.weight, rtol=0.1, atol=1e-3)


def test_without_labels_there_is_nothing_to_fine_tune_or_to_ask_neighbours_for(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "all"
    folder.mkdir(parents=True)
    for number, image in enumerate(load_digits().images[:40]):
        Image.fromarray((image * 15).astype(np.uint8)).save(folder / f"{number}.png")
    study = selfsup.compare(
        tmp_path / "data",
        out=tmp_path / "study",
        **{**TINY, "methods": "simclr", "per_class": "all", "epochs": 2},
        evaluate="probe,finetune",
        knn_every=1,
    )
    (row,) = study.results.itertuples()
    assert row.status == "done"
    assert pd.isna(row.finetune_accuracy)
    log = pd.read_csv(study.path / "cells" / row.cell / "training_log.csv")
    assert log.knn_accuracy.isna().all()
    assert np.isfinite(row.alpha_req)
