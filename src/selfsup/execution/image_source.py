"""The images that a study is of, before any is decoded, and how they are to be."""

from __future__ import annotations

from collections.abc import Callable

from selfsup.config.schema import StudyConfig
from selfsup.data.items import ItemTable
from selfsup.data.pages import with_pages
from selfsup.data.rendering import Rendering
from selfsup.data.sources import open_source
from selfsup.data.sources.base import Source
from selfsup.errors import UserError
from selfsup.evaluation.evaluators import load_evaluators
from selfsup.record.folder import StudyFolder


def open_images(config: StudyConfig, say: Callable[[str], None]) -> Source:
    """The images that a configuration asks for, before any is decoded.

    Raises
    ------
    UserError
        If there are none, or they cannot be had; or if they may have several labels, and what needs one is asked for.
    """
    source = open_source(
        config.data,
        data_root=config.data_root,
        data_url=config.data_url,
        unlabelled=config.unlabelled,
        no_given_split=config.no_given_split,
        pool=config.pool,
        manifest=config.manifest,
        say=say,
    )
    if ItemTable.of(source.items).several:
        _require_fit_for_several_labels(config)
    return with_pages(source, config.pages)


def _require_fit_for_several_labels(config: StudyConfig) -> None:
    """Refuse what is asked for and cannot be, where images may have several labels."""
    config.with_metric_for(several=True)
    known = load_evaluators()
    unfit = [name for name in config.evaluate if not known[name].applies(labelled=True, several=True)]
    if unfit:
        raise UserError(
            f"--evaluate {','.join(unfit)} is for images that have one label each, and those of '{config.data}' may "
            "have several; leave it out."
        )
    if config.test_data is not None:
        raise UserError(
            f"--test-data has one label for each image, and those of '{config.data}' may have several; leave it out."
        )


def asked_rendering(config: StudyConfig, folder: StudyFolder) -> Rendering:
    """The scale and the channels that were asked for; not channels that stand in a study's configuration for its images
    have them."""
    known = folder.read_json("dataset.json")["rendering"] if folder.exists() else {}
    were_asked = known.get("channels") or "file_channels" not in known
    return Rendering.asked(full_scale=config.full_scale, channels=config.channels if were_asked else None)
