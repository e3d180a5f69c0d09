"""The version, where nothing else need be imported for it."""

__version__ = "0.2.0"
