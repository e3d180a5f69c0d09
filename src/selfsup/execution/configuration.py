"""The configuration that a command makes of a study: what it asks for checked against the study and this machine."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch

from selfsup import registry
from selfsup.backbones import Backbone, require_model, takes_side, weights_at
from selfsup.config.continuation import differences, extend
from selfsup.config.schema import StudyConfig
from selfsup.config.training_fields import AUTO_SIDES
from selfsup.config.validation import validate
from selfsup.data.formats.array_image import COLOURS
from selfsup.data.groups import read_groups
from selfsup.data.items import ItemTable
from selfsup.data.rendering import Rendering
from selfsup.data.store import Store
from selfsup.errors import UserError
from selfsup.execution.history import runs_of
from selfsup.execution.initial_weights import require_same_weights
from selfsup.execution.study_networks import asked_networks, with_side
from selfsup.methods import method_class, read_settings, view_groups_of
from selfsup.record.folder import StudyFolder
from selfsup.training.device import choose_hardware
from selfsup.training.plan import first_side, side_step_of
from selfsup.views import ViewGroup, load_policy

#: In the history of a study, of the run that began it: by setting, what was asked for and what a budget made of it.
SHORTENED = "shortened"


def resolve_configuration(
    folder: StudyFolder | None, requested: Mapping[str, Any], *, here: bool = True
) -> StudyConfig:
    """The configuration that `requested` makes of the study in `folder`, or of a new one where there is none.

    `here` says whether its cells will run on this machine.

    Raises
    ------
    UserError
        If something that is requested does not fit, by itself or into the study.
    """
    asked = validate(requested)
    if asked.budget is not None and not here:
        raise UserError(
            f"--budget {asked.budget} goes by the speed of this machine, and the executor runs cells on others; use "
            f"--executor local, or leave --budget out."
        )
    if folder is None or not folder.exists():
        require_sound(asked, here=here)
        return asked
    stored = folder.read_config()
    requested = _as_shortened(folder, requested)
    unlike = differences(stored, requested)
    if "metric" in requested:
        unlike += _compared_otherwise(folder, stored, asked)
    if unlike:
        require_sound(asked, here=here)  # a slip of the pen is answered as such, not as another setting
        first = next((f" (it began as `{run['command']}`)" for run in runs_of(folder) if run.get("command")), "")
        raise UserError(
            f"'{folder.path}' was begun with other settings, and mixing them would make its results "
            f"incomparable ({'; '.join(unlike)}); use the old settings{first}, or another --out."
        )
    if here:
        _require_device(folder, stored)
    require_same_weights(folder, stored, asked)
    extended = extend(stored, requested)
    require_views(with_side(extended))  # which methods that are new to the study may not be able to use
    return extended


def _require_device(folder: StudyFolder, stored: StudyConfig) -> None:
    try:
        choose_hardware(stored.device, stored.precision)
    except UserError:
        raise UserError(
            f"'{folder.path}' was begun on {stored.device} in {stored.precision}, which this machine cannot do; go on "
            f"with it where it was begun, or choose another --out."
        ) from None


def _as_shortened(folder: StudyFolder, requested: Mapping[str, Any]) -> dict[str, Any]:
    """The values with the epochs that a budget has made of them when the study was begun, where those are asked for."""
    shortened: dict[str, list[int]] = next((run[SHORTENED] for run in runs_of(folder) if SHORTENED in run), {})
    kept = {name: given for name, (wanted, given) in shortened.items() if requested.get(name) == wanted}
    return {**requested, **kept}


def _compared_otherwise(folder: StudyFolder, stored: StudyConfig, asked: StudyConfig) -> list[str]:
    """Where trainings of the study were compared, and stopped early, by another metric than is asked for."""
    if asked.metric == stored.metric or not any("rung_scores" in row for row in folder.recorded().values()):
        return []
    return [f"metric: trainings were compared by {stored.metric!r} when they were stopped early, {asked.metric!r} now"]


def require_sound(config: StudyConfig, *, here: bool = True) -> None:
    """Refuse what cannot work whatever the images are, before it costs any time.

    `here` says whether the cells will run on this machine, which then needs the device.

    Raises
    ------
    UserError
        If a setting of any method, the device, the groups, the backbone or the file of weights does not fit.
    """
    for name, options in config.settings.items():
        read_settings(name, options)
    if here:
        choose_hardware(config.device, config.precision)
    if config.group:
        read_groups(config.group, [])
    # Whether the backbone takes the images' size is seen when they are; whether there is such a backbone, now.
    require_views(with_side(config))
    if config.channels:
        require_policies(config)
    for source in config.reference_networks:
        require_model(source.name, "--references")
    for source in (*config.networks, *config.reference_networks):
        if source.file is not None:
            weights_at(source.file, source.name)


def require_views(config: StudyConfig) -> None:
    """Refuse a backbone that does not take the views in which the study's methods would train it.

    Raises
    ------
    UserError
        If it takes views of one size only where smaller ones are asked for, or has no tokens of patches where a
        method needs them.
    """
    for network, backbone, smallest, step in _smallest_views(config):
        if not takes_side(backbone, smallest):
            raise UserError(
                f"'{network}' takes views of one size only, and --grow-from {config.grow_from:g} begins with "
                f"smaller ones; add --grow-from 1."
            )
        for name in config.named_methods:
            _require_network(name, network, config, backbone, smallest, step)


def fitting_methods(config: StudyConfig, names: Iterable[str]) -> list[str]:
    """Those of the methods that can train every network of the study."""
    fitting = []
    for name in names:
        with suppress(UserError):
            for network, backbone, smallest, step in _smallest_views(config):
                _require_network(name, network, config, backbone, smallest, step)
            fitting.append(name)
    return fitting


def _smallest_views(config: StudyConfig) -> Iterator[tuple[str, Backbone, int, int]]:
    """The study's networks, the side of their smallest full view, and what sides are multiples of."""
    for network, backbone in asked_networks(config).items():
        step = side_step_of(backbone.patch_size)
        yield network, backbone, first_side(config.side, config.grow_from, step), step


