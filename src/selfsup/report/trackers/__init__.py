"""Trackers: finished cells logged where people keep their experiments; one file per tracker."""

from __future__ import annotations

from selfsup.report.trackers._following import following, load_trackers

__all__ = ["following", "load_trackers"]
