"""The weights that a study's networks start from, and its references: found, and kept in its folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from selfsup.backbones import (
    Backbone,
    build_backbone,
    describe_normalisation,
    load_weights,
    published_backbone,
    require_published,
    unobtainable,
    weights_at,
    weights_file,
)
from selfsup.config.field_types import no_repeats
from selfsup.config.network_source import AUTO, NONE, PUBLISHED, NetworkSource
from selfsup.config.schema import StudyConfig
from selfsup.errors import UserError
from selfsup.execution.history import not_compared, written_after
from selfsup.execution.study_networks import architecture, asked, with_side
from selfsup.execution.words import listed
from selfsup.record.folder import StudyFolder
from selfsup.seeding import derive_seed

Say = Callable[[str], None]


def resolve_networks(config: StudyConfig, say: Say, folder: StudyFolder | None = None) -> StudyConfig:
    """The configuration with the weights of ``auto`` resolved, and without references that cannot be had.

    What the study in `folder` keeps is not looked for again, and what earlier runs were without is not said again.
    """
    missing = unobtainable(
        source.name
        for source, reference in _all(config)
        if source.file is None and (reference or source.weights == AUTO) and not _kept(folder, source, reference)
    )
    backbones, untrained = [], []
    for source in config.networks:
        if source.weights == AUTO:
            source = replace(source, weights=NONE if source.name in missing else PUBLISHED)
            untrained += [source.name] * (source.weights == NONE)
        backbones.append(str(source))
    absent = [s for s in config.reference_networks if not s.file and s.name in missing and not _kept(folder, s, True)]
    references = [str(source) for source in config.reference_networks if source not in absent]
    known = not_compared(folder)
    for line in _describe_missing(missing, untrained, [source.name for source in absent if source.name not in known]):
        say(line)
    return config.model_copy(update={"backbones": no_repeats(tuple(backbones)), "references": tuple(references)})


def _describe_missing(missing: Mapping[str, str], untrained: list[str], absent: list[str]) -> Iterator[str]:
    """A line for each reason why published weights cannot be had: which networks it concerns, and what follows."""
    for reason in dict.fromkeys(missing.values()):
        starting, left_out = ([name for name in names if missing[name] == reason] for names in (untrained, absent))
        follows = [f"{listed(starting)} start{'s' * (len(starting) == 1)} from nothing"] if starting else []
        follows += [f"not compared with {listed(left_out)}"] if left_out else []
        if follows:
            remedy = f"--references {left_out[-1]}@FILE" if left_out else f"--backbones {starting[-1]}@FILE"
            yield (
                f"Published weights are not on this machine, and {reason}: {'; '.join(follows)}. A trained network "
                f"often wins: {remedy} takes its weights from a file."
            )


def _all(config: StudyConfig) -> list[tuple[NetworkSource, bool]]:
    """Every network, and whether it is a reference."""
    return [*((source, False) for source in config.networks), *((source, True) for source in config.reference_networks)]


def _kept(folder: StudyFolder | None, source: NetworkSource, reference: bool) -> bool:
    return folder is not None and folder.initial_weights(source.label, reference=reference).exists()


def require_weights(config: StudyConfig, folder: StudyFolder | None, channels: Callable[[], int]) -> None:
    """Refuse networks whose weights cannot be had or do not fit, unless the study in `folder` keeps them already.

    Those of ``auto`` and of references may be left out, see :func:`resolve_networks`. `channels` says how many most
    images have; it is asked where there is a file of weights.

    Raises
    ------
    UserError
        If published weights are neither on this machine nor to be downloaded, or a file is not there or does not fit.
    """
    wanted = [each for each in _all(config) if not _kept(folder, *each)]
    require_published(source.name for source, reference in wanted if source.weights == PUBLISHED and not reference)
    files = [each for each in wanted if each[0].file is not None]
    if files:
        config = with_side(config.with_channels_of(channels()))
    for source, reference in files:
        _load(asked(config, source, reference), source, config)


def require_same_weights(folder: StudyFolder, stored: StudyConfig, asked: StudyConfig) -> None:
    """Refuse files that are named as those that the study in `folder` keeps and hold other weights.

    Where a file lies where it lay, it is read only if it was written after the study took its copy.

    Raises
    ------
    UserError
        Names both files.
    """
    known = {(source.label, reference): source for source, reference in _all(stored)}
    for source, reference in _all(asked):
        first = known.get((source.label, reference), source)
        if source.file is None or not _kept(folder, first, reference):
            continue
        copy = folder.initial_weights(first.label, reference=reference)
        if first == source and not written_after(source, copy.stat().st_mtime):
            continue
        backbone = build_backbone(**architecture(stored, first, reference))
        load_weights(backbone, copy)
        kept = weights_file(backbone)
        _load(backbone, source, stored)
        if weights_file(backbone) != kept:
            then = "when" if first == source else f"'{first.weights}', with which"
            raise UserError(
                f"'{source.file}' holds other weights than {then} the study was begun, and both are '{source.label}' "
                f"in its results; give the file another name, or choose another --out."
            )


def _load(backbone: Backbone, source: NetworkSource, config: StudyConfig) -> str:
    """Load the weights of a file that a source names; says which, how they fitted, and for which images they are."""
    assert source.file is not None
    file = weights_at(source.file, source.name)
    # Images that are no photographs are normalised by what they are themselves.
    normalised = describe_normalisation(source.name) if config.channels is None else ""
    return f"Weights from {file}: {load_weights(backbone, file, partial=config.allow_partial_weights)}.{normalised}"


def trained_network(source: NetworkSource, config: StudyConfig, say: Say, **network: Any) -> Backbone:
    """A network, built from `network`, with the weights that its source names; says which.

    What these leave untrained is drawn for the architecture, so that every study has the same, whatever the file.

    Raises
    ------
    UserError
        If the weights cannot be had, or do not fit.
    """
    build = published_backbone if source.file is None else build_backbone
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(derive_seed(0, f"untrained layers of {source.name.partition('.')[0]}"))
        backbone: Backbone = build(**network)
    if source.file is not None:
        say(_load(backbone, source, config))
    elif network.get("stem") == "small":
        say(f"Loading the published weights of {source.name}; its first layer, that of --stem small, starts untrained.")
    else:
        channels = config.in_channels
        adapted = f", with its first layer adapted from 3 channels to {channels}" * (channels != 3)
        say(f"Loading the published weights of {source.name}{adapted}.")
    return backbone


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
        backbone = trained_network(source, config, say, **architecture(config, source, reference))
        kept.parent.mkdir(parents=True, exist_ok=True)
        folder.write(str(kept.relative_to(folder.path)), weights_file(backbone))
