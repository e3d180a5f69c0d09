"""Studies that draw nothing: what a tiny one does besides drawing takes a quarter of its time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest


@contextmanager
def undrawn() -> Iterator[None]:
    """Studies that this process runs make no pictures and no page, and maps of the first two dimensions.

    For tests of numbers; that everything is drawn, and when, is for tests/test_study.py, tests/execution/test_run.py
    and tests/report. A report that is asked for is written.
    """
    from selfsup import study
    from selfsup.execution.jobs import artifacts

    reporting = study._reporting
    nothing = {"write_assets": lambda *_: None, "write_page": lambda growing: None}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifacts, "project", lambda features, *_, **__: (features[:, :2], np.arange(len(features))))
        for picture in ("loss_curve", "confusion_matrix", "tsne_picture"):
            patch.setattr(artifacts, picture, lambda *_, **__: b"")
        patch.setattr(artifacts, "tsne_page", lambda *_, **__: "")
        patch.setattr(study, "_reporting", lambda path: replace(reporting(path), **nothing))
        yield
