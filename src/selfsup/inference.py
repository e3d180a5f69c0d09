"""Uses a study's backbones on new images: embeddings, and labels by the stored probe."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selfsup.data import Store, open_source, prepare_store
from selfsup.device import choose_hardware
from selfsup.errors import UserError
from selfsup.evaluate.embedding import embed
from selfsup.evaluate.linear_probe import LinearProbe
from selfsup.record import CellResult
from selfsup.study import Study

if TYPE_CHECKING:
    import pandas as pd

Say = Callable[[str], None]


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of new images.

    Attributes
    ----------
    names : tuple of str
        Paths of the readable images, relative to the folder that was given.
    features : ndarray of float32, shape (n, width)
    cell : str
        The cell whose backbone made them.
    """

    names: tuple[str, ...]
    features: np.ndarray
    cell: str


def find_cell(place: str | Path) -> tuple[Study, CellResult]:
    """The study and cell that ``STUDY``, ``STUDY/CELL`` or ``STUDY/cells/CELL`` names; the best cell for ``STUDY``.

    Raises
    ------
    UserError
        If there is no such study or cell.
    """
    path = Path(place)
    if (path / "config.toml").is_file():
        study = Study(path)
        return study, study.best()
    for folder in (path.parent, path.parent.parent):
        if (folder / "config.toml").is_file():
            study = Study(folder)
            return study, study.result(path.name)
    raise UserError(f"'{place}' is neither a study nor a cell of one; give the folder that `selfsup run` made.")


def embed_images(
    study: Study, cell: CellResult, images: str | Path, *, device: str = "auto", say: Say = lambda line: None
) -> Embeddings:
    """Embed every readable image in a folder, or one image.

    Parameters
    ----------
    study : Study
    cell : CellResult
        Whose backbone to use.
    images : str or Path
        A folder (any depth) or a file.
    device : str
        As for a study.
    say : callable
        Told of every image that cannot be read.

    Raises
    ------
    UserError
        If there is no readable image, or the cell's weights were not kept.
    """
    backbone = study.load_backbone(cell)
    config = study.config
    with _decoded(Path(images), config.resolved_store_size, say) as store:
        features = embed(
            backbone,  # type: ignore[arg-type]
            store,
            np.arange(len(store)),
            image_size=config.image_size,
            device=choose_hardware(device, "fp32").device,
        )
        return Embeddings(store.names, features, cell.cell)


def predict_classes(study: Study, embeddings: Embeddings) -> pd.DataFrame:
    """Class and probability of embedded images by the cell's linear probe.

    Returns
    -------
    DataFrame
        Columns path, class, probability.

    Raises
    ------
    UserError
        If the cell has no probe: its study had no labels, or it did not finish.
    """
    import pandas as pd

    path = study.folder.cells / embeddings.cell / "probe.npz"
    if not path.is_file():
        raise UserError(f"'{embeddings.cell}' has no probe: only cells of a study with labels can predict classes.")
    with np.load(path, allow_pickle=False) as arrays:
        probe = LinearProbe(
            arrays["mean"],
            arrays["scale"],
            arrays["weight"],
            arrays["bias"],
            float(arrays["strength"]),
            float(arrays["val_accuracy"]),
        )
    probabilities = probe.probabilities(embeddings.features)
    classes: Sequence[str] = study.folder.read_json("dataset.json")["classes"]
    chosen = probabilities.argmax(axis=1)
    return pd.DataFrame(
        {
            "path": embeddings.names,
            "class": [classes[index] for index in chosen],
            "probability": probabilities.max(axis=1),
        }
    )


@contextmanager
def _decoded(images: Path, store_size: int, say: Say) -> Iterator[Store]:
    """The images, decoded as the study's were, for as long as they are needed."""
    with tempfile.TemporaryDirectory(prefix="selfsup-") as scratch:
        folder = images
        if images.is_file():
            folder = Path(scratch) / "one"
            folder.mkdir()
            (folder / images.name).symlink_to(images.resolve())
        store = prepare_store(
            open_source(str(folder), unlabelled=True), store_size=store_size, cache_dir=Path(scratch) / "store"
        )
        for entry in store.audit:
            say(f"{entry.path}: {entry.problem}: {entry.detail}")
        yield store
