"""What a command makes of a study once its images are seen, for a plan and for a run alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from selfsup.config.continuation import narrow
from selfsup.config.schema import StudyConfig
from selfsup.execution.budgets.budgeting import with_halving
from selfsup.execution.configuration import ImagesSeen, resolve_for_images
from selfsup.execution.initial_weights import resolve_networks
from selfsup.execution.method_choice import resolve_methods
from selfsup.execution.study_grid import GridOfStudy, lay_out
from selfsup.record.folder import StudyFolder


@dataclass(frozen=True)
class ResolvedStudy:
    """A study with everything that ``auto`` stood for, but for the machine's part.

    Attributes
    ----------
    config : StudyConfig
        Of the whole study.
    asked : StudyConfig
        Of what the command asks for, which may be less.
    grid : GridOfStudy
        The cells and jobs of that.
    without : tuple of str
        Networks that were to be references, and whose published weights cannot be had.
    """

    config: StudyConfig
    asked: StudyConfig
    grid: GridOfStudy
    without: tuple[str, ...]


def resolve_study(
    config: StudyConfig,
    values: Mapping[str, Any],
    images: ImagesSeen,
    folder: StudyFolder | None,
    say: Callable[[str], None],
) -> ResolvedStudy:
    """Resolve methods, networks and views for the images, and lay out the grid.

    Parameters
    ----------
    config : StudyConfig
    values : mapping
        What was asked for, as it was given.
    images : ImagesSeen
    folder : StudyFolder or None
        Of the study, whose weights need not be found again.
    say : callable
        Told what was decided.

    Raises
    ------
    UserError
        If something does not fit the images, or nothing is left of the grid.
    """
    config = resolve_for_images(config, images, say)
    config = resolve_methods(config, len(images.items.names), say)
    named = {source.name: None for source in config.reference_networks}
    config = with_halving(resolve_networks(config, say, folder), values)
    known = {source.name for source in config.reference_networks}
    asked = narrow(config, values)
    grid = lay_out(asked, labelled=images.items.has_labels, several=images.items.several)
    return ResolvedStudy(config, asked, grid, tuple(name for name in named if name not in known))
