"""Evaluators fit on train, choose on validation and quote the test images alone; each fills the columns it declares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, roc_auc_score
from torch import Tensor

from selfsup.config.validation import validate
from selfsup.errors import UserError
from selfsup.evaluation import evaluators
from selfsup.evaluation.base import Evaluated
from selfsup.evaluation.embedding import MEASURED_IMAGES, Embedded, embed
from selfsup.evaluation.evaluation_context import EvaluationContext, Part, TrainedNetwork
from selfsup.evaluation.evaluators import clusters, evaluate, load_evaluators, measures, view_measures
from selfsup.evaluation.evaluators.calibration import expected_calibration_error, fit_temperature
from selfsup.evaluation.evaluators.clusters import find_clusters
from selfsup.evaluation.evaluators.few_shot import few_shot
from selfsup.evaluation.evaluators.knn import knn_predict
from selfsup.evaluation.evaluators.structure import alpha_req
from selfsup.evaluation.evaluators.view_measures import alignment, lidar, uniformity
from selfsup.evaluation.linear_probe import fit_linear_probe
from selfsup.testing.backbones import tiny_backbone
from selfsup.training.callbacks import Callbacks
from selfsup.training.device import Hardware
from selfsup.training.diagnostics import effective_rank, embedding_std

DATA = load_digits()
FEATURES, LABELS = DATA.data[:320].astype(np.float32), DATA.target[:320].astype(np.int64)
TRAIN, VAL, TEST = np.arange(0, 320, 4), np.arange(1, 320, 4), np.arange(2, 320, 4)
NOTHING = np.empty(0, np.int64)


class Digits:
    """The handwritten digits, 8 x 8 pixels."""

    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        pixels = torch.from_numpy(DATA.images[indices] * 15).byte().unsqueeze(1).expand(-1, 3, -1, -1)
        return pixels, torch.full((len(indices), 2), 8)


def context(
    labels: np.ndarray = LABELS, *, train: np.ndarray = TRAIN, val: np.ndarray = VAL, test: np.ndarray = TEST,
    features: np.ndarray = FEATURES, seed: int = 0, **config: Any,
) -> EvaluationContext:  # fmt: skip
    """Pixels of the digits in the place of embeddings, those of a tiny network for views of them."""
    torch.manual_seed(0)
    hardware = Hardware("cpu", "fp32")
    network = TrainedNetwork(
        tiny_backbone(), Digits(), labels, TEST[:40], validate({"image_size": 8, **config}), hardware.fabric(), "cpu"
    )
    return EvaluationContext(
        *(Part(part, features[part], labels[part]) for part in (train, val, test)),
        classes=tuple("0123456789") if (labels >= 0).any() else (),
        seed=seed,
        subset=train,
        network=network,
        callbacks=lambda name: Callbacks(),
    )


def unlabelled(features: np.ndarray = FEATURES[TEST], seed: int = 0) -> EvaluationContext:
    unknown = np.full(len(features), -1)
    return context(unknown, train=NOTHING, val=NOTHING, test=np.arange(len(features)), features=features, seed=seed)


def values(cell: EvaluationContext, *requested: str) -> dict[str, Any]:
    return dict(evaluate(cell, requested).values)


def test_embeddings_are_found_by_their_place_in_the_store() -> None:
    places = np.sort(np.concatenate([TRAIN, VAL, TEST]))
    assert (Embedded(places, FEATURES[places]).of(np.array([302, 2, 5])) == FEATURES[[302, 2, 5]]).all()


def test_columns_are_what_their_own_functions_give() -> None:
    cell = context()
    columns = values(cell)
    probe = fit_linear_probe(FEATURES[TRAIN], LABELS[TRAIN], FEATURES[VAL], LABELS[VAL], num_classes=10)
    predicted = probe.predict(FEATURES[TEST])
    neighbours = knn_predict(FEATURES[TRAIN], LABELS[TRAIN], FEATURES[TEST], num_classes=10)
    assert columns["test_accuracy"] == pytest.approx(accuracy_score(LABELS[TEST], predicted))
    assert columns["test_macro_f1"] == pytest.approx(f1_score(LABELS[TEST], predicted, average="macro"))
    assert columns["knn_accuracy"] == pytest.approx(accuracy_score(LABELS[TEST], neighbours))
    assert columns["val_accuracy"] == pytest.approx(accuracy_score(LABELS[VAL], probe.predict(FEATURES[VAL])))
    assert columns["probe_strength"] == probe.C
    probabilities = probe.probabilities(FEATURES[TEST])
    assert columns["auroc"] == pytest.approx(roc_auc_score(LABELS[TEST], probabilities, multi_class="ovr"))
    assert columns["temperature"] == fit_temperature(probe.logits(FEATURES[VAL]), LABELS[VAL])
    assert columns["ece"] == expected_calibration_error(LABELS[TEST], probabilities)
    assert columns["ece_calibrated"] != columns["ece"]
    spread = embedding_std(torch.from_numpy(FEATURES[TEST])).item()
    assert columns["embedding_std"] == pytest.approx(spread, rel=1e-5)
    assert columns["effective_rank"] == effective_rank(FEATURES[TEST])
    assert columns["alpha_req"] == alpha_req(FEATURES[TEST])
    clusters = find_clusters(FEATURES[TEST], candidates=(10,))
    assert (columns["clusters"], columns["silhouette"]) == (10, clusters.silhouette)
    assert columns["cluster_stability"] == clusters.stability
    views = cell.network.views
    assert views.shape == (2, 40, tiny_backbone().num_features)
    assert columns["lidar"] == lidar(views)
    assert (columns["alignment"], columns["uniformity"]) == (alignment(*views), uniformity(views[0]))
    assert 0.8 < columns["test_accuracy"] < 1


def test_a_measure_that_cannot_be_computed_is_empty_and_the_others_are_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    columns = values(context())
    monkeypatch.setattr(view_measures, "alignment", lambda *views: np.linalg.inv(np.zeros((2, 2))))
    with pytest.warns(UserWarning, match=r"view-measures cannot be computed of this embedding \(Singular matrix\)"):
        found = values(context())
    assert found == {k: v for k, v in columns.items() if k not in ("lidar", "alignment", "uniformity")}


def test_only_what_is_for_every_cell_or_named_is_evaluated() -> None:
    cell = context(finetune_epochs=1)
    assert "finetune_accuracy" not in values(cell)
    assert 0 <= values(cell, "finetune")["finetune_accuracy"] <= 1


def test_a_value_for_a_column_that_is_not_declared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    knn = replace(load_evaluators()["knn"], evaluate=lambda cell: Evaluated({"knn_acuracy": 1.0}))
    monkeypatch.setattr(evaluators, "load_evaluators", lambda: {"knn": knn})
    with pytest.raises(UserError, match=r"Unknown column of knn: 'knn_acuracy'. Did you mean 'knn_accuracy'\?"):
        evaluate(context(), ())


def test_the_few_shot_columns_are_those_of_five_images_per_class() -> None:
    train = np.setdiff1d(np.arange(320), np.concatenate([VAL, TEST]))
    evaluated = evaluate(context(train=train), ())
    shots = few_shot(FEATURES[train], LABELS[train], FEATURES[TEST], LABELS[TEST])
    assert evaluated.extras["few_shot"] == [vars(shot) for shot in shots]
    (five,) = (shot for shot in shots if shot.k == 5)
    assert (evaluated.values["few_shot_accuracy"], evaluated.values["few_shot_sd"]) == (five.mean, five.sd)


def test_the_configuration_decides_how_neighbours_vote_and_the_probe_is_fitted() -> None:
    plain, other = values(context()), values(context(knn_neighbours=1, knn_temperature=0.5))
    one = knn_predict(FEATURES[TRAIN], LABELS[TRAIN], FEATURES[TEST], num_classes=10, k=1)
    assert other["knn_accuracy"] == pytest.approx(accuracy_score(LABELS[TEST], one))
    assert other["knn_accuracy"] != plain["knn_accuracy"]
    by_sgd = values(context(probe="sgd"))
    assert by_sgd["test_accuracy"] == pytest.approx(plain["test_accuracy"], abs=0.1)
    assert by_sgd["probe_strength"] != plain["probe_strength"]


def test_measures_without_labels_look_at_a_sample_of_many_images() -> None:
    many = np.random.default_rng(0).normal(size=(MEASURED_IMAGES + 500, 8)).astype(np.float32)
    rank = values(unlabelled(many))["effective_rank"]
    assert rank != effective_rank(many)
    assert rank == pytest.approx(effective_rank(many), rel=0.01)


def test_test_labels_decide_nothing_but_the_scores() -> None:
    """With the test labels shuffled, the probe, its C and its predictions stay the same."""
    honest = evaluate(context(), ())
    shuffled = LABELS.copy()
    shuffled[TEST] = np.roll(LABELS[TEST], 7)
    other = evaluate(context(shuffled), ())
    assert (other.predicted == honest.predicted).all()
    for column in ("val_accuracy", "probe_strength"):
        assert other.values[column] == honest.values[column]
    assert other.values["test_accuracy"] < 0.5 < honest.values["test_accuracy"]


def test_validation_has_every_metric_that_settings_may_be_chosen_by() -> None:
    columns = values(context())
    probe = fit_linear_probe(FEATURES[TRAIN], LABELS[TRAIN], FEATURES[VAL], LABELS[VAL], num_classes=10)
    probabilities = probe.probabilities(FEATURES[VAL])
    predicted = probabilities.argmax(axis=1)
    assert columns["val_balanced_accuracy"] == pytest.approx(balanced_accuracy_score(LABELS[VAL], predicted))
    assert columns["val_macro_f1"] == pytest.approx(f1_score(LABELS[VAL], predicted, average="macro"))
    assert columns["val_auroc"] == pytest.approx(roc_auc_score(LABELS[VAL], probabilities, multi_class="ovr"))


def test_the_probe_says_what_each_test_image_is_and_how_sure_that_is() -> None:
    evaluated = evaluate(context(), ())
    probe = fit_linear_probe(FEATURES[TRAIN], LABELS[TRAIN], FEATURES[VAL], LABELS[VAL], num_classes=10)
    probabilities = probe.probabilities(FEATURES[TEST])
    assert (evaluated.predicted == probabilities.argmax(axis=1)).all()
    np.testing.assert_allclose(evaluated.confidence, probabilities.max(axis=1), rtol=1e-6)
    assert evaluated.confidence.dtype == np.float32
    assert (evaluated.arrays["probe"]["weight"] == probe.weight).all()


def test_no_validation_images_leave_their_accuracy_unknown() -> None:
    columns = values(context(val=NOTHING))
    assert np.isnan(columns["val_accuracy"])
    assert columns["test_accuracy"] > 0.8


def test_as_many_classes_as_images_leave_clusters_empty() -> None:
    few = TEST[:10]
    assert clusters.evaluator.evaluate(context(test=few)).values == {}
    assert "clusters" in clusters.evaluator.evaluate(context(test=TEST[:40])).values


def test_without_labels_clusters_take_the_place_of_classes() -> None:
    evaluated = evaluate(unlabelled(seed=1), ("finetune",))
    clusters = find_clusters(FEATURES[TEST], seed=1)
    assert (evaluated.predicted == clusters.labels).all()
    assert evaluated.confidence is None
    assert evaluated.values["clusters"] == clusters.count
    without = {c.name for one in load_evaluators().values() if not one.needs_labels for c in one.columns}
    assert set(evaluated.values) == without


@pytest.mark.parametrize(
    ("measure", "better"),
    [
        ("effective_rank", lambda value: value > 3),
        ("alignment", lambda value: value < 3),
        ("alpha_req", lambda value: abs(value - 1) < 2),
    ],
)
def test_larger_goodness_is_better(measure: str, better: Callable[[float], bool]) -> None:
    (column,) = (column for column in measures() if column.name == measure)
    for value in (-7.0, 0.5, 1.0, 2.9, 3.1, 9.0):
        three, other = column.goodness(np.array([3.0, value]))
        assert (other > three) == better(value)


def test_what_needs_more_than_the_embedding_sees_the_images_as_the_network_does() -> None:
    network = context().network
    network.backbone.train()
    (seen,) = network.outputs(lambda images: [network.backbone(images)], np.arange(300))  # in several batches
    assert network.backbone.training
    assert not seen.requires_grad
    side = network.backbone.image_size
    expected = embed(network.backbone, network.images, np.arange(300), image_size=side, device="cpu")
    np.testing.assert_allclose(seen.numpy(), expected, atol=1e-6)
