"""The networks of a study, by their names in its results: for its cells, and to be asked before any is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from selfsup.backbones import (
    Backbone,
    Normalisation,
    build_backbone,
    has_own_size,
    load_weights,
    published_side,
    takes_weights_of,
    weights_at,
)
from selfsup.config.network_source import NONE, NetworkSource
from selfsup.config.schema import StudyConfig
from selfsup.config.training_fields import AUTO_SIDES
from selfsup.errors import UserError
from selfsup.methods import method_class
from selfsup.record.folder import StudyFolder

#: Builds a network once, for all who only ask what it is like: which views it takes, its width, how fast it is.
_asked = cache(build_backbone)
#: Gives the memory of those back.
forget_asked_networks = _asked.cache_clear


def network_of(config: StudyConfig, method: str, label: str, folder: StudyFolder | None = None) -> Backbone:
    """The network of a method's cells, without its weights.

    Parameters
    ----------
    config : StudyConfig
    method, label : str
        As in the results, in the columns method and backbone.
    folder : StudyFolder, optional
        Where the normalisation of the images' channels is kept.

    Raises
    ------
    UserError
        If the study has no such network.
    """
    known = normalisation_of(folder) if folder else None
    return build_backbone(**architecture(config, *_source(config, method, label)), normalisation=known)


def asked_network(config: StudyConfig, method: str, label: str) -> Backbone:
    """The same to be asked only: everyone has the same one, whatever the weights that others left in it."""
    return asked(config, *_source(config, method, label))


def asked_networks(config: StudyConfig) -> dict[str, Backbone]:
    """Each network that the study trains, by its name, once whatever its initial weights; to be asked only.

    Where the size of the images is not known yet, for the largest that it may come to.
    """
    sized = with_side(config)
    return {source.name: asked(sized, source) for source in config.networks}


def with_side(config: StudyConfig, short_sides: Sequence[float] = ()) -> StudyConfig:
    """The configuration with a side of views where it is ``"auto"``: near that of images with these short sides.

    Where a network does not take that, or its weights are not for it, it is the one that this network was published
    for, else any that all networks take.
    """
    near = config.with_side_for(short_sides)
    if near is config:
        return config
    published = (published_side(source.name) for source in config.networks if has_own_size(source.name))
    others = sorted(AUTO_SIDES, key=lambda side: abs(side - near.side))
    sized = (config.model_copy(update={"image_size": side}) for side in dict.fromkeys([near.side, *published, *others]))
    return next((each for each in sized if all(_takes(each, source) for source in each.networks)), near)


def _takes(config: StudyConfig, source: NetworkSource) -> bool:
    """Whether a network and its weights take the study's side of views, by all that can be known beforehand."""
    if not has_own_size(source.name):
        return True
    try:
        backbone = asked(config, source)
        if source.file is not None:
            load_weights(backbone, weights_at(source.file, source.name), partial=config.allow_partial_weights)
    except UserError:
        return False
    if source.file is None and source.weights != NONE:
        published = config.model_copy(update={"image_size": published_side(source.name)})
        return takes_weights_of(backbone, asked(published, source))
    return True


def asked(config: StudyConfig, source: NetworkSource, reference: bool = False) -> Backbone:
    """A network of the study to be asked only, by where it comes from."""
    return _asked(**architecture(config, source, reference))


def architecture(config: StudyConfig, source: NetworkSource, reference: bool) -> dict[str, Any]:
    """What a network of the study is built from; a reference has the size that it was published for."""
    shape = {} if reference else {"image_size": config.side, "stem": config.stem}
    return {"name": source.name, "in_channels": config.in_channels, **shape}


def normalisation_of(folder: StudyFolder) -> Normalisation | None:
    """That of a study's images, where they are not as photographs are."""
    stored = folder.read_json("dataset.json").get("normalisation")
    return Normalisation(tuple(stored["mean"]), tuple(stored["std"])) if stored else None


def _source(config: StudyConfig, method: str, label: str) -> tuple[NetworkSource, bool]:
    """Where the network of a method's cells comes from, and whether it is a reference."""
    reference = method_class(method).tags.of_references
    for source in config.reference_networks if reference else config.networks:
        if label in (source.label, replace(source, weights=NONE).label):
            return source, reference
    raise UserError(f"The study has no network '{label}'; its config.toml lists them as backbones and references.")
