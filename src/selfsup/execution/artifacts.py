"""The files in a cell's folder, as bytes ready to be published."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from selfsup import figures
from selfsup._version import __version__
from selfsup.backbones.networks import Backbone
from selfsup.config.grid import Cell
from selfsup.config.toml_files import lasting_values
from selfsup.evaluation.evaluators.probe import CellEvaluation
from selfsup.evaluation.scores import per_class_csv
from selfsup.execution.context import StudyContext
from selfsup.methods import read_settings
from selfsup.record.folder import to_json
from selfsup.training.loop import EpochLog, Outcome


def training_files(study: StudyContext, cell: Cell, outcome: Outcome) -> dict[str, bytes]:
    """What is left of a training, however it ended: configuration, log, loss curve."""
    import torch

    settings = read_settings(cell.method, study.config.settings.get(cell.method, {}))
    about = {
        "cell": asdict(cell),
        "settings": settings.model_dump(mode="json"),
        "study": lasting_values(study.config),
        "versions": {"selfsup": __version__, "torch": torch.__version__},
    }
    files = {"config.json": to_json(about)}
    log = outcome.progress.log
    if log:
        files["training_log.csv"] = _log_csv(log)
        columns = {f.name: [getattr(line, f.name) for line in log] for f in fields(EpochLog)}
        files["loss.png"] = figures.loss_curve(columns, title=cell.id)
    return files


def cell_files(study: StudyContext, cell: Cell, outcome: Outcome, evaluation: CellEvaluation) -> dict[str, bytes]:
    """All files of a judged cell but its weights."""
    files = training_files(study, cell, outcome)
    projection = _project(study, evaluation)
    files["embeddings.npz"] = _npz(
        features=evaluation.features.astype(np.float16),
        labels=evaluation.labels,
        predicted=evaluation.predicted,
        confidence=evaluation.confidence,
        indices=evaluation.indices,
        projection=projection,
    )
    files.update(_maps(study, cell, evaluation, projection))
    if evaluation.scores is not None and evaluation.probe is not None:
        classes = study.store.classes
        files["classification_report.csv"] = per_class_csv(evaluation.scores, classes).encode()
        title = f"{cell.id}, test accuracy {evaluation.scores.accuracy:.3f}"
        files["confusion_matrix.png"] = figures.confusion_matrix(evaluation.scores.confusion, classes, title=title)
        files["probe.npz"] = _npz(
            **{f.name: np.asarray(getattr(evaluation.probe, f.name)) for f in fields(evaluation.probe)}
        )
    return files


def _project(study: StudyContext, evaluation: CellEvaluation) -> np.ndarray:
    """Places on the t-SNE map, float32 (n, 2); NaN for images that are not on it."""
    projection = np.full((len(evaluation.indices), 2), np.nan, np.float32)
    rows = np.searchsorted(evaluation.indices, study.mapped)
    points, order = figures.project(evaluation.features[rows], study.config.split_seed, max_points=len(rows))
    projection[rows[order]] = points
    return projection


def _maps(study: StudyContext, cell: Cell, evaluation: CellEvaluation, projection: np.ndarray) -> dict[str, bytes]:
    rows = np.flatnonzero(np.isfinite(projection[:, 0]))
    groups, names, predicted, confidence = _colouring(study, evaluation)
    data = figures.Map(
        points=projection[rows],
        groups=groups[rows],
        names=tuple(names),
        files=tuple(study.store.names[index] for index in evaluation.indices[rows]),
        predicted=None if predicted is None else predicted[rows],
        confidence=None if confidence is None else confidence[rows],
        slots=np.searchsorted(study.mapped, evaluation.indices[rows]),
        sheet=figures.sheet_for(len(study.mapped)),
    )
    return {
        "tsne.png": figures.tsne_picture(projection, groups, names, title=cell.id),
        "tsne.html": figures.tsne_page(data, title=cell.id).encode(),
    }


def _colouring(
    study: StudyContext, evaluation: CellEvaluation
) -> tuple[np.ndarray, Sequence[str], np.ndarray | None, np.ndarray | None]:
    """Group of every image and the groups' names: true classes, or clusters where there are none."""
    if study.store.labels is not None:
        return evaluation.labels, study.store.classes, evaluation.predicted, evaluation.confidence
    return evaluation.predicted, figures.cluster_names(evaluation.predicted), None, None


def _log_csv(log: Sequence[EpochLog]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, [f.name for f in fields(EpochLog)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(line) for line in log)
    return out.getvalue().encode()


def _npz(**arrays: Any) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def weights_file(backbone: Backbone) -> bytes:
    """A backbone's weights in the safetensors format."""
    from safetensors.torch import save

    return save({name: tensor.detach().cpu().contiguous() for name, tensor in backbone.network.state_dict().items()})
