"""Writes a study's folder as a finished run would, from scikit-learn's digits, in a second."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import balanced_accuracy_score, f1_score

from selfsup.config.grid import Cell, images_of

#: Accuracy of each method with all images, and how much of it is lost with few.
SKILL = {
    "supervised": (0.96, 0.5),
    "supcon": (0.965, 0.45),
    "moco": (0.935, 0.9),
    "byol": (0.925, 1.1),
    "mae": (0.9, 1.2),
    "simclr": (0.885, 1.5),
    "frozen": (0.68, 1.2),
    "random": (0.45, 1.0),
    "reference": (0.9, 0.3),
}
UNTRAINED = ("frozen", "random", "reference")


class FakeStore:
    """As much of a store as the report uses."""

    def __init__(self, names: Sequence[str], images: np.ndarray) -> None:
        self.names = tuple(names)
        self._images = images

    def picture(self, index: int, shown: Sequence[int] | None = None) -> np.ndarray:
        return self._images[index]


@dataclass
class FolderWriter:
    """Settings of a made-up study; `write` puts it on the disk."""

    path: Path
    methods: tuple[str, ...] = ("simclr", "moco", "byol", "supervised", "frozen", "random")
    augmentations: tuple[str, ...] = ("weak", "simclr")
    lrs: tuple[float, ...] = (0.01, 0.06, 10.0)
    sizes: tuple[str, ...] = ("5", "20", "all")
    backbones: tuple[str, ...] = ("resnet18",)
    reference: str = "vit_small.dino"
    seeds: int = 1
    classes: tuple[str, ...] = tuple(f"digit {i}" for i in range(10))
    class_of: tuple[int, ...] = ()  # of each digit
    labelled: bool = True
    test_images: int = 360
    warnings: tuple[str, ...] = ()
    audit: tuple[tuple[str, str, str], ...] = ()
    file_name: str = "scan"
    status_of: dict[str, str] = field(default_factory=dict)
    rows: list[dict] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        digits = load_digits()
        labels = np.array(self.class_of)[digits.target] if self.class_of else digits.target % len(self.classes)
        self.indices = np.sort(np.random.default_rng(0).permutation(len(labels))[: self.test_images])
        self.labels = labels[self.indices].astype(np.int64)
        # The same images are hard for every method, as in real studies: tests are paired.
        self.difficulty = np.random.default_rng(1).random(self.test_images)
        features = digits.data[self.indices].astype(np.float32)
        self.features = features.astype(np.float16)
        self.projection = PCA(2, random_state=0).fit_transform(features).astype(np.float32)
        pixels = np.repeat((digits.images * 15.9).astype(np.uint8)[..., None], 3, axis=3)
        names = [f"{self.classes[c]}/{self.file_name}{i:04d}.png" for i, c in enumerate(labels)]
        self.store = FakeStore(names, pixels)

    def write(self) -> Path:
        """Write the folder and return its path."""
        self.path.mkdir(parents=True, exist_ok=True)
        for seed in range(self.seeds):
            for method in self.methods:
                self._write_method(method, seed)
        self._write_tables()
        return self.path

    def _write_method(self, method: str, seed: int) -> None:
        for backbone in (self.reference,) if method == "reference" else self.backbones:
            for augmentation in self.augmentations if method not in UNTRAINED else (None,):
                for lr in self.lrs if method not in UNTRAINED else (None,):
                    for size in self.sizes:
                        self._write_cell(Cell(method, backbone, augmentation, lr, _per_class(size), seed), size)

    def _write_cell(self, cell: Cell, size: str) -> None:
        rng = np.random.default_rng(zlib.crc32(cell.id.encode()))
        status = self.status_of.get(cell.id, "diverged" if cell.lr == 10 and cell.method != "supervised" else "done")
        folder = self.path / "cells" / cell.id
        folder.mkdir(parents=True)
        row = {"cell": cell.id, "method": cell.method, "backbone": cell.backbone, "augmentation": cell.augmentation,
               "lr": cell.lr, "per_class": size, "seed": cell.seed, "status": status, "epochs": 100 if cell.lr else 0,
               "train_images": 10 * images_of(cell.per_class, 126)}  # fmt: skip
        if cell.lr is not None:
            row["train_seconds"] = 40.0 + 1.2 * row["train_images"]
            self._write_log(folder, cell, rng, diverged=status == "diverged")
        if status == "diverged":
            row["message"] = "the loss was not finite in epoch 31; a smaller learning rate would help"
        elif status == "failed":
            row["message"] = "out of memory"
        else:
            row |= self._evaluate(folder, self._accuracy(cell, size, rng), rng)
        self.rows.append(row)
        (folder / "metrics.json").write_text(json.dumps(row))

    def _accuracy(self, cell: Cell, size: str, rng: np.random.Generator) -> float:
        top, steep = SKILL[cell.method]
        n = images_of(_per_class(size), 126)
        accuracy = top - 0.4 * steep * np.exp(-n / 25)
        if cell.lr is not None:
            accuracy -= 0.05 * abs(np.log10(cell.lr / 0.06)) ** 1.5
            helps = 0.015 if cell.method == "simclr" else -0.05
            accuracy += helps if cell.augmentation == "simclr" else 0
        return float(np.clip(accuracy + rng.normal(0, 0.006), 0.1, 1))

    def _evaluate(self, folder: Path, accuracy: float, rng: np.random.Generator) -> dict:
        if self.labelled:
            noise = rng.normal(0, 0.12, self.test_images)
            wrong = np.argsort(-(self.difficulty + noise))[: round((1 - accuracy) * self.test_images)]
            predicted, labels = self.labels.copy(), self.labels
            offset = rng.integers(1, len(self.classes), len(wrong)) if len(self.classes) > 1 else 0
            predicted[wrong] = (predicted[wrong] + offset) % len(self.classes)
            confidence = np.where(predicted == labels, rng.beta(8, 2, len(labels)), rng.beta(4, 4, len(labels)))
            right = float((predicted == labels).mean())
            balanced, f1 = balanced_accuracy_score(labels, predicted), f1_score(labels, predicted, average="macro")
            row = {"val_accuracy": round(accuracy, 4), "val_balanced_accuracy": round(accuracy - 0.01, 4),
                   "val_macro_f1": round(accuracy - 0.01, 4), "val_auroc": round(accuracy**0.5, 4), "auroc": right**0.5,
                   "test_accuracy": right, "test_balanced_accuracy": balanced, "test_macro_f1": f1,
                   "knn_accuracy": right - 0.03}  # fmt: skip
        else:
            predicted, labels = self.labels, np.full(self.test_images, -1)
            confidence = np.full(self.test_images, np.nan)
            row = {
                "clusters": len(self.classes),
                "cluster_stability": accuracy - 0.1,
                "silhouette": accuracy - 0.6,
            }
        np.savez_compressed(
            folder / "embeddings.npz",
            features=self.features,
            labels=labels,
            predicted=predicted,
            confidence=confidence.astype(np.float32),
            indices=self.indices,
            projection=self.projection,
        )
        return row | {"embedding_std": 0.9 * accuracy, "effective_rank": 40 * accuracy, "final_loss": 2 - accuracy,
                      "alignment": 0.3, "uniformity": -2.9}  # fmt: skip

    def _write_log(self, folder: Path, cell: Cell, rng: np.random.Generator, *, diverged: bool) -> None:
        epoch = np.arange(1, 32 if diverged else 101)
        loss = 1.1 + 3.4 * np.exp(-epoch / 22) + rng.normal(0, 0.03, len(epoch))
        if diverged:
            loss[-1] = np.inf
        spread = 0.93 * (1 - 0.8 * np.exp(-epoch / 12))
        pd.DataFrame({"epoch": epoch, "loss": loss, "lr": cell.lr, "embedding_std": spread, "seconds": 1.9,
                      "images_per_second": 640.0}).to_csv(folder / "training_log.csv", index=False)  # fmt: skip

    def _write_tables(self) -> None:
        counts = {name: [102, 11, int((self.labels == i).sum())] for i, name in enumerate(self.classes)}
        dataset = {"name": "digits", "images": 1797, "classes": list(self.classes) if self.labelled else [],
                   "labelled": self.labelled, "train": 1257, "val": 180, "test": self.test_images,
                   "store": str(self.path / "store"), "warnings": list(self.warnings),
                   "class_counts": counts if self.labelled else {}}  # fmt: skip
        (self.path / "dataset.json").write_text(json.dumps(dataset))
        np.savez(self.path / "split.npz", test=self.indices)
        pd.DataFrame(self.audit, columns=["path", "problem", "detail"]).to_csv(self.path / "audit.csv", index=False)
        (self.path / "config.toml").write_text('format = 2\ndata = "digits"\nepochs = 100\n')
        if self.rows:
            pd.DataFrame(self.rows).to_csv(self.path / "results.csv", index=False)


def _per_class(size: str) -> int | str:
    return int(size) if size.isdecimal() else size
