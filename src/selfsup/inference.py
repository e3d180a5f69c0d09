"""Uses a study's backbones on new images: embeddings, and labels by the stored probe."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selfsup.csv_files import QUOTING
from selfsup.data.audit import AS_GIVEN, printable
from selfsup.data.build import prepare_store
from selfsup.data.cache import REMEDY
from selfsup.data.formats.image_files import ARRAY_SUFFIXES, IMAGE_SUFFIXES, suffix_of
from selfsup.data.items import Item, set_names
from selfsup.data.pages import with_pages
from selfsup.data.rendering import Rendering
from selfsup.data.sources import open_source
from selfsup.data.sources._image_folder import FolderSource
from selfsup.data.sources.base import Source
from selfsup.data.sources.containers import find_container
from selfsup.data.store import Store
from selfsup.errors import UserError
from selfsup.evaluation.embedding import embed
from selfsup.evaluation.linear_probe import LinearProbe
from selfsup.record.reading import read_arrays
from selfsup.record.results import CellResult
from selfsup.record.storage import is_address, local_folder, shown
from selfsup.study import Study
from selfsup.training.device import choose_hardware

if TYPE_CHECKING:
    import pandas as pd

Say = Callable[[str], None]
#: What tables and embeddings are written as, by the ending of the file's name.
TABLE_ENDINGS = (".csv", ".parquet")
ENDINGS = (".npz", *TABLE_ENDINGS)
#: How images became pixels, which is only told where it is not as in the study.
RENDERINGS = ("brightness scale", "transparency")


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

    def encoded(self, ending: str) -> bytes:
        """The content of a file with one of :data:`ENDINGS`: arrays ``features`` and ``names``, or a row per image."""
        import pandas as pd

        if ending == ".npz":
            out = io.BytesIO()
            np.savez_compressed(out, features=self.features, names=np.array(self.names))
            return out.getvalue()
        columns = [f"feature_{number}" for number in range(self.features.shape[1])]
        table = pd.DataFrame(self.features, columns=columns)
        table.insert(0, "path", list(self.names))
        return encode_table(table, ending)


def encode_table(table: pd.DataFrame, ending: str) -> bytes:
    """The content of a file with one of :data:`TABLE_ENDINGS`."""
    out = io.BytesIO()
    if ending == ".parquet":
        table.to_parquet(out, index=False)
    else:
        table.to_csv(out, index=False, quoting=QUOTING, lineterminator="\n")
    return out.getvalue()


def find_cell(place: str | Path) -> tuple[Study, CellResult]:
    """The study and cell that ``STUDY``, ``STUDY/CELL`` or ``STUDY/cells/CELL`` names; the best cell for ``STUDY``.

    Raises
    ------
    UserError
        If there is no such study or cell.
    """
    above, last = os.path.split(str(place).rstrip("/"))
    below = os.path.dirname(above) if os.path.basename(above) == "cells" else above
    for study, cell in ((place, None), (above or ".", last), (below or ".", last)):
        if local_folder(study).joinpath("config.toml").is_file():
            found = Study(study)
            return found, found.best() if cell is None else found.result(cell)
    given = "address that `selfsup run` had" if is_address(place) else "folder that `selfsup run` made"
    raise UserError(f"'{shown(str(place))}' is neither a study nor a cell of one; give the {given}.")


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
        A folder (any depth), a container such as a zip, or an image.
    device : str
        As for a study.
    say : callable
        Told of every image that cannot be read, and of how images of more than 8 bits were scaled
        where that is not plainly the study's way.

    Raises
    ------
    UserError
        If there are no such images, the device is not there, or the cell's weights were not kept, before any image
        is opened; or if there is no readable image.
    """
    if not str(images) or (find_container(str(images)) is None and not Path(images).expanduser().exists()):
        raise UserError(f"There is no file or folder '{printable(str(images))}'; give a folder of images, or an image.")
    where = choose_hardware(device, "fp32").device
    backbone = study.load_backbone(cell)
    with _decoded(images, study, say) as store:
        features = embed(
            backbone,
            store,
            np.arange(len(store)),
            image_size=backbone.image_size,
            device=where,
        )
        return Embeddings(store.names, features, cell.cell)


