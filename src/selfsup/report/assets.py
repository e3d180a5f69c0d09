"""Files that all pages of a study share: BokehJS and one sheet of thumbnails."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selfsup.atomic import replace_file
from selfsup.data.store import Store
from selfsup.figures.interactive import bokeh_script
from selfsup.figures.thumbnails import Sheet, sheet_for, thumbnail_sheet


@dataclass(frozen=True)
class Thumbnails:
    """The sheet of a study.

    Attributes
    ----------
    content : bytes
        The sheet, WebP.
    sheet : Sheet
        Its geometry.
    indices : array of int64
        Place in the store of each thumbnail.
    names : tuple of str
        File name of each thumbnail.
    channels : list of int, optional
        Which of the images' channels are shown; None for the first three.
    """

    content: bytes
    sheet: Sheet
    indices: NDArray[np.int64]
    names: tuple[str, ...]
    channels: list[int] | None = None

    def slots(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Place on the sheet of the images at `indices`; -1 for those that are not on it."""
        place = {int(index): slot for slot, index in enumerate(self.indices)}
        return np.array([place.get(int(index), -1) for index in indices], np.int64)


def write_assets(
    study_dir: Path,
    store: Store,
    indices: Iterable[int],
    show_channels: Sequence[int] | None = None,
    split_suffix: str = "",
) -> None:
    """Write ``assets/bokeh.min.js``, ``thumbnails.webp`` and ``thumbnails.json``.

    Each file is replaced in one step. Thumbnails that are already there are kept.

    Parameters
    ----------
    study_dir : Path
        The study's folder.
    store : Store
        Where the images are.
    indices : iterable of int
        The images to show, in the order of the sheet.
    show_channels : sequence of int, optional
        Which of their channels, see :meth:`selfsup.data.store.Store.picture`.
    split_suffix : str
        What the folder's name has at its end, where seeds have splits of their own.
    """
    folder = Path(study_dir) / f"assets{split_suffix}"
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "bokeh.min.js"
    if not script.is_file() or script.read_bytes() != bokeh_script():
        replace_file(script, bokeh_script())
    wanted = [int(index) for index in indices]
    shown = list(show_channels) if show_channels else None
    known = read_thumbnails(study_dir, split_suffix)
    if known is not None and known.indices.tolist() == wanted and known.channels == shown:
        return
    sheet = sheet_for(len(wanted))
    # The list goes away first: between the two writes there is no sheet, rather than a wrong one.
    (folder / "thumbnails.json").unlink(missing_ok=True)
    replace_file(folder / "thumbnails.webp", thumbnail_sheet((store.picture(i, shown) for i in wanted), sheet))
    names = [store.names[i] for i in wanted]
    about = {"side": sheet.side, "columns": sheet.columns, "indices": wanted, "names": names, "channels": shown}
    replace_file(folder / "thumbnails.json", json.dumps(about).encode())


def read_thumbnails(study_dir: Path, split_suffix: str = "") -> Thumbnails | None:
    """The sheet that :func:`write_assets` wrote; None where there is none."""
    folder = Path(study_dir) / f"assets{split_suffix}"
    try:
        about = json.loads((folder / "thumbnails.json").read_text(encoding="utf-8"))
        content = (folder / "thumbnails.webp").read_bytes()
        sheet = Sheet(len(about["indices"]), int(about["columns"]), int(about["side"]))
        return Thumbnails(
            content, sheet, np.array(about["indices"], np.int64), tuple(about["names"]), about.get("channels")
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
