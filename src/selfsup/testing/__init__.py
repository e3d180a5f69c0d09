"""Checks that every implementation must pass; a plug-in runs them in its own tests."""

from selfsup.testing.devices import check_devices
from selfsup.testing.evaluators import check_evaluator
from selfsup.testing.executors import check_executor
from selfsup.testing.methods import check_method
from selfsup.testing.policies import check_policy
from selfsup.testing.sources import check_source

__all__ = ["check_devices", "check_evaluator", "check_executor", "check_method", "check_policy", "check_source"]
