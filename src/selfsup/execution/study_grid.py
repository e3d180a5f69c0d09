"""The grid of a study: the cells that were asked for, without those that its images have no labels for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

from selfsup.config.axes import REFERENCE
from selfsup.config.evaluation_fields import metric_for
from selfsup.config.grid import Cell, Job, Tags, expand, group_jobs
from selfsup.config.network_source import AUTO, NONE
from selfsup.config.schema import StudyConfig
from selfsup.errors import UserError
from selfsup.evaluation.evaluators import load_evaluators
from selfsup.execution.study_networks import asked_networks
from selfsup.methods import method_class, read_settings


@dataclass(frozen=True)
class GridOfStudy:
    """The cells of a study, and what had to be left out of the grid that was asked for."""

    cells: tuple[Cell, ...]
    jobs: tuple[Job, ...]
    notices: tuple[str, ...]


def lay_out(config: StudyConfig, *, labelled: bool, several: bool = False) -> GridOfStudy:
    """Cells and jobs of the grid; for unlabelled images without the axes that need labels.

    Where images may have `several` labels, without the methods that need one of each.

    Raises
    ------
    UserError
        If nothing is left.
    """
    tags = {name: method_class(name).tags for name in (*config.methods, REFERENCE)}
    same = {name: known.without_weights for name, known in tags.items() if known.without_weights}
    tags |= {name: method_class(name).tags for name in same.values()}
    if REFERENCE in config.methods:
        raise UserError(f"--methods {REFERENCE} is what --references NAME,… adds by itself; name the networks there.")
    methods, per_class, notices = config.methods, config.per_class, list[str]()
    if not labelled:
        methods, per_class, notices = _without_labels(config, tags)
    elif several:
        methods, notices = _with_several_labels(config, tags)
    cells = expand(
        methods=[*methods, *([REFERENCE] if config.references else [])],
        backbones=config.networks,
        references=config.reference_networks,
        augmentations=config.policies,
        lrs=config.lrs,
        per_class=per_class,
        seeds=config.seeds,
        tags=tags,
        rates=_own_rates(config, methods) if any(isinstance(lr, str) for lr in config.lrs) else {},
    )
    own = [f"{name} (views by '{tags[name].augmentation}')" for name in methods if tags[name].augmentation]
    if own:
        notices.append(f"--augmentations does not apply to {', '.join(own)}.")
    if AUTO in config.augmentations and config.in_channels != 3:
        notices.append(
            f"The images have {config.in_channels} channels, so the strong augmentation is '{config.strong_policy}': "
            f"brightness and contrast of each channel by itself; --augmentations sets others."
        )
    untrained = ", ".join(source.label for source in config.networks if source.weights == NONE)
    for name, other in same.items() if untrained else ():
        if other in methods:
            notices.append(f"{name} of {untrained} is left out: it has no weights, and would be `{other}`.")
        else:
            notices.append(f"{name} of {untrained} has no weights, and would be `{other}`, which is compared instead.")
    jobs = group_jobs(cells, protocol=config.protocol, tags=tags)
    return GridOfStudy(tuple(cells), tuple(jobs), tuple(notices))


def _own_rates(config: StudyConfig, methods: Iterable[str]) -> dict[tuple[str, str], float]:
    """The learning rate of each method's recipe for each network and the batch size, by method and label.

    Raises
    ------
    UserError
        If a method is to have another optimizer, for whose rates its recipe says nothing.
    """
    rates = {}
    networks = asked_networks(config)
    for name, source in product(methods, config.networks):
        recipe = method_class(name).recipe_for(networks[source.name])
        chosen = read_settings(name, config.settings.get(name, {})).optimizer or recipe.optimizer
        if method_class(name).tags.trains and chosen.rstrip("w") != recipe.optimizer.rstrip("w"):
            raise UserError(
                f"--lrs {','.join(map(str, config.lrs))} are multiples of the rate that {name} has with "
                f"{recipe.optimizer}, and --set {name}.optimizer={chosen} needs another; give --lrs as numbers."
            )
        rates[name, source.label] = recipe.lr_at(config.batch_size)
    return rates


def _without_labels(config: StudyConfig, tags: dict[str, Tags]) -> tuple[tuple[str, ...], tuple[Any, ...], list[str]]:
    notices = ["The images have no labels: no probe is fitted; clusters and label-free measures are shown instead."]
    if void := _void_without_labels(config):
        notices.append(f"Without effect, for want of labels: {', '.join(void)}.")
    methods = tuple(name for name in config.methods if not tags[name].uses_labels)
    dropped = [name for name in config.methods if tags[name].uses_labels]
    if dropped:
        notices.append(f"Left out, for want of labels: {', '.join(dropped)}.")
    if not methods:
        raise UserError(
            f"--methods {','.join(dropped)} needs labels, and the images of '{config.data}' have none; put them in "
            f"one folder per class, or choose self-supervised methods."
        )
    return methods, ("all",), notices


def _void_without_labels(config: StudyConfig) -> list[str]:
    """Options that were given, and ask for what is computed of labels."""
    known = load_evaluators()
    unfit = [name for name in config.evaluate[1:] if not known[name].applies(labelled=False, several=False)]
    asked = {"evaluate": ",".join(unfit), "knn_every": config.knn_every, "patience": config.patience}
    if config.metric not in ("auto", metric_for("auto", several=False)):
        asked["metric"] = config.metric
    return [f"--{name.replace('_', '-')} {value}" for name, value in asked.items() if value]


def _with_several_labels(config: StudyConfig, tags: dict[str, Tags]) -> tuple[tuple[str, ...], list[str]]:
    unfit = [name for name in config.methods if tags[name].uses_labels and not tags[name].takes_several_labels]
    if len(unfit) == len(config.methods):
        raise UserError(
            f"--methods {','.join(unfit)} needs one label for each image, and those of '{config.data}' may have "
            "several; choose supervised, or self-supervised methods."
        )
    notices = [f"Left out, for it needs one label for each image: {', '.join(unfit)}."] if unfit else []
    return tuple(name for name in config.methods if name not in unfit), notices
