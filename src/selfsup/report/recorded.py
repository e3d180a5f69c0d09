"""Reads a study's folder: with `study_files`, the only part of the report that opens its files."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfsup.config.axes import REFERENCE
from selfsup.config.evaluation_fields import metric_for
from selfsup.config.grid import Tags
from selfsup.config.validation import validate
from selfsup.data.addresses import shown
from selfsup.data.split import split_suffix
from selfsup.errors import UserError
from selfsup.evaluation.metrics import METRICS, Metric, very_unequal
from selfsup.record.folder import WEIGHTS
from selfsup.record.reading import read_arrays, read_json
from selfsup.record.results import result_columns
from selfsup.report.study_files import EMBEDDINGS, StoredEmbeddings, arrays_if_whole, read_table, read_text


@dataclass(frozen=True)
class RecordedStudy:
    """A study as its folder tells it.

    Attributes
    ----------
    path : Path
        The folder.
    results : DataFrame
        One row per recorded cell, columns as in ``results.csv``; empty where there is none yet.
    dataset : dict
        Content of ``dataset.json``.
    audit : DataFrame
        Files that were set aside, and other observations: path, problem, detail.
    config : str
        Text of ``config.toml``, without secrets in addresses.
    groups : array of int64 or None
        Number of the group of each image of the store; None where every image stands for itself.
    last_run : dict
        What the history says of the last run; what a budget left out, where there was one.
    planned : int
        Cells that were asked for.
    asked : mapping of str to value
        Settings that this report has in the place of the study's own: ``metric``, ``margin``.
    """

    path: Path
    results: pd.DataFrame
    dataset: dict[str, Any]
    audit: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["path", "problem", "detail"]))
    config: str = ""
    groups: NDArray[np.int64] | None = None
    last_run: dict[str, Any] = field(default_factory=dict)
    planned: int = 0
    asked: Mapping[str, Any] = field(default_factory=dict)

    def tags(self, method: str) -> Tags:
        """What is known of a method; nothing in particular of one that is not installed any more."""
        from selfsup.methods import method_class

        try:
            return method_class(method).tags
        except UserError:
            return Tags()

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of their numbers."""
        return tuple(self.dataset.get("classes", ()))

    @property
    def labelled(self) -> bool:
        """Whether the images have classes."""
        return bool(self.dataset.get("labelled", True))

    @property
    def several(self) -> bool:
        """Whether images may have several labels."""
        return bool(self.dataset.get("several_labels", False))

    @property
    def copies_count_once(self) -> bool:
        """Whether the groups are copies of one image, and none that a user or the data named."""
        return self.groups is not None and not self.dataset.get("grouped", True)

    @property
    def test_units(self) -> str:
        """What an interval counts of the test: images, or groups of them that a user or the data named."""
        return "groups of test images" if self.groups is not None and not self.copies_count_once else "test images"

    @property
    def category(self) -> str:
        """What a label names: a class, or where images may have several labels, just a label."""
        return "label" if self.several else "class"

    @cached_property
    def images(self) -> frozenset[tuple[str, str]]:
        """Path and class of every image, which tell one data set from another; empty where they are not listed."""
        listed = read_table(self.path / "images.csv").reindex(columns=["path", "class"]).fillna("")
        return frozenset(zip(listed["path"], listed["class"], strict=True))

    @property
    def compares_trained(self) -> bool:
        """Whether any network that finished had weights of somebody else, as a reference or to start from."""
        finished = self.results[self.results["status"] == "done"]
        return bool((finished["method"].eq(REFERENCE) | finished["backbone"].str.contains(r"[@.]")).any())

    @property
    def unfinished(self) -> str:
        """How many of its cells the study has so far, in words; empty where it has all of them."""
        if len(self.results) >= self.planned:
            return ""
        within = f", within --budget {self.last_run['budget']}" if "budget" in self.last_run else ""
        return f"{len(self.results)} of {self.planned} cells so far{within}"

    @property
    def unit(self) -> str:
        """What the numbers per class count: images, or labels (of one image each) where training saw all images."""
        if self.settings.get("protocol") != "label-efficiency":
            return "images"
        return "labelled images" if self.several else "labels"

    @property
    def size_unit(self) -> str:
        """What the sizes count: images, or labels, per class, or per label."""
        return f"{self.unit} per {self.category}"

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The study's configuration as it is written, which may not be readable, and what was asked for."""
        try:
            return {**tomllib.loads(self.config), **self.asked}
        except tomllib.TOMLDecodeError:
            return dict(self.asked)

    @property
    def metric(self) -> Metric:
        """What settings are chosen by, and methods compared by, where there are labels.

        Raises
        ------
        UserError
            If images with several labels cannot be judged by the one that was asked for.
        """
        return METRICS[metric_for(self.settings.get("metric", "auto"), several=self.several)]

    @property
    def margin(self) -> float | None:
        """Differences that do not matter, in either direction; None where each does."""
        return self.settings.get("margin")

    @property
    def unequal(self) -> bool:
        """Whether accuracy speaks for the large classes of the test images alone."""
        return very_unequal(counts[-1] for counts in self.dataset.get("class_counts", {}).values())

    def mean_per_class(self, size: str) -> float:
        """Training images (or labels) per class of cells of that size, averaged over the classes."""
        train = self.dataset.get("train", 0)
        had = self.results.loc[self.results["per_class"] == size, "train_images"].mean()
        labels_per_image = 1.0
        if self.several and train:
            labels_per_image = sum(counts[0] for counts in self.dataset["class_counts"].values()) / train
        return float(train if size == "all" else had) * labels_per_image / max(len(self.classes), 1)

    def takes_all(self, per_class: str) -> bool:
        """Whether cells of that size had all training images, as where no class has so many."""
        had = self.results.loc[self.results["per_class"] == per_class, "train_images"].max()
        return per_class == "all" or bool(had >= self.dataset.get("train", np.inf))

    @property
    def resplit(self) -> bool:
        """Whether each seed divides the images anew."""
        return bool(self.settings.get("resplit", False))

    @property
    def test_given(self) -> bool:
        """Whether the test images are given with the data, and so the same whatever divides the others."""
        return bool(self.dataset.get("test_given", False))

    @property
    def resplits_test(self) -> bool:
        """Whether each seed has test images of its own."""
        return self.resplit and not self.test_given

    @property
    def test_ratio(self) -> float:
        """Test images for each other image with a label."""
        return float(self.dataset["test"] / (self.dataset["train"] + self.dataset["val"]))

    def split_suffix(self, cell: str) -> str:
        """What tells the split of a cell from those of other seeds in names of files."""
        seed = self.results.loc[self.results["cell"] == cell, "seed"].iloc[0]
        return split_suffix(int(seed), resplit=self.resplit)

    def cell(self, cell: str) -> Path:
        """Folder of a cell."""
        return self.path / "cells" / cell

    def has_weights(self, cell: str) -> bool:
        """Whether the backbone of a cell was kept."""
        return (self.cell(cell) / WEIGHTS).is_file()

    def cell_to_use(self, cells: Sequence[str]) -> str:
        """Of a choice's cells, the first whose backbone was kept; the first, where none was."""
        return next(filter(self.has_weights, cells), cells[0])

    def embeddings(self, cell: str) -> StoredEmbeddings | None:
        """Predictions and map of a cell; None where the file is missing or damaged."""
        kinds = EMBEDDINGS | dict.fromkeys(("labels", "predicted"), np.bool_ if self.several else np.int64)
        arrays = arrays_if_whole(self.cell(cell) / "embeddings.npz", kinds)
        return StoredEmbeddings(**arrays) if arrays else None

    def probabilities(self, cell: str) -> NDArray[np.float64] | None:
        """Class probabilities of a cell's evaluated images, shape [N, classes]; None where they cannot be computed."""
        from selfsup.evaluation.linear_probe import LinearProbe  # with torch, which takes seconds

        names: dict[str, type[np.generic]] = {part.name: np.float64 for part in fields(LinearProbe)}
        parts: dict[str, Any] = arrays_if_whole(self.cell(cell) / "probe.npz", names)
        features = self.features(cell)
        return LinearProbe(**parts).probabilities(features) if features is not None and parts else None

    def external_predictions(self, cell: str) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]] | None:
        """Places, true and predicted classes of the images of the external test; None where a cell has none."""
        types: dict[str, type[np.generic]] = dict.fromkeys(("indices", "labels", "predicted"), np.int64)
        found = arrays_if_whole(self.cell(cell) / "external.npz", types)
        return (found["indices"], found["labels"], found["predicted"]) if found else None

    @property
    def external_classes(self) -> NDArray[np.int64]:
        """Numbers of the classes that the external test has images of."""
        counts = self.dataset.get("external", {}).get("class_counts", {})
        return np.flatnonzero(list(counts.values()))

    def features(self, cell: str) -> NDArray[np.float32] | None:
        """Embeddings of a cell's evaluated images, shape [N, width]; None where the file is missing or damaged."""
        return arrays_if_whole(self.cell(cell) / "embeddings.npz", {"features": np.float32}).get("features")

    def training_log(self, cell: str) -> pd.DataFrame | None:
        """Training log of a cell; None where it has none."""
        try:
            log = pd.read_csv(self.cell(cell) / "training_log.csv")
        except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError):
            return None
        return log if {"epoch", "loss"} <= set(log.columns) and len(log) else None


