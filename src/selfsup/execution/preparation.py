"""Makes a study ready to run: images, split, audit, initial weights, hardware."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from selfsup import data as datasets
from selfsup.backbones import build_backbone, imagenet_backbone, load_weights, require_weights_file, takes_side
from selfsup.config import schema as configuration
from selfsup.config.grid import Cell, Job, Tags, expand, group_jobs
from selfsup.config.schema import StudyConfig
from selfsup.data import AuditEntry, Contents, Store, audit_csv, count_problems, find_duplicates, small_classes
from selfsup.data.groups import read_groups
from selfsup.data.split import Split, split_images
from selfsup.errors import UserError
from selfsup.execution.executors.base import Resources
from selfsup.methods import method_class, read_settings
from selfsup.record.folder import StudyFolder
from selfsup.training.device import Hardware, choose_hardware, count_devices, require_devices
from selfsup.training.machine import available_memory, usable_cores
from selfsup.training.plan import first_side

Say = Callable[[str], None]
OnDecoded = Callable[[int, int], None]

#: File of the study with the path, class and digest of every image it is of.
IMAGES = "images.csv"
#: File of the study with the images that were set aside, and whatever else was noticed about them.
AUDIT = "audit.csv"
#: What ``fuse = "auto"`` is on CUDA: so many learning rates, with views of at most so many pixels a side.
FUSED, FUSED_SIDE = 4, 64
#: Main memory of one worker before it trains anything, and of the activations that one view of
#: 224 x 224 pixels leaves for the backward pass of a ResNet-18 in float32; both in bytes, measured.
WORKER_BYTES = 900e6
ACTIVATION_BYTES = 25e6


@dataclass(frozen=True)
class GridOfStudy:
    """The cells of a study, and what had to be left out of the grid that was asked for."""

    cells: tuple[Cell, ...]
    jobs: tuple[Job, ...]
    notices: tuple[str, ...]


def resolve_configuration(folder: StudyFolder | None, wanted: Mapping[str, Any], *, here: bool = True) -> StudyConfig:
    """The configuration that `wanted` makes of the study in `folder`, or of a new one where there is none.

    `here` says whether its cells will run on this machine.

    Raises
    ------
    UserError
        If something that is wanted does not fit, by itself or into the study.
    """
    wish = configuration.validate(wanted)
    if folder is None or not folder.exists():
        require_sound(wish, here=here)
        return wish
    stored = folder.read_config()
    unlike = configuration.differences(stored, wanted)
    if unlike:
        require_sound(wish, here=here)  # a slip of the pen is answered as such, not as another setting
        raise UserError(
            f"'{folder.path}' was begun with other settings, and mixing them would make its results "
            f"incomparable ({'; '.join(unlike)}); use the old settings, or another --out."
        )
    return configuration.extend(stored, wanted)


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
    require_views(config.with_side_for([]))
    if config.weights not in ("none", "imagenet"):
        require_weights_file(Path(config.weights))


def require_views(config: StudyConfig) -> None:
    """Refuse a backbone that does not take views of the sizes in which it would be trained.

    Raises
    ------
    UserError
        If it does not.
    """
    backbone = build_backbone(config.backbone, image_size=config.side, stem=config.stem)
    if not takes_side(backbone, first_side(config.side, config.grow_from)):
        raise UserError(
            f"'{config.backbone}' takes views of one size only, and --grow-from {config.grow_from:g} begins with "
            f"smaller ones; add --grow-from 1."
        )


def resolve_image_size(config: StudyConfig, store: Store, say: Say) -> StudyConfig:
    """The configuration with ``image_size = "auto"`` resolved for the store's images.

    Raises
    ------
    UserError
        If the backbone does not take that size.
    """
    if config.image_size != "auto":
        return config
    resolved = config.with_side_for(store.sizes.min(axis=1).tolist())
    require_views(resolved)
    say(f"Views of {resolved.side} px, near the images' own size; --image-size sets another.")
    return resolved


def prepare_images(folder: StudyFolder, config: StudyConfig, say: Say, on_decoded: OnDecoded | None = None) -> Store:
    """Decode the images (once), split them, and write down what was found.

    Raises
    ------
    UserError
        If there are no images, or they are not those with which the study was begun.
    """
    source = datasets.open_source(
        config.data, data_root=config.data_root, data_url=config.data_url, unlabelled=config.unlabelled, say=say
    )
    store = datasets.prepare_store(
        source, store_size=config.resolved_store_size, full_scale=config.full_scale, progress=on_decoded
    )
    contents = Contents.of(store)
    _require_same(contents, folder, config)
    groups = read_groups(config.group, store.names) if config.group else None
    split = _split(store, config, groups)
    _require_testable(store, split, config)
    audit = [*store.audit, *find_duplicates(store.names, store.digests, split), *_small_classes(store, split, config)]
    _write_split(folder, split, groups)
    folder.write(AUDIT, audit_csv(audit))
    folder.write(IMAGES, contents.to_csv())
    folder.write_json("dataset.json", _describe(store, split, audit))
    return store


def prepare_weights(folder: StudyFolder, config: StudyConfig, say: Say) -> None:
    """Put the initial weights into the study, so that every worker and every later run has the same.

    Raises
    ------
    UserError
        If they cannot be had, or do not fit the backbone.
    """
    from safetensors.torch import save

    if config.weights == "none" or folder.initial_weights.exists():
        return
    if config.weights == "imagenet":
        say(f"Loading the ImageNet weights of {config.backbone}.")
        backbone = imagenet_backbone(config.backbone, image_size=config.side, stem=config.stem)
    else:
        backbone = build_backbone(config.backbone, image_size=config.side, stem=config.stem)
        say(f"Weights from {config.weights}: {load_weights(backbone, Path(config.weights))}.")
    state = {name: tensor.contiguous() for name, tensor in backbone.network.state_dict().items()}
    folder.write(folder.initial_weights.name, save(state))


def resolve_resources(config: StudyConfig, jobs: int) -> Resources:
    """Device, precision, workers and threads, with ``auto`` resolved for this machine."""
    hardware = choose_hardware(config.device, config.precision)
    cores = usable_cores()
    workers = _auto_workers(config, hardware, cores) if config.workers == "auto" else int(config.workers)
    workers = max(1, min(workers, jobs))
    require_devices(hardware, config.devices)
    threads = config.threads or max(1, cores // (workers * config.devices))
    return Resources(hardware, workers, threads)


def resolve_fuse(config: StudyConfig, hardware: Hardware) -> int:
    """How many learning rates are trained together, with ``auto`` resolved."""
    if config.fuse != "auto":
        return config.fuse
    small = config.side <= FUSED_SIDE and config.devices == 1 and hardware.precision != "fp16"
    return FUSED if hardware.kind == "cuda" and small else 1


def lay_out(config: StudyConfig, *, labelled: bool) -> GridOfStudy:
    """Cells and jobs of the grid; for unlabelled images without the axes that need labels.

    Raises
    ------
    UserError
        If nothing is left.
    """
    tags = {name: method_class(name).tags for name in config.methods}
    methods, per_class, notices = config.methods, config.per_class, list[str]()
    if not labelled:
        methods, per_class, notices = _without_labels(config, tags)
    cells = expand(
        methods=methods,
        augmentations=config.augmentations,
        lrs=config.lrs,
        per_class=per_class,
        seeds=config.seeds,
        tags=tags,
    )
    if config.weights == "none" and {"frozen", "random"} <= set(methods):
        notices.append("No initial weights were given, so 'frozen' is the same as 'random'.")
    jobs = group_jobs(cells, protocol=config.protocol, tags=tags)
    return GridOfStudy(tuple(cells), tuple(jobs), tuple(notices))


def unfinished(jobs: Iterable[Job], finished: Set[str]) -> list[Job]:
    """The jobs that are left to do, without the cells whose ids are in `finished`."""
    return [job for job in (job.without(finished) for job in jobs) if job is not None]


def _without_labels(config: StudyConfig, tags: dict[str, Tags]) -> tuple[tuple[str, ...], tuple[Any, ...], list[str]]:
    notices = ["The images have no labels: no probe is fitted; clusters and label-free measures are shown instead."]
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


def _auto_workers(config: StudyConfig, hardware: Hardware, cores: int) -> int:
    if hardware.kind != "cpu":
        return max(1, count_devices(hardware.kind) // config.devices)
    views = 2 * config.batch_size
    activations = views * (config.side / 224) ** 2 * ACTIVATION_BYTES
    per_worker = WORKER_BYTES + activations * (0.5 if hardware.precision == "bf16" else 1.0)
    # Each process of a cell has its own memory, and all views.
    processes = min(cores, int(0.8 * available_memory() / per_worker))
    return max(1, processes // config.devices)


def _split(store: Store, config: StudyConfig, groups: Sequence[str] | None) -> Split:
    return split_images(
        store.labels,
        images=len(store),
        val_fraction=config.val_fraction,
        test_fraction=config.test_fraction,
        seed=config.split_seed,
        groups=groups,
        official_test=store.official_test,
    )


def require_same_names(names: Sequence[str], folder: StudyFolder, config: StudyConfig) -> None:
    """Refuse images of other names than those the study in `folder` was begun with, without decoding any.

    Raises
    ------
    UserError
        If some are missing, or there are more.
    """
    known = _known_images(folder)
    if known is None:
        return
    aside = {entry["path"] for entry in csv.DictReader(io.StringIO((folder.path / AUDIT).read_text("utf-8")))}
    found = {name: known.images.get(name, ("", "")) for name in names if name in known.images or name not in aside}
    _refuse_changes(Contents(found).changes_since(known), folder, config)


def _require_same(contents: Contents, folder: StudyFolder, config: StudyConfig) -> None:
    """Refuse to go on with a study on other images than it was begun with."""
    known = _known_images(folder)
    if known is not None:
        _refuse_changes(contents.changes_since(known), folder, config)


def _known_images(folder: StudyFolder) -> Contents | None:
    file = folder.path / IMAGES
    return Contents.from_csv(file.read_bytes()) if folder.exists() and file.is_file() else None


def _refuse_changes(changes: str, folder: StudyFolder, config: StudyConfig) -> None:
    if changes:
        raise UserError(
            f"The images of '{config.data}' are not those with which '{folder.path}' was begun: {changes}; "
            f"bring them back as they were, or choose another --out."
        )


def _require_testable(store: Store, split: Split, config: StudyConfig) -> None:
    if store.labels is not None and not len(split.test):
        raise UserError(
            f"No class of '{config.data}' has enough images to hold one out for the test (2 are needed); add images, "
            f"or use --unlabelled."
        )


def _small_classes(store: Store, split: Split, config: StudyConfig) -> list[AuditEntry]:
    if store.labels is None:
        return []
    return list(small_classes(store.labels, store.classes, split, config.per_class))


def _write_split(folder: StudyFolder, split: Split, groups: Sequence[str] | None) -> None:
    """The sides of the split, and the number of every image's group where there are groups."""
    arrays = {"train": split.train, "val": split.val, "test": split.test}
    if groups is not None:
        arrays["groups"] = np.unique(groups, return_inverse=True)[1]
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    folder.write("split.npz", content.getvalue())


def _describe(store: Store, split: Split, audit: list[AuditEntry]) -> dict[str, Any]:
    parts = {"train": split.train, "val": split.val, "test": split.test}
    counts = {
        name: [int((store.labels[part] == index).sum()) for part in parts.values()]
        for index, name in enumerate(store.classes)
        if store.labels is not None
    }
    return {
        "name": store.name,
        "images": len(store),
        "classes": list(store.classes),
        "labelled": store.labels is not None,
        **{name: len(part) for name, part in parts.items()},
        "class_counts": counts,
        "store": str(store.path),
        "full_scale": store.depth.full_scale,
        "warnings": count_problems(audit),
    }
