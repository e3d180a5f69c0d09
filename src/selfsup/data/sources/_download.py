"""Downloads that go on where they broke off, and are quick to give up where there is no network.

A download lies beside its target as ``NAME.part`` until it is complete, with ``NAME.part.json``
saying which version of which address it is. A later attempt asks for the rest on the condition that the server
still has that version (RFC 9110, section 13.1.5); in all other cases it starts afresh.
"""

from __future__ import annotations

import errno
import http.client
import json
import queue
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from selfsup.atomic import publish_file, writing_to
from selfsup.data.cache import REMEDY
from selfsup.errors import UserError

CHUNK = 1 << 18
SECONDS_TO_ANSWER = 10.0
SECONDS_WITHOUT_DATA = 30.0
SECONDS_BETWEEN_LINES = 5.0


class _BrokenOffError(Exception):
    """The connection ended before the body did."""


def download(url: str, target: Path, *, say: Callable[[str], None], remedy: str) -> None:
    """Fetch `url` to `target`, or raise within seconds if the server cannot be reached.

    Parameters
    ----------
    url : str
        An http or https address.
    target : Path
        Appears only when the download is complete and has the announced length.
    say : callable
        Takes a line of progress.
    remedy : str
        End of the sentence of every error: what else the user can do.

    Raises
    ------
    UserError
        If the address is refused, the server cannot be reached, the connection breaks off again
        without any progress, or the disk is full.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise UserError(f"'{url}' is not an http or https address; {remedy}.")
    part = target.with_name(f"{target.name}.part")
    with writing_to(target.parent, REMEDY):
        target.parent.mkdir(parents=True, exist_ok=True)
    while True:
        had = _size(part)
        try:
            _fetch(url, part, say)
            break
        except urllib.error.HTTPError as error:
            raise UserError(f"'{url}' answered {error.code} {error.reason}; {remedy}.") from None
        except (_BrokenOffError, OSError, http.client.HTTPException, ValueError) as error:
            if _size(part) <= had:
                raise UserError(f"'{url}' cannot be downloaded: {_reason(error)}; {remedy}.") from None
            say(f"The connection broke off at {_megabytes(_size(part))}; going on from there.")
    with writing_to(target.parent, REMEDY):
        publish_file(part, target)
        _note_of(part).unlink(missing_ok=True)


def open_url(url: str, headers: Mapping[str, str] | None = None) -> Any:
    """Open an address, or raise OSError within a few seconds.

    Looking up a name can hang for minutes where there is no network, and no time limit of urllib
    covers that; so a thread asks, and is left behind if it does not come back.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "selfsup", **(headers or {})})
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(urllib.request.urlopen(request, timeout=SECONDS_WITHOUT_DATA))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=SECONDS_TO_ANSWER)
    except queue.Empty:
        raise TimeoutError(f"no answer within {SECONDS_TO_ANSWER:.0f} seconds") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _fetch(url: str, part: Path, say: Callable[[str], None]) -> None:
    """One attempt: append what is missing, or start afresh."""
    response, have = _ask_for_rest(url, part)
    length = response.headers.get("Content-Length", "")
    whole = have + int(length) if length.isdigit() else None
    with response:
        with writing_to(part.parent, REMEDY):
            _refuse_full_disk(part.parent, (whole or 0) - have)
            file = part.open("ab" if have else "wb")  # emptied first: no note may speak of older bytes
            _note_of(part).write_text(json.dumps([url, _mark(response.headers)]), encoding="utf-8")
        with file:
            _receive(response, file, part, have, whole, say)


def _ask_for_rest(url: str, part: Path) -> tuple[Any, int]:
    """An answer that goes on after what there is, or one that begins at 0; and which of the two."""
    have = _size(part)
    try:
        noted, mark = json.loads(_note_of(part).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        noted, mark = None, None
    if not have or noted != url or not mark:
        return open_url(url), 0
    try:
        response = open_url(url, {"Range": f"bytes={have}-", "If-Range": mark})
    except urllib.error.HTTPError as error:
        if error.code != 416:  # nothing is missing, or what the server has now is shorter
            raise
        return open_url(url), 0
    goes_on = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
    return response, have if goes_on else 0


def _receive(
    response: Any, file: BinaryIO, part: Path, have: int, length: int | None, say: Callable[[str], None]
) -> None:
    name = part.name.removesuffix(".part")
    whole = f" of {_megabytes(length)}" if length is not None else ""
    say(f"Downloading {name}: {_megabytes(have)}{whole}.")
    said = time.monotonic()
    while chunk := response.read(CHUNK):
        with writing_to(part.parent, REMEDY):
            file.write(chunk)
            file.flush()
        have += len(chunk)
        if time.monotonic() - said > SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            say(f"Downloading {name}: {_megabytes(have)}{whole}.")
    if length is not None and have != length:
        raise _BrokenOffError(f"the connection broke off after {have} of {length} bytes")


def _mark(headers: Any) -> str | None:
    """What If-Range may name: a strong ETag, or the date of the last change."""
    tag = headers.get("ETag")
    if tag and not tag.startswith("W/"):
        return str(tag)
    date = headers.get("Last-Modified")
    return str(date) if date else None


def _refuse_full_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(errno.ENOSPC, f"{_megabytes(needed)} needed and {_megabytes(free)} free")


def _note_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error or type(error).__name__)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
