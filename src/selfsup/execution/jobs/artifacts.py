"""The files in a cell's folder, as bytes ready to be published."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from selfsup._version import __version__
from selfsup.config.grid import Cell
from selfsup.config.toml_files import lasting_values
from selfsup.data.addresses import shown
from selfsup.evaluation.base import Evaluated
from selfsup.evaluation.confusions import Confusions
from selfsup.evaluation.evaluation_context import Part
from selfsup.evaluation.scores import label_scores_csv, per_class_csv
from selfsup.execution.jobs.context import StudyContext
from selfsup.figures.canvas import shown_groups
from selfsup.figures.confusion import confusion_matrix
from selfsup.figures.interactive import Map, tsne_page
from selfsup.figures.loss import loss_curve
from selfsup.figures.projection import project
from selfsup.figures.thumbnails import sheet_for
from selfsup.figures.tsne import tsne_picture
from selfsup.methods import read_settings
from selfsup.record.folder import to_json
from selfsup.training.state import Outcome


def training_files(study: StudyContext, cell: Cell, outcome: Outcome) -> dict[str, bytes]:
    """What is left of a training, however it ended: configuration, log, loss curve."""
    import torch

    settings = read_settings(cell.method, study.config.settings.get(cell.method, {}))
    about = {
        "cell": asdict(cell),
        "settings": settings.model_dump(mode="json"),
        "recipe": asdict(outcome.recipe) if outcome.recipe else None,
        "study": lasting_values(study.config),
        "versions": {"selfsup": __version__, "torch": torch.__version__},
    }
    files = {"config.json": shown(to_json(about).decode()).encode()}
    log = outcome.state.log
    if log:
        rows = [line.row() for line in log]
        files["training_log.csv"] = _csv(rows)
        columns = {name: [row.get(name, math.nan) for row in rows] for name in rows[0]}
        files["loss.png"] = loss_curve(columns, title=cell.id)
    return files


def cell_files(study: StudyContext, cell: Cell, outcome: Outcome, test: Part, evaluated: Evaluated) -> dict[str, bytes]:
    """All files of an evaluated cell but its weights."""
    files = training_files(study, cell, outcome)
    predicted, confidence = evaluated.predicted, evaluated.confidence
    assert predicted is not None  # by the probe, or by the clusters
    projection = _project(study, cell, test)
    files["embeddings.npz"] = _npz(
        features=test.x.astype(np.float16),
        labels=test.y,
        predicted=predicted,
        confidence=np.full(len(predicted), np.nan, np.float32) if confidence is None else confidence,
        indices=test.indices,
        projection=projection,
    )
    classes, several = study.store.classes, test.y.ndim == 2
    known = (predicted, confidence) if classes and not several else (None, None)
    files.update(_maps(study, cell, test.indices, projection, *shown_groups(test.y, predicted, classes), *known))
    files.update({f"{name}.npz": _npz(**arrays) for name, arrays in evaluated.arrays.items()})
    if several:
        assert confidence is not None  # of each label
        files["classification_report.csv"] = label_scores_csv(test.y, confidence, classes).encode()
    elif classes:
        confusions = Confusions.of(test.y, predicted)
        title = f"{cell.id}, test accuracy {evaluated.values['test_accuracy']:.3f}"
        files["classification_report.csv"] = per_class_csv(test.y, predicted, classes).encode()
        files["confusion.csv"] = confusions.csv(classes).encode()
        files["confusion_matrix.png"] = confusion_matrix(confusions, classes, title=title)
    return files


def _project(study: StudyContext, cell: Cell, test: Part) -> np.ndarray:
    """Places on the t-SNE map, float32 (n, 2); NaN for images that are not on it."""
    projection = np.full((len(test.indices), 2), np.nan, np.float32)
    rows = np.searchsorted(test.indices, study.mapped(cell.seed))
    points, order = project(test.x[rows], study.config.split_seed, max_points=len(rows))
    projection[rows[order]] = points
    return projection


def _maps(
    study: StudyContext,
    cell: Cell,
    indices: np.ndarray,
    projection: np.ndarray,
    groups: np.ndarray,
    names: Sequence[str],
    predicted: np.ndarray | None = None,
    confidence: np.ndarray | None = None,
) -> dict[str, bytes]:
    """The map as a picture and as a page, its points coloured by their groups: classes, sets of labels, or clusters."""
    mapped = study.mapped(cell.seed)
    rows = np.flatnonzero(np.isfinite(projection[:, 0]))
    data = Map(
        points=projection[rows],
        groups=groups[rows],
        names=tuple(names),
        files=tuple(study.store.names[index] for index in indices[rows]),
        predicted=None if predicted is None else predicted[rows],
        confidence=None if confidence is None else confidence[rows],
        slots=np.searchsorted(mapped, indices[rows]),
        sheet=sheet_for(len(mapped)),
    )
    return {
        "tsne.png": tsne_picture(data.points, data.groups, names, wrong=data.wrong, title=cell.id),
        "tsne.html": tsne_page(data, title=cell.id, assets=f"../../assets{study.split_suffix(cell.seed)}").encode(),
    }


def _csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    out = io.StringIO()
    # A method may report what the first epoch had not.
    writer = csv.DictWriter(out, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def _npz(**arrays: Any) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()
