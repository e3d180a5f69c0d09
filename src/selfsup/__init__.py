"""selfsup: which self-supervised method, learning rate and augmentation work best on your images?

>>> import selfsup
>>> study = selfsup.compare("photos/", out="photos-study")  # doctest: +SKIP
>>> study.best(), study.results  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from selfsup._version import __version__
from selfsup.errors import Interrupted, UserError

if TYPE_CHECKING:
    from selfsup.study import Study, compare, load_study

__all__ = ["Interrupted", "Study", "UserError", "__version__", "compare", "load_study"]


def __getattr__(name: str) -> object:
    # The rest imports pydantic and, once used, torch; `selfsup --help` should not wait for them.
    if name in {"Study", "compare", "load_study"}:
        from selfsup import study

        return getattr(study, name)
    raise AttributeError(f"module 'selfsup' has no attribute '{name}'")
