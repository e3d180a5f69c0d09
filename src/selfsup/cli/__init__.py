"""The command line: a thin layer on the Python API."""

from selfsup.cli.commands import main

__all__ = ["main"]
