"""Plant Seedlings (Giselsson et al., 2017): 12 species of weeds and crops; downloaded (1.7 GB)."""

from __future__ import annotations

import os
from pathlib import Path

from selfsup.data.audit import printable
from selfsup.data.cache import locked
from selfsup.data.sources._archive import BadArchiveError, unpack_zip
from selfsup.data.sources._download import download
from selfsup.data.sources._image_folder import FolderSource
from selfsup.data.sources.base import SourceOptions, digest_of
from selfsup.errors import UserError

NAME = "plant-seedlings"
URL = "https://vision.eng.au.dk/?download=/data/WeedData/Segmented.zip"
REMEDY = (
    "check the network, or give another address or a local zip with --data-url, or the folder of the "
    "unpacked images with --data-root"
)


def open_source(options: SourceOptions) -> FolderSource:
    """The segmented plants of the Plant Seedlings data set (arXiv:1711.05458), one folder per species."""
    if options.data_root is not None:
        if not options.data_root.is_dir():
            raise UserError(
                f"There is no folder '{printable(str(options.data_root))}'; give the one that holds the "
                f"images of {NAME} with --data-root."
            )
        root = options.data_root
    else:
        root = _unpacked(options)
    return FolderSource(_inside(root), name=NAME, unlabelled=options.unlabelled)


def _unpacked(options: SourceOptions) -> Path:
    """Folder of the unpacked archive; downloads and unpacks it the first time."""
    address = options.data_url or URL
    local = _local_archive(address)
    folder = options.cache_dir / "downloads" / NAME / _key(address, local)
    images = folder / "images"
    if images.is_dir():
        return images
    with locked(folder / "lock"):
        if not images.is_dir():
            _fill(images, address, local, options)
    return images


def _fill(images: Path, address: str, local: Path | None, options: SourceOptions) -> None:
    archive = local or images.with_name("Segmented.zip")
    if not archive.exists():
        download(address, archive, say=options.say, remedy=REMEDY)
    options.say(f"Unpacking {printable(archive.name)}.")
    try:
        unpack_zip(archive, images)
    except BadArchiveError:
        _drop(archive, local)
        raise
    _drop(archive, local)


def _drop(archive: Path, local: Path | None) -> None:
    """Remove a downloaded archive that is of no more use; never the user's own."""
    if local is None:
        archive.unlink(missing_ok=True)


def _local_archive(address: str) -> Path | None:
    if "://" in address and not address.startswith("file://"):
        return None
    path = Path(address.removeprefix("file://")).expanduser()
    if not path.is_file():
        raise UserError(
            f"There is no file '{printable(str(path))}'; give a zip file, or an address that begins with "
            "https://, with --data-url."
        )
    return path


def _key(address: str, local: Path | None) -> str:
    """A folder name per archive; a local one that has changed is another archive."""
    if local is None:
        return digest_of(address)[:12]
    status = local.stat()
    return digest_of(os.path.abspath(local), str(status.st_size), str(status.st_mtime_ns))[:12]


def _inside(folder: Path) -> Path:
    """`folder`, or the innermost folder that holds nothing but the next one."""
    visible = [entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX"))]
    return _inside(visible[0]) if len(visible) == 1 and visible[0].is_dir() else folder