def _require_network(name: str, network: str, config: StudyConfig, backbone: Backbone, side: int, step: int) -> None:
    """Refuse a method that cannot train this network, or not on so many devices."""
    tags = method_class(name).tags
    if tags.needs_tokens and backbone.patch_size is None:
        raise UserError(
            f"{name} needs the tokens of patches that a plain vision transformer has, and '{network}' has "
            f"none; choose such a network, as in --backbone vit_tiny_patch16_224, or leave {name} out of --methods."
        )
    if config.devices > 1 and not tags.can_distribute:
        raise UserError(f"{name} cannot be trained on several devices; use --devices 1, or leave it out of --methods.")
    groups = view_groups_of(name, config.settings.get(name, {}), backbone)
    own = _own_policies(name, groups)
    registry.require(own, registry.names(registry.POLICY), kind=f"augmentation in the views of {name}:")
    for group in groups:
        pixels = group.pixels(side, step)
        if group.side < 1 and not takes_side(backbone, pixels):
            raise UserError(
                f"{name} has views of {pixels} px beside those of {side} px, and '{network}' "
                f"takes one size only; choose another network, or leave {name} out of --methods."
            )
        hidden = None if group.mask is None else group.mask.draw(1, pixels, torch.Generator())
        if hidden is not None and bool(hidden.all() == hidden.any()):
            raise UserError(
                f"{name} hides some patches of a view, of which '{network}' has {hidden.shape[1]} in {pixels} "
                f"px; choose larger views, or leave {name} out of --methods."
            )


def _own_policies(name: str, groups: Sequence[ViewGroup]) -> list[str]:
    """The policies that a method, whose views are these, is trained with whatever the study's are."""
    policies = (method_class(name).tags.augmentation, *(group.policy for group in groups))
    return [policy for policy in policies if policy is not None]


def require_policies(config: StudyConfig) -> None:
    """Refuse augmentations, the study's and methods' own, that images of its number of channels cannot have.

    Raises
    ------
    UserError
        Names those that they can have.
    """
    for name in config.policies:
        if load_policy(name).channels not in (None, config.in_channels):
            known = registry.names(registry.POLICY)
            fitting = [each for each in known if load_policy(each).channels in (None, config.in_channels)]
            raise UserError(
                f"--augmentations {name} is for images of {load_policy(name).channels} channels, and these have "
                f"{config.in_channels}; take {', '.join(fitting[:-1])} or {fitting[-1]}, or three of the channels with "
                f"--channels."
            )
    for method, backbone in product(config.named_methods, asked_networks(config).values()):
        for name in _own_policies(method, view_groups_of(method, config.settings.get(method, {}), backbone)):
            if load_policy(name).channels not in (None, config.in_channels):
                raise UserError(
                    f"{method} has views by '{name}', which is for images of {load_policy(name).channels} channels, "
                    f"and these have {config.in_channels}; leave {method} out of --methods, or take three of the "
                    f"channels with --channels."
                )


@dataclass(frozen=True)
class ImagesSeen:
    """What is known of a study's images where they are decoded, or some of them were opened.

    Attributes
    ----------
    items : ItemTable
    rendering : Rendering
        Of which the channels are read.
    short_sides : sequence of float
        In pixels, as stored.
    """

    items: ItemTable
    rendering: Rendering
    short_sides: Sequence[float]

    @classmethod
    def decoded(cls, store: Store) -> ImagesSeen:
        """The images of a store."""
        return cls(store.items, store.rendering, store.sizes.min(axis=1).tolist())


def resolve_for_images(config: StudyConfig, images: ImagesSeen, say: Callable[[str], None]) -> StudyConfig:
    """The configuration with channels, protocol, metric and ``image_size = "auto"`` resolved for the images.

    Raises
    ------
    UserError
        If the backbone does not take that size, an augmentation not these channels, or others are to be shown.
    """
    config = config.with_channels_of(images.rendering.file_channels or COLOURS)
    config = config.with_protocol_for(pool=images.items.has_pool).with_metric_for(several=images.items.several)
    require_policies(config)
    absent = sorted({*(config.show_channels or ())} - {*images.rendering.taken})
    if absent:
        raise UserError(
            f"--show-channels {','.join(map(str, config.show_channels or ()))} names {absent[0]}, which is none "
            f"of those that are taken ({', '.join(map(str, images.rendering.taken))}); name one to three of these."
        )
    if config.image_size != "auto":
        return config
    resolved, near = with_side(config, images.short_sides), config.with_side_for(images.short_sides).side
    require_views(resolved)
    why = _why_of_side(near, images.short_sides) if resolved.side == near else f"as not all networks take {near} px"
    say(f"Views of {resolved.side} px, {why}; --image-size sets another.")
    return resolved


def _why_of_side(side: int, short_sides: Sequence[float]) -> str:
    """Why ``auto`` is this side for images of these short sides."""
    typical = statistics.median(short_sides)
    if abs(side - typical) <= AUTO_SIDES.step / 2:
        return "near the images' own size"
    if side < typical:
        return "the most that auto gives"
    return f"the least that auto gives, for images of {typical:.0f} px"