def asked_for(**settings: Any) -> dict[str, Any]:
    """Those of the settings that are not None, checked.

    Raises
    ------
    UserError
        If a value does not fit.
    """
    asked = {name: value for name, value in settings.items() if value is not None}
    checked = validate(asked)
    return {name: getattr(checked, name) for name in asked}


def read_study(path: Path, asked: Mapping[str, Any] = {}) -> RecordedStudy:
    """Read a study's folder; it may be half-finished.

    Parameters
    ----------
    path : Path
    asked : mapping of str to value, optional
        Settings in the place of the study's own: ``metric``, ``margin``.

    Raises
    ------
    UserError
        If `path` is not a study, or a file without which it cannot be understood is damaged.
    """
    path = Path(path)
    dataset = read_json(path / "dataset.json")
    if not dataset:
        raise UserError(f"There is no study in '{path}' (no dataset.json); give the folder that selfsup run wrote.")
    history = read_json(path / "run.json")
    return RecordedStudy(
        path=path,
        results=tidy(read_table(path / "results.csv")),
        dataset=dataset,
        audit=read_table(path / "audit.csv").reindex(columns=["path", "problem", "detail"]).fillna(""),
        config=shown(read_text(path / "config.toml")),
        groups=read_arrays(path / "split.npz").get("groups"),
        last_run=(history.get("runs") or [{}])[-1],
        planned=history.get("planned", 0),
        asked=asked,
    )


def tidy(results: pd.DataFrame) -> pd.DataFrame:
    """`results` with every column present: numbers as float64, absent text as ``""``."""
    types = {column.name: column.type for column in result_columns()}
    table = results.reindex(columns=list(types))
    for name, kind in types.items():
        if kind is str:
            table[name] = table[name].astype(object).where(table[name].notna(), "").astype(str)
        else:
            table[name] = pd.to_numeric(table[name], errors="coerce").astype("float64")
    return table.reset_index(drop=True)
