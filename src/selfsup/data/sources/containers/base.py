"""What a kind of container is: it knows its own by their path or address, and opens them as a source."""

from __future__ import annotations

from typing import Protocol

from selfsup.data.sources.base import Source, SourceOptions


class Container(Protocol):
    """A kind of container. A module in this package that offers one has it as ``container``.

    What a container holds is read in place, and no path in it is ever followed.
    """

    def takes(self, data: str) -> bool:
        """Whether `data`, a path or an address, is one of these; cheap, and never raises."""

    def open_source(self, data: str, options: SourceOptions) -> Source:
        """The images in it.

        Raises
        ------
        UserError
            If it cannot be read, or holds no image.
        """
