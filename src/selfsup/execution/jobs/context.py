"""A study as the work on its cells sees it: configuration, images, split and hardware, opened once."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.config.grid import Cell
from selfsup.config.schema import StudyConfig
from selfsup.data.items import SIDES
from selfsup.data.split import Split, draw_subset, split_suffix
from selfsup.data.store import Store, open_store
from selfsup.record.folder import StudyFolder
from selfsup.record.reading import read_arrays
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
    _splits: dict[str, Split] = field(default_factory=dict, init=False)

    @cached_property
    def config(self) -> StudyConfig:
        return self.folder.read_running_config()

    @cached_property
    def store(self) -> Store:
        return open_store(self.store_path or Path(self.folder.read_json("dataset.json")["store"]))

    @cached_property
    def external(self) -> Store | None:
        """The images of the external test; None without one. On a node, copies of stores lie side by side."""
        about = self.folder.read_json("dataset.json").get("external")
        if about is None:
            return None
        there = Path(about["store"])
        return open_store(self.store_path.with_name(there.name) if self.store_path else there)

    def split(self, seed: int) -> Split:
        """The split that cells of a seed have: the same one for all, or each its own."""
        suffix = self.split_suffix(seed)
        if suffix not in self._splits:
            self._splits[suffix] = Split(**read_arrays(self.folder.path / f"split{suffix}.npz", SIDES))
        return self._splits[suffix]

    def split_suffix(self, seed: int) -> str:
        """What tells the split of a seed from others in names of files."""
        return split_suffix(seed, resplit=self.config.resplit)

    @property
    def train_counts(self) -> list[int]:
        """Number of training images of each class in the first split; of all of them where nothing has labels."""
        items, train = self.store.items, self.split(0).train
        return items.count(train).tolist() if items.has_labels else [len(train)]

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

    def evaluated(self, seed: int) -> np.ndarray:
        """Places in the store of the images that a cell is evaluated on: test, or a sample where nothing has labels."""
        if self.store.items.has_labels:
            return self.split(seed).test
        return limit(self.split(seed).train, self.config.map_points, self.config.split_seed)

    def mapped(self, seed: int) -> np.ndarray:
        """Those of the evaluated images that are on the t-SNE maps, the same for every cell of a split."""
        return limit(self.evaluated(seed), self.config.map_points, self.config.split_seed)

    def probe_images(self, cell: Cell) -> np.ndarray:
        """Places in the store of the images that a cell's probe is fitted on."""
        return limit(self.subset(cell), PROBE_IMAGES, cell.seed)

    def subset(self, cell: Cell) -> np.ndarray:
        """Places in the store of a cell's training images (or labels)."""
        items, train = self.store.items, self.split(cell.seed).train
        return draw_subset(
            items.labels,
            train,
            per_class=cell.per_class,
            seed=cell.seed,
            first=items.fold(cell.seed),
            sets=items.sets,
        )


def limit(indices: np.ndarray, most: int, seed: int) -> np.ndarray:
    """At most `most` of the indices, drawn evenly at random, ascending."""
    if len(indices) <= most:
        return indices
    return np.sort(np.random.default_rng(derive_seed(seed, "limit")).choice(indices, most, replace=False))
