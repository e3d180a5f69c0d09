"""Reads a study's folder: the only part of the report that opens its files."""

from __future__ import annotations

import json
import tomllib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfsup.config.axes import REFERENCE
from selfsup.config.grid import Tags
from selfsup.errors import UserError
from selfsup.record.results import result_columns

EMBEDDINGS: dict[str, type[np.generic]] = {
    "labels": np.int64, "predicted": np.int64, "confidence": np.float32, "indices": np.int64,
    "projection": np.float32,
}  # fmt: skip


@dataclass(frozen=True)
class StoredEmbeddings:
    """What a cell says of each evaluated image; arrays of length N.

    Attributes
    ----------
    labels, predicted : array of int64
        True class (-1 unknown) and predicted class (or cluster).
    confidence : array of float32
        Probability of the prediction; NaN for a cluster.
    indices : array of int64
        Place of the image in the store.
    projection : array of float32, shape [N, 2]
        Place on the map; NaN where the image is not on it.
    """

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float32]
    indices: NDArray[np.int64]
    projection: NDArray[np.float32]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """True where the prediction is right."""
        return np.asarray(self.labels == self.predicted)


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
        Text of ``config.toml``.
    groups : array of int64 or None
        Number of the group of each image of the store; None where every image stands for itself.
    """

    path: Path
    results: pd.DataFrame
    dataset: dict[str, Any]
    audit: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["path", "problem", "detail"]))
    config: str = ""
    groups: NDArray[np.int64] | None = None

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

    @cached_property
    def images(self) -> frozenset[tuple[str, str]]:
        """Path and class of every image, which tell one data set from another; empty where they are not listed."""
        listed = _read_table(self.path / "images.csv").reindex(columns=["path", "class"]).fillna("")
        return frozenset(zip(listed["path"], listed["class"], strict=True))

    @property
    def compares_trained(self) -> bool:
        """Whether any network that finished had weights of somebody else, as a reference or to start from."""
        finished = self.results[self.results["status"] == "done"]
        return bool((finished["method"].eq(REFERENCE) | finished["backbone"].str.contains(r"[@.]")).any())

    @property
    def unit(self) -> str:
        """What the numbers per class count: images, or labels where training saw all images."""
        return "labels" if self.settings.get("protocol") == "label-efficiency" else "images"

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The study's configuration as it is written; empty where it cannot be read."""
        try:
            return tomllib.loads(self.config)
        except tomllib.TOMLDecodeError:
            return {}

    def mean_per_class(self, size: str) -> float:
        """Training images (or labels) per class of cells of that size, averaged over the classes."""
        had = self.results.loc[self.results["per_class"] == size, "train_images"].mean()
        return float(self.dataset.get("train", 0) if size == "all" else had) / max(len(self.classes), 1)

    def takes_all(self, per_class: str) -> bool:
        """Whether cells of that size had all training images, as where no class has so many."""
        had = self.results.loc[self.results["per_class"] == per_class, "train_images"].max()
        return per_class == "all" or bool(had >= self.dataset.get("train", np.inf))

    def cell(self, cell: str) -> Path:
        """Folder of a cell."""
        return self.path / "cells" / cell

    def embeddings(self, cell: str) -> StoredEmbeddings | None:
        """Predictions and map of a cell; None where the file is missing or damaged."""
        arrays = _read_arrays(self.cell(cell) / "embeddings.npz", EMBEDDINGS)
        return StoredEmbeddings(**arrays) if arrays else None

    def features(self, cell: str) -> NDArray[np.float32] | None:
        """Embeddings of a cell's evaluated images, shape [N, width]; None where the file is missing or damaged."""
        return _read_arrays(self.cell(cell) / "embeddings.npz", {"features": np.float32}).get("features")

    def training_log(self, cell: str) -> pd.DataFrame | None:
        """Training log of a cell; None where it has none."""
        try:
            log = pd.read_csv(self.cell(cell) / "training_log.csv")
        except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError):
            return None
        return log if {"epoch", "loss"} <= set(log.columns) and len(log) else None


def read_study(path: Path) -> RecordedStudy:
    """Read a study's folder; it may be half-finished.

    Raises
    ------
    UserError
        If `path` is not a study.
    """
    path = Path(path)
    dataset = _read_json(path / "dataset.json")
    if not dataset:
        raise UserError(f"There is no study in '{path}' (no dataset.json); give the folder that selfsup run wrote.")
    return RecordedStudy(
        path=path,
        results=tidy(_read_table(path / "results.csv")),
        dataset=dataset,
        audit=_read_table(path / "audit.csv").reindex(columns=["path", "problem", "detail"]).fillna(""),
        config=_read_text(path / "config.toml"),
        groups=_read_arrays(path / "split.npz", {"groups": np.int64}).get("groups"),
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


def _read_table(path: Path) -> pd.DataFrame:
    try:
        # Only an empty field is missing: a class or file may be called "NA" or "null".
        return pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""], encoding_errors="backslashreplace")
    except (FileNotFoundError, pd.errors.EmptyDataError):
        return pd.DataFrame()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _read_arrays(path: Path, types: Mapping[str, type[np.generic]]) -> dict[str, NDArray[Any]]:
    """The arrays of these names in these types; empty where the file, or one of them, is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name].astype(kind) for name, kind in types.items()}
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return {}


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="backslashreplace")
    except OSError:
        return ""
