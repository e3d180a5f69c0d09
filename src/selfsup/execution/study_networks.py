"""The networks of a study, by their names in its results: for its cells, and to be asked before any is trained."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from selfsup.backbones import Backbone, Normalisation, build_backbone
from selfsup.config.network_source import NONE, NetworkSource
from selfsup.config.schema import StudyConfig
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
    sized = config.with_side_for([])
    return {source.name: asked(sized, source) for source in config.networks}


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
