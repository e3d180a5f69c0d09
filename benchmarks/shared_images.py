"""The same real images for every contender: a folder of PNG files with a fixed split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from selfsup.data.build import prepare_store
from selfsup.data.sources import open_source
from selfsup.data.store import Store


@dataclass(frozen=True)
class Pictures:
    """Images of one folder, in the store's order.

    Attributes
    ----------
    folder : Path
        ``class/number.png``.
    cache : Path
        Where the store is kept.
    train, test : ndarray of int64
        Places in the store.
    """

    folder: Path
    cache: Path
    train: np.ndarray
    test: np.ndarray

    def store(self) -> Store:
        return prepare_store(open_source(str(self.folder)), store_size=1024, cache_dir=self.cache)

    def images(self, indices: np.ndarray) -> list[Image.Image]:
        """Decoded and in memory, which spares the peer the decoding of every image in every epoch."""
        source = open_source(str(self.folder))
        return [source.open(int(index)).convert("RGB") for index in indices]


def write_pictures(
    folder: Path, *, data: str, data_root: str | None, side: int, train: int, test: int, seed: int = 0
) -> Pictures:
    """Draw `train` + `test` images of a data set at random and write them, resized to `side`, below `folder`."""
    source = open_source(data, data_root=data_root)
    order = np.random.default_rng(seed).permutation(len(source.items))[: train + test]
    if len(order) < train + test:
        raise SystemExit(f"'{data}' has {len(source.items)} images, fewer than {train} + {test}.")
    for number, index in enumerate(order):
        place = folder / "images" / str(source.items[index].label)
        place.mkdir(parents=True, exist_ok=True)
        image = source.open(int(index)).convert("RGB")
        image.resize((side, side), Image.Resampling.BICUBIC).save(place / f"{number:05d}.png")
    items = open_source(str(folder / "images")).items
    rank = np.argsort([int(Path(item.name).stem) for item in items])
    return Pictures(folder / "images", folder / "cache", np.sort(rank[:train]), np.sort(rank[train:]))


def probe_accuracy(train_x: np.ndarray, train_y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray) -> float:
    """Accuracy of scikit-learn's logistic regression on standardised embeddings; the judge of every contender."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    return float(model.fit(train_x, train_y).score(test_x, test_y))


def mean_and_error(accuracies: list[float], tested: int) -> str:
    """Mean over the repeats with its standard error: over the repeats, or of the test's size if that is larger."""
    mean = float(np.mean(accuracies))
    of_test = float(np.sqrt(mean * (1 - mean) / tested))
    of_seeds = float(np.std(accuracies, ddof=1) / np.sqrt(len(accuracies))) if len(accuracies) > 1 else 0.0
    return f"{mean:.3f} ± {max(of_test, of_seeds):.3f}"
