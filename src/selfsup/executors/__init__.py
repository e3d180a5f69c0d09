"""Executors: where cells run."""

from __future__ import annotations

from selfsup import registry
from selfsup.executors.base import Executor


def load_executor(name: str) -> Executor:
    """The executor `name`: what its module's ``executor`` holds."""
    executor: Executor = registry.load(__name__, name, kind="executor").executor
    return executor
