"""The weights that a study's networks start from, and its references: found, and kept in its folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from selfsup.backbones import (
    Backbone,
    Normalisation,
    build_backbone,
    load_weights,
    published_backbone,
    unobtainable,
    weights_at,
    weights_file,
)
from selfsup.config.field_types import no_repeats
from selfsup.config.network_source import AUTO, NONE, PUBLISHED, NetworkSource
from selfsup.config.schema import StudyConfig
from selfsup.errors import UserError
from selfsup.methods import method_class
from selfsup.record.folder import StudyFolder

Say = Callable[[str], None]


def resolve_networks(config: StudyConfig, say: Say, folder: StudyFolder | None = None) -> StudyConfig:
    """The configuration with the weights of ``auto`` resolved, and without references that cannot be had.

    What the study in `folder` keeps is not looked for again.

    Raises
    ------
    UserError
        If a file that is named is not there.
    """
    sources = [source for source, reference in _all(config) if not _kept(folder, source, reference)]
    for source in sources:
        if source.file is not None:
            weights_at(source.file, source.name)
    missing = unobtainable(source.name for source in sources if source.weights in (AUTO, PUBLISHED))
    backbones = []
    for source in config.networks:
        if source.weights == AUTO:
            source = replace(source, weights=NONE if source.name in missing else PUBLISHED)
            if source.weights == NONE:
                say(
                    f"{source.name} starts from nothing: its published weights are not on this machine, and "
                    f"{missing[source.name]}; --backbones {source.name}@FILE takes them from a file."
                )
        backbones.append(str(source))
    absent = [s for s in config.reference_networks if not s.file and s.name in missing and not _kept(folder, s, True)]
    references = [str(source) for source in config.reference_networks if source not in absent]
    left_out = [source.name for source in absent]
    if left_out:
        reasons = dict.fromkeys(missing[name] for name in left_out)
        say(
            f"Not compared with {', '.join(left_out)}, whose weights are not on this machine: {'; '.join(reasons)}. A "
            f"trained network often wins, so give one as --references {left_out[-1]}@FILE, or run where it can be had."
        )
    return config.model_copy(update={"backbones": no_repeats(tuple(backbones)), "references": tuple(references)})


def _all(config: StudyConfig) -> list[tuple[NetworkSource, bool]]:
    """Every network, and whether it is a reference."""
    return [*((source, False) for source in config.networks), *((source, True) for source in config.reference_networks)]


def _kept(folder: StudyFolder | None, source: NetworkSource, reference: bool) -> bool:
    return folder is not None and folder.initial_weights(source.label, reference=reference).exists()


def prepare_weights(folder: StudyFolder, config: StudyConfig, say: Say) -> None:
    """Put the weights of all networks into the study, so that every worker and every later run has the same.

    Raises
    ------
    UserError
        If they cannot be had, or do not fit their network.
    """
    for source, reference in _all(config):
        if source.weights == NONE or _kept(folder, source, reference):
            continue
        kept = folder.initial_weights(source.label, reference=reference)
        side, stem = (None, "standard") if reference else (config.side, config.stem)
        channels = config.in_channels
        if source.file is None:
            adapted = f", with its first layer adapted from 3 channels to {channels}" * (channels != 3)
            say(f"Loading the published weights of {source.name}{adapted}.")
            backbone = published_backbone(source.name, image_size=side, stem=stem, in_channels=channels)
        else:
            backbone = build_backbone(source.name, image_size=side, stem=stem, in_channels=channels)
            file = weights_at(source.file, source.name)
            loaded = load_weights(backbone, file, partial=config.allow_partial_weights)
            say(f"Weights from {file}: {loaded}.")
        kept.parent.mkdir(parents=True, exist_ok=True)
        folder.write(str(kept.relative_to(folder.path)), weights_file(backbone))


def normalisation_of(folder: StudyFolder) -> Normalisation | None:
    """That of a study's images, where they are not as photographs are."""
    stored = folder.read_json("dataset.json").get("normalisation")
    return Normalisation(tuple(stored["mean"]), tuple(stored["std"])) if stored else None


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
    build = partial(build_backbone, in_channels=config.in_channels, normalisation=known)
    if method_class(method).tags.of_references:
        return build(_find(label, config.reference_networks).name)
    source = _find(label, config.networks)
    return build(source.name, image_size=config.side, stem=config.stem)


def _find(label: str, sources: tuple[NetworkSource, ...]) -> NetworkSource:
    for source in sources:
        if label in (source.label, replace(source, weights=NONE).label):
            return source
    raise UserError(f"The study has no network '{label}'; its config.toml lists them as backbones and references.")
