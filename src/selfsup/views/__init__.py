"""Augmentation policies: views of a batch of images, computed on the images' device.

A file ``<name>_policy.py`` is a policy, and ``<name>`` its name in the configuration. The other files
hold the operations that policies are made of, and the groups of views that methods ask for.
"""

from __future__ import annotations

from collections.abc import Iterable

from selfsup import registry
from selfsup.views.base import PerImage, Policy, View
from selfsup.views.view_groups import Mask, RandomMask, ViewGroup

__all__ = ["Mask", "PerImage", "Policy", "RandomMask", "View", "ViewGroup", "load_policy", "with_policies"]


def load_policy(name: str) -> Policy:
    """The policy `name`.

    Raises
    ------
    UserError
        If there is no such policy.
    """
    policy: Policy = registry.load(registry.POLICY, name)
    return policy


def with_policies(groups: Iterable[ViewGroup], policy: Policy) -> list[tuple[ViewGroup, Policy]]:
    """Groups of views, each with the policy that it names, or else with `policy`."""
    return [(group, load_policy(group.policy) if group.policy else policy) for group in groups]