def predict_images(
    study: Study, cell: CellResult, images: str | Path, *, device: str = "auto", say: Say = lambda line: None
) -> pd.DataFrame:
    """Class and probability of every readable image in a folder, or of one image; or its labels, and that of each.

    Parameters are those of :func:`embed_images`, and the table is that of :func:`predict_classes`.

    Raises
    ------
    UserError
        If the cell has no probe, and as :func:`embed_images`; before any image is opened.
    """
    load_probe(study, cell.cell)
    return predict_classes(study, embed_images(study, cell, images, device=device, say=say))


def load_probe(study: Study, cell: str) -> LinearProbe:
    """The linear probe of the cell with the id `cell`.

    Raises
    ------
    UserError
        If the cell has no probe: its study had no labels, or it did not finish; or the probe is damaged.
    """
    path = study.folder.cells / cell / "probe.npz"
    if not path.is_file():
        raise UserError(
            f"'{cell}' has no probe: only finished cells of a study with labels can predict classes; "
            "`selfsup embed` gives its embeddings."
        )
    arrays = read_arrays(path)
    values: dict[str, Any] = {name: value if value.ndim else float(value) for name, value in arrays.items()}
    return LinearProbe(**values)


def predict_classes(study: Study, embeddings: Embeddings) -> pd.DataFrame:
    """Class and probability of embedded images by the cell's linear probe; or their labels, and that of each.

    Returns
    -------
    DataFrame
        Columns path, class, probability. Where images may have several labels: path, labels (those that are more
        probable than not, with ``;`` between) and for each label ``probability of`` it.

    Raises
    ------
    UserError
        If the cell has no probe: its study had no labels, or it did not finish.
    """
    import pandas as pd

    probe = load_probe(study, embeddings.cell)
    classes: Sequence[str] = study.folder.read_json("dataset.json")["classes"]
    if probe.several:
        labels = set_names(probe.predict(embeddings.features), classes)
        columns = probe.probabilities(embeddings.features).T
        of_each = {f"probability of {name}": column for name, column in zip(classes, columns, strict=True)}
        return pd.DataFrame({"path": embeddings.names, "labels": labels, **of_each})
    chosen, probability = probe.most_probable(embeddings.features)
    return pd.DataFrame(
        {
            "path": embeddings.names,
            "class": [classes[index] for index in chosen],
            "probability": probability,
        }
    )


def _source(images: str | Path, scratch: Path) -> Source:
    """The images of a folder or container; or one image, which is one if its name is hidden, or without an ending."""
    path = Path(images).expanduser()
    if not path.is_file() or find_container(str(images)) is not None:
        return open_source(str(images), unlabelled=True)
    folder = scratch / "one"
    folder.mkdir()
    ending = "" if suffix_of(path.name) in IMAGE_SUFFIXES | ARRAY_SUFFIXES else ".png"
    (folder / f"{path.name.lstrip('.')}{ending}").symlink_to(path.resolve())
    source = FolderSource(folder, name=path.name, unlabelled=True)
    source.items = [Item(printable(path.name))]
    return source


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for as long as it is needed, where the system keeps such.

    Raises
    ------
    UserError
        If it cannot be had, or has no room for what is decoded.
    """
    remedy = "make room there, or set the environment variable TMPDIR to another folder"
    try:
        with tempfile.TemporaryDirectory(prefix="selfsup-") as folder:
            yield Path(folder)
    except OSError as error:
        raise UserError(f"Images cannot be decoded into a temporary folder ({error}); {remedy}.") from None
    except UserError as error:
        raise UserError(str(error).replace(REMEDY, remedy)) from None


@contextmanager
def _decoded(images: str | Path, study: Study, say: Say) -> Iterator[Store]:
    """The images, decoded as the study's were, for as long as they are needed."""
    rendering = Rendering.from_json(study.folder.read_json("dataset.json")["rendering"])
    with _scratch() as scratch:
        store = prepare_store(
            with_pages(_source(images, scratch), study.config.pages),
            store_size=study.config.resolved_store_size,
            rendering=rendering,
            max_pixels=study.config.max_pixels,
            cache_dir=scratch / "store",
        )
        for line in _remarks(store):
            say(line)
        yield store


def _remarks(store: Store) -> Iterator[str]:
    """What the user should know of the new images, which were rendered as the study's, as far as that had such."""
    for entry in store.audit:
        if entry.problem == "channels":  # as the study's images, or it is set aside
            continue
        if entry.problem not in RENDERINGS:
            yield ": ".join((*[entry.path] * (entry.path != "*"), entry.problem, entry.detail))
        elif AS_GIVEN not in entry.detail:
            yield f"The study had no such images, so these decide: {entry.detail}"
