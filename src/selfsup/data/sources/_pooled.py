"""A data set with further images from elsewhere, of which no label is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from PIL import Image

from selfsup.data.audit import AuditEntry
from selfsup.data.items import NO_SIDE, UNKNOWN, Item, ItemTable, TabledItems
from selfsup.data.sources.base import Source, digest_of

#: What the names of the images from elsewhere begin with.
PREFIX = "pool:"


class PooledSource:
    """The images of `source`, then those of `pool` without labels, called ``pool:NAME``."""

    def __init__(self, source: Source, pool: Source) -> None:
        self.name = source.name
        self._source, self._pool = source, pool

    @cached_property
    def items(self) -> Sequence[Item]:
        own, names = ItemTable.of(self._source.items), ItemTable.of(self._pool.items).names
        more = len(names)
        table = replace(
            own,
            names=(*own.names, *(PREFIX + name for name in names)),
            labels=np.pad(own.labels, (0, more), constant_values=UNKNOWN),
            sides=np.pad(own.sides, (0, more), constant_values=NO_SIDE),
            groups=(*own.groups, *[None] * more) if own.groups else (),
            folds=np.pad(own.folds, ((0, 0), (0, more))),
        )
        return TabledItems(table)

    @property
    def ignored(self) -> Sequence[AuditEntry]:
        pool = (replace(entry, path=PREFIX + entry.path) for entry in self._pool.ignored)
        return [*self._source.ignored, *pool]

    def fingerprint(self) -> str:
        return digest_of("pooled", self._source.fingerprint(), self._pool.fingerprint())

    def open(self, index: int) -> Image.Image:
        own = len(self._source.items)
        return self._source.open(index) if index < own else self._pool.open(index - own)
