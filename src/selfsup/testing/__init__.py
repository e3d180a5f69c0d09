"""Checks that every implementation must pass; a plug-in runs them in its own tests."""
