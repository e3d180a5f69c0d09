"""Containers of images: what is no folder of image files, and is read where it is. A file here is one kind of them."""

from __future__ import annotations

from selfsup import registry
from selfsup.data.sources.containers.base import Container


def find_container(data: str) -> Container | None:
    """The kind of container that `data`, a path or an address, is; None where it is none."""
    kinds: list[Container] = [registry.load(registry.CONTAINER, name) for name in registry.names(registry.CONTAINER)]
    return next((kind for kind in kinds if kind.takes(data)), None)
