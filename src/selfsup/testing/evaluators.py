"""What an evaluator must keep; an outside evaluator runs it in its own tests."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfsup.config.validation import validate
from selfsup.evaluation.base import Evaluated, Evaluator
from selfsup.evaluation.evaluation_context import EvaluationContext, Part, TrainedNetwork
from selfsup.record.results import result_columns
from selfsup.testing.backbones import tiny_backbone
from selfsup.testing.digit_batches import CLASSES, SIDE, batch_of_digits
from selfsup.training.callbacks import Callbacks
from selfsup.training.device import Hardware

#: Digits in the checks; of every four, two are to fit on, one to choose by and one to quote.
IMAGES = 320
_PLACES = np.arange(IMAGES)
TRAIN, VAL, TEST = _PLACES[_PLACES % 4 < 2], _PLACES[_PLACES % 4 == 2], _PLACES[_PLACES % 4 == 3]


def check_evaluator(evaluator: Evaluator) -> None:
    """Check that an evaluator keeps what :class:`selfsup.evaluation.base.Evaluator` promises.

    Parameters
    ----------
    evaluator : Evaluator

    Raises
    ------
    AssertionError
        Names the promise that is broken.
    """
    check_columns(evaluator)
    cell = evaluation_of_digits()
    found = check_values(evaluator, cell)
    missing = {column.name for column in evaluator.columns} - set(found.values)
    assert not missing, f"it declares columns that it gives no value for: {sorted(missing)}"
    check_repeatable(evaluator, cell)
    check_test_labels(evaluator, cell)
    check_values(evaluator, evaluation_of_digits(val=VAL[:0]))
    if evaluator.applies(labelled=True, several=True):
        check_values(evaluator, evaluation_of_digits(several=True))
    if not evaluator.needs_labels:
        check_values(evaluator, evaluation_of_digits(labelled=False))


def check_columns(evaluator: Evaluator) -> None:
    """Columns are described, and their names are theirs alone."""
    assert evaluator.columns, "it declares no column"
    own = {id(column) for column in evaluator.columns}
    taken = {column.name for column in result_columns() if id(column) not in own}
    for column in evaluator.columns:
        name = column.name
        assert re.fullmatch("[a-z][a-z0-9_]*", name), f"a column is called {name!r}: small letters, digits and _ only"
        assert name not in taken, f"there is a column '{name}' already"
        assert column.type in (str, int, float), f"column '{name}' is of {column.type}, not of str, int or float"
        assert column.about, f"column '{name}' says nothing about itself"
        directions: tuple[Any, ...] = (None,) if column.type is str else ("higher", "lower", None)
        is_number = isinstance(column.better, int | float) and column.type is not str
        assert column.better in directions or is_number, f"column '{name}' has better = {column.better!r}"
        taken.add(name)


def check_values(evaluator: Evaluator, cell: EvaluationContext) -> Evaluated:
    """Values of the declared columns and types; what it was given stays as it was."""
    before = copy.deepcopy(_given(cell))
    with torch.enable_grad():
        found = evaluator.evaluate(cell)
        assert torch.is_grad_enabled(), "it leaves gradients switched off"
    assert isinstance(found, Evaluated), f"it gave {type(found).__name__}, which is no Evaluated"
    _same(_given(cell), before, "it changed what it was given")
    types = {column.name: column.type for column in evaluator.columns}
    for name, value in found.values.items():
        assert name in types, f"it gives a value for '{name}', which it does not declare"
        wanted = (int, float) if types[name] is float else types[name]
        fits = value is None or (isinstance(value, wanted) and not isinstance(value, bool))
        assert fits, f"the value of '{name}' is a {type(value).__name__}, declared as {types[name].__name__}"
    try:
        json.dumps(found.extras, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"extras cannot be written as JSON ({error})") from None
    for file, arrays in found.arrays.items():
        plain = all(isinstance(array, np.ndarray) and array.dtype != object for array in arrays.values())
        assert plain, f"the arrays of '{file}' are not all arrays of numbers or text"
    _check_predictions(found, cell)
    return found


def _check_predictions(found: Evaluated, cell: EvaluationContext) -> None:
    images = len(cell.test.indices)
    shape = cell.test.y.shape if cell.several else (images,)
    if found.predicted is not None:
        dtype = bool if cell.several else np.int64
        assert found.predicted.dtype == dtype, f"predicted is {found.predicted.dtype}, not {dtype.__name__}"
        assert found.predicted.shape == shape, f"predicted has shape {found.predicted.shape} for {images} images"
        low, high = found.predicted.min(), found.predicted.max()
        assert low >= 0 and (not cell.labelled or high < len(cell.classes)), f"predicted reaches from {low} to {high}"
    if found.confidence is not None:
        assert found.confidence.dtype == np.float32, f"confidence is {found.confidence.dtype}, not float32"
        assert found.confidence.shape == shape, f"confidence has shape {found.confidence.shape} for {images} images"
        assert ((found.confidence >= 0) & (found.confidence <= 1)).all(), "confidence is not in [0, 1]"


def check_repeatable(evaluator: Evaluator, cell: EvaluationContext) -> None:
    """The cell alone decides, its seed included, and not torch's or NumPy's global random state."""
    results = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        results.append(evaluator.evaluate(replace(cell)))  # which has forgotten what was computed of the other
    _same(_parts(results[0]), _parts(results[1]), "evaluated again, a cell has other values")


def check_test_labels(evaluator: Evaluator, cell: EvaluationContext) -> None:
    """Nothing is fitted to, or chosen by, the labels of the test images."""
    labels = cell.network.labels.copy()
    labels[TEST] = (labels[TEST] + 3) % CLASSES
    network = replace(cell.network, labels=labels)
    other = evaluator.evaluate(replace(cell, network=network, test=replace(cell.test, y=labels[TEST])))
    one = evaluator.evaluate(cell)
    _same(
        {"predicted": one.predicted, "confidence": one.confidence},
        {"predicted": other.predicted, "confidence": other.confidence},
        "predictions depend on the labels of the test images",
    )


def evaluation_of_digits(*, labelled: bool = True, several: bool = False, val: np.ndarray = VAL) -> EvaluationContext:
    """What an evaluator is given of a cell: digits, their pixels in the place of embeddings, and a tiny network.

    With `several` labels, a digit has one for each that is no larger.
    """
    images = _DigitImages()
    labels = images.labels if labelled else np.full(IMAGES, -1)
    labels = labels[:, None] >= np.arange(CLASSES) if several else labels
    features = images.pixels.mean(1).flatten(1).numpy()
    torch.manual_seed(0)
    hardware = Hardware("cpu", "fp32")
    config = validate({"image_size": SIDE, "finetune_epochs": 1, "finetune_lrs": "0.01"})
    network = TrainedNetwork(tiny_backbone().eval(), images, labels, TEST[:40], config, hardware.fabric(), "cpu")
    places = (TRAIN, val, TEST) if labelled else (TRAIN[:0], VAL[:0], TEST)
    train, val_part, test = (Part(part, features[part], labels[part]) for part in places)
    return EvaluationContext(
        train,
        val_part,
        test,
        classes=tuple(map(str, range(CLASSES))) if labelled else (),
        seed=0,
        subset=TRAIN,
        network=network,
        callbacks=lambda name: Callbacks(),
        external=test if labelled and not several else None,
    )


class _DigitImages:
    """The digits as a store gives them."""

    def __init__(self) -> None:
        (self.pixels,), labels = batch_of_digits(1, size=IMAGES)
        self.labels = labels.numpy()

    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        return (self.pixels[indices] * 255).byte(), torch.full((len(indices), 2), SIDE)


def _given(cell: EvaluationContext) -> dict[str, Any]:
    backbone = cell.network.backbone
    arrays = {
        f"{name}.{field}": value
        for name in ("train", "val", "test")
        for field, value in vars(getattr(cell, name)).items()
    }
    state = {f"network.{name}": value.numpy() for name, value in backbone.state_dict().items()}
    return {**arrays, **state, "labels": cell.network.labels, "training": backbone.training}


def _parts(found: Evaluated) -> dict[str, Any]:
    arrays = {f"{file}.{name}": array for file, named in found.arrays.items() for name, array in named.items()}
    return {**found.values, **found.extras, **arrays, "predicted": found.predicted, "confidence": found.confidence}


def _same(one: Mapping[str, Any], other: Mapping[str, Any], what: str) -> None:
    assert one.keys() == other.keys(), f"{what}: {sorted(one.keys() ^ other.keys())}"
    for name, value in one.items():
        np.testing.assert_equal(value, other[name], f"{what}: {name}")
