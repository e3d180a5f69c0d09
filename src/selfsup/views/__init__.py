"""Augmentation policies: views of a batch of images, computed on the images' device.

A file without a leading underscore is a policy, and its name is the name in the configuration.
The files with one hold the operations that the policies are made of.
"""

from __future__ import annotations

from selfsup import registry
from selfsup.views.base import PerImage, Policy

__all__ = ["PerImage", "Policy", "load_policy", "policy_names"]


def policy_names() -> list[str]:
    """Names of all policies, sorted."""
    return registry.names(registry.POLICY)


def load_policy(name: str) -> Policy:
    """The policy `name`.

    Raises
    ------
    UserError
        If there is no such policy.
    """
    policy: Policy = registry.load(registry.POLICY, name)
    return policy
