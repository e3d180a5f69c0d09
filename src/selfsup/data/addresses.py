"""Addresses of studies and of images: what fsspec opens, and what goes wrong, in words."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selfsup.errors import UserError

#: Which extra of selfsup brings the package for a protocol.
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
#: Options for a protocol: a server that does not answer is given up after seconds, not minutes.
_OPTIONS: dict[str, dict[str, Any]] = {
    protocol: {"config_kwargs": {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 2}}}
    for protocol in ("s3", "s3a")
} | {protocol: {"auto_mkdir": True} for protocol in ("file", "local")}


def is_address(place: str | Path) -> bool:
    """Whether a place is an address, rather than a path of this machine."""
    return re.match(r"[a-z][a-z0-9+.-]*://", str(place), flags=re.IGNORECASE | re.ASCII) is not None


#: What of an address may be secret, and what stands for it.
_SECRETS = (
    (r"(https?://)[^/?\s]*@", r"\1"),  # a user's name may be a token
    (r"(://[^/?@:\s]*):[^/?\s]*@", r"\1@"),  # a password; before @ may stand Azure's container too
    (r"(://[^?\s]*)\?[^\s'\"]*", r"\1?…"),  # a signature or token
)


def shown(text: str) -> str:
    """An address, or a command line with some, without what may be secret: passwords, tokens, what follows ``?``."""
    for secret, instead in _SECRETS:
        text = re.sub(secret, instead, text, flags=re.IGNORECASE)
    return text


def open_place(address: str, given: str = "--out ") -> tuple[Any, str]:
    """The file system of an address, and the path in it; `given` stands before it in messages.

    Raises
    ------
    UserError
        If nothing is known of such addresses, the package for them is missing, or nothing answers there.
    """
    import fsspec

    protocol = address.partition("://")[0].lower()
    try:
        with explained(address, "reached", but=(ImportError, ValueError)):
            fs, path = fsspec.core.url_to_fs(
                address,
                use_listings_cache=False,
                skip_instance_cache=protocol != "memory",
                **_OPTIONS.get(protocol, {}),
            )
    except ImportError as error:
        extra = EXTRAS.get(protocol)
        remedy = f"pip install 'selfsup[{extra}]'" if extra else f"install it ({error})"
        raise UserError(
            f"{given}{shown(address)} needs a package for {protocol}:// that is not installed; {remedy}."
        ) from None
    except ValueError as error:
        raise UserError(f"{given}{shown(address)} cannot be opened ({first_line(error)}); check the address.") from None
    path = path.rstrip("/")
    if not path.strip("/"):
        raise UserError(f"{given}{shown(address)} names no place; add a name, as in s3://bucket/name.")
    return fs, path


@contextlib.contextmanager
def explained(address: str, doing: str, but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn whatever a file system raises, `but` for some errors, into one sentence.

    Raises
    ------
    UserError
        In place of any error in the block.
    """
    passed: tuple[type[Exception], ...] = (UserError, *but)
    try:
        yield
    except Exception as error:  # each file system has errors of its own
        if isinstance(error, passed):
            raise
        raise UserError(
            f"'{shown(address)}' cannot be {doing} ({first_line(error)}); check the address, its credentials and the "
            f"network."
        ) from error


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")[:200]
