"""A study as the work on its cells sees it: configuration, images, split and hardware, opened once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.config.grid import Cell
from selfsup.config.schema import StudyConfig
from selfsup.data.split import Split, draw_subset
from selfsup.data.store import Store, open_store
from selfsup.record.folder import StudyFolder
from selfsup.seeding import derive_seed
from selfsup.training.device import Hardware
from selfsup.training.processes import Followers

#: Most images that a probe is fitted on.
PROBE_IMAGES = 50_000


@dataclass
class StudyContext:
    """What all jobs of a study share, opened once per process.

    Attributes
    ----------
    folder : StudyFolder
    hardware : Hardware
    store_path : Path, optional
        A copy of the decoded images on this machine; where the study was begun by default.
    """

    folder: StudyFolder
    hardware: Hardware
    store_path: Path | None = None

    @cached_property
    def config(self) -> StudyConfig:
        return self.folder.read_running_config()

    @cached_property
    def store(self) -> Store:
        return open_store(self.store_path or Path(self.folder.read_json("dataset.json")["store"]))

    @cached_property
    def split(self) -> Split:
        with np.load(self.folder.path / "split.npz", allow_pickle=False) as arrays:
            return Split(arrays["train"], arrays["val"], arrays["test"])

    @property
    def train_counts(self) -> list[int]:
        """Number of training images of each class; of all of them where nothing has labels."""
        items = self.store.items
        return items.count(self.split.train).tolist() if items.has_labels else [len(self.split.train)]

    @cached_property
    def fabric(self) -> Any:
        return self.hardware.fabric()

    @cached_property
    def followers(self) -> Followers:
        """The other processes of each training, where it takes several devices."""
        follower = "selfsup.execution.executors._follower"  # which opens such a context itself
        return Followers(follower, self.folder.path, self.hardware, self.config.devices, self.store_path)

    def close(self) -> None:
        """Send the followers away, if there are any."""
        if "followers" in vars(self):
            self.followers.close()

    @property
    def evaluated(self) -> np.ndarray:
        """Places in the store of the images that a cell is evaluated on: test, or a sample where nothing has labels."""
        if self.store.items.has_labels:
            return self.split.test
        return limit(self.split.train, self.config.map_points, self.config.split_seed)

    @cached_property
    def mapped(self) -> np.ndarray:
        """Those of the evaluated images that are on the t-SNE maps, the same for every cell."""
        return limit(self.evaluated, self.config.map_points, self.config.split_seed)

    def probe_images(self, cell: Cell) -> np.ndarray:
        """Places in the store of the images that a cell's probe is fitted on."""
        return limit(self.subset(cell), PROBE_IMAGES, cell.seed)

    def subset(self, cell: Cell) -> np.ndarray:
        """Places in the store of a cell's training images (or labels)."""
        return draw_subset(self.store.labels, self.split.train, per_class=cell.per_class, seed=cell.seed)


def limit(indices: np.ndarray, most: int, seed: int) -> np.ndarray:
    """At most `most` of the indices, drawn evenly at random, ascending."""
    if len(indices) <= most:
        return indices
    return np.sort(np.random.default_rng(derive_seed(seed, "limit")).choice(indices, most, replace=False))
