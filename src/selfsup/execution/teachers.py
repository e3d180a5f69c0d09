"""The teachers of methods that learn from a trained network: found, and what each makes of the images, in the study."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from selfsup.backbones import require_model, unobtainable, weights_at
from selfsup.config.network_source import NetworkSource
from selfsup.config.schema import StudyConfig
from selfsup.data.store import Store
from selfsup.errors import UserError
from selfsup.evaluation.embedding import embed, unit_rows
from selfsup.execution.initial_weights import trained_network
from selfsup.execution.study_networks import normalisation_of
from selfsup.methods import method_class, read_settings
from selfsup.record.folder import StudyFolder

Say = Callable[[str], None]


def teacher_of(settings: Mapping[str, Mapping[str, Any]], method: str) -> NetworkSource | None:
    """The teacher of a method by its settings in the study; None where it needs none.

    Raises
    ------
    UserError
        If it needs one and none is named, or there is no such network.
    """
    if not method_class(method).tags.needs_teacher:
        return None
    option = f"--set {method}.teacher"
    text = getattr(read_settings(method, settings.get(method, {})), "teacher", None)
    if text is None:
        raise UserError(
            f"{method} learns from a trained network; name it, as in {option}=NAME (the weights that timm publishes), "
            f"{option}=NAME@FILE, or {option}=FILE."
        )
    try:
        source = NetworkSource.trained(text)
    except ValueError as error:
        raise UserError(f"{option}={text} {error}.") from None
    require_model(source.name, option)
    return source


def resolve_teachers(config: StudyConfig, folder: StudyFolder | None = None) -> None:
    """Refuse a teacher whose weights cannot be had, unless the study in `folder` keeps what it makes of the images.

    Raises
    ------
    UserError
        If a file is not there, or published weights are neither on this machine nor to be downloaded.
    """
    for method, source in _teachers(config):
        if folder is not None and folder.teacher(source.label).exists():
            continue
        if source.file is not None:
            weights_at(source.file, source.name)
        elif missing := unobtainable([source.name]):
            raise UserError(
                f"The teacher of {method}, {source.name}, cannot be had: its weights are not on this machine, and "
                f"{missing[source.name]}; --set {method}.teacher={source.name}@FILE takes them from a file."
            )


def require_teachers(config: StudyConfig, folder: StudyFolder | None, channels: Callable[[], int]) -> None:
    """Refuse a file whose weights do not fit the teacher, unless the study in `folder` has what it makes of the images.

    `channels` says how many most images have; it is asked where there is such a file.

    Raises
    ------
    UserError
        If one does not.
    """
    for _, source in _teachers(config):
        if source.file is not None and (folder is None or not folder.teacher(source.label).exists()):
            seen = config.with_channels_of(channels())
            trained_network(source, seen, lambda line: None, name=source.name, in_channels=seen.in_channels)


def prepare_teachers(folder: StudyFolder, config: StudyConfig, store: Store, device: str, say: Say) -> None:
    """Put into the study what the teachers make of every image, so that no worker and no later run needs one.

    Each image is embedded once, as it is and at the teacher's own size: the views of a training are of the student.
    """
    for method, source in _teachers(config):
        kept = folder.teacher(source.label)
        if kept.exists():
            continue
        images: dict[str, Any] = {"in_channels": config.in_channels, "normalisation": normalisation_of(folder)}
        backbone = trained_network(source, config, say, name=source.name, **images)
        say(f"{source.name}, the teacher of {method}, embeds {len(store):,} images at {backbone.image_size} px, once.")
        side, every = backbone.image_size, np.arange(len(store))
        found = unit_rows(embed(backbone, store, every, image_size=side, device=device))
        content = io.BytesIO()
        np.save(content, found.astype(np.float16), allow_pickle=False)
        kept.parent.mkdir(parents=True, exist_ok=True)
        folder.write(str(kept.relative_to(folder.path)), content.getvalue())


def taught(folder: StudyFolder, config: StudyConfig, method: str, images: Sequence[int] | np.ndarray) -> dict[str, Any]:
    """What a method is built with beside the sizes: its teacher's embeddings of the training images, if it has one."""
    source = teacher_of(config.settings, method)
    if source is None:
        return {}
    return {"teacher": torch.from_numpy(np.load(folder.teacher(source.label), allow_pickle=False)[images])}


def _teachers(config: StudyConfig) -> Iterator[tuple[str, NetworkSource]]:
    for method in config.named_methods:
        source = teacher_of(config.settings, method)
        if source is not None:
            yield method, source
