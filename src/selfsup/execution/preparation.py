"""Makes the images of a study ready: decoded, split, and what was noticed in them written down."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.config.evaluation_fields import metric_for
from selfsup.config.grid import images_of
from selfsup.config.schema import StudyConfig
from selfsup.data.audit import (
    AuditEntry,
    audit_csv,
    copies,
    describe_given,
    describe_groups,
    find_duplicates,
    label_conflicts,
    left_out,
    odd_labels,
    quoted,
    small_classes,
    summarize,
)
from selfsup.data.build import prepare_store
from selfsup.data.contents import contents_csv
from selfsup.data.formats.array_image import COLOURS
from selfsup.data.groups import given_groups, joined, read_groups
from selfsup.data.items import BETWEEN_LABELS, NO_SIDE, SIDES, TEST, UNKNOWN, ItemTable
from selfsup.data.near_duplicates import all_differ
from selfsup.data.pages import file_of, grouped_by_file
from selfsup.data.rendering import Renderer
from selfsup.data.sources._manifest import first_place
from selfsup.data.split import Split, has_several, split_images, split_suffix
from selfsup.data.store import Store
from selfsup.errors import UserError
from selfsup.evaluation.metrics import METRICS, very_unequal
from selfsup.execution.external_test import prepare_external
from selfsup.execution.image_source import asked_rendering, open_images
from selfsup.execution.initial_weights import require_weights
from selfsup.execution.known_images import AUDIT, IMAGES, require_same, require_same_split
from selfsup.execution.teachers import require_teachers
from selfsup.execution.words import counted
from selfsup.methods import method_class
from selfsup.record.folder import StudyFolder
from selfsup.training.plan import require_shares

Say = Callable[[str], None]
OnDecoded = Callable[[int, int], None]

#: Images that the normalisation of channels is estimated from, at most.
NORMALISED = 1000
#: Fewer images are refused.
FEWEST = 5


def prepare_images(folder: StudyFolder, config: StudyConfig, say: Say, on_decoded: OnDecoded | None = None) -> Store:
    """Decode the images (once), split them, and write down what was found.

    Raises
    ------
    UserError
        If there are no images, or they are not those with which the study was begun; if weights cannot be had or do
        not fit.
    """
    source = open_images(config, say)
    rendering = asked_rendering(config, folder)
    channels = Renderer(source, rendering).file_channels
    require_weights(config, folder, channels)
    require_teachers(config, folder, channels)
    require_shared_batches(config, ItemTable.of(source.items))
    store = prepare_store(
        source,
        store_size=config.resolved_store_size,
        rendering=rendering,
        max_pixels=config.max_pixels,
        progress=on_decoded,
    )
    images = contents_csv(store)
    require_same(images, folder, IMAGES, config.data)
    config = config.with_metric_for(several=store.items.several)
    split, groups = split_study(config, store.items, store.originals, store.digests)
    require_enough(store.items, split, config)
    external = prepare_external(folder, config, store, say, on_decoded)
    audit = [
        *store.audit,
        *describe_split(config, store.items, split, groups, store.originals),
        *(() if all_differ(store.originals) else _copies(store, split)),
        *small_classes(store.items, split, config.per_class),
        *(external.audit if external else ()),
    ]
    _write_split(folder, config, split, groups, seed=0)
    for seed in range(1, max(2, config.seeds)) if config.resplit else ():
        other, _ = split_study(config, store.items, store.originals, store.digests, seed=seed)
        if seed == 1 and (notice := require_resplit(store.items, split, other, config)):
            say(notice)
        _write_split(folder, config, other, groups, seed=seed)
    folder.write(AUDIT, audit_csv(audit))
    folder.write(IMAGES, images)
    noticed = summarize(audit)
    for line in noticed:
        say(line)
    if config.metric == "accuracy" and store.items.has_labels:
        _say_if_unequal(store.items.count(split.test), say)
    about = {} if external is None else {"external": external.about}
    folder.write_json("dataset.json", {**_describe(config, store, split, noticed), **about})
    return store


def _normalisation(store: Store, split: Split) -> dict[str, list[float]] | None:
    """Mean and standard deviation of each channel over training images, in [0, 1], where they are no photographs'."""
    if store.rendering.file_channels == COLOURS and not store.rendering.channels:
        return None
    chosen = split.train[np.unique(np.linspace(0, len(split.train) - 1, NORMALISED).astype(int))]
    pixels = [store.image(index).reshape(-1, store.channels) / np.float32(255) for index in chosen.tolist()]
    mean = np.mean([image.mean(0) for image in pixels], axis=0)
    variance = np.mean([np.square(image - mean).mean(0) for image in pixels], axis=0)
    return {"mean": mean.tolist(), "std": np.sqrt(variance).clip(1 / 255).tolist()}


def split_study(
    config: StudyConfig,
    items: ItemTable,
    originals: np.ndarray | None = None,
    digests: np.ndarray | None = None,
    *,
    seed: int = 0,
) -> tuple[Split, Sequence[str] | np.ndarray | None]:
    """The split of a study's images for cells of a seed, and the group of each image where there are groups.

    Groups are those of ``--group``, else those that the data set gives; without any, copies of an image are a group.
    Files of pages are groups, and those that are copies one.
    What is known of the pixels, copies and contradictory labels, is not there before they are decoded.
    """
    groups: Sequence[str] | None = None
    if config.group:
        groups = read_groups(config.group, [file_of(name) for name in items.names])
    elif items.groups:
        groups = given_groups(items)
    distinct = originals is None or all_differ(originals)
    originals = None if config.split_duplicates or distinct else originals
    if groups is not None and originals is not None and not config.group and grouped_by_file(items):
        groups = joined(groups, originals)
    split = split_images(
        items.labels,
        val_fraction=config.val_fraction,
        test_fraction=config.test_fraction,
        seed=config.split_seed + (seed if config.resplit else 0),
        groups=groups,
        originals=originals,
        conflicts=None if digests is None or distinct else has_several(items.labels, digests),
        given=None if config.no_given_split else items.sides,
        sets=items.sets,
    )
    return split, _copies_as_groups(items, originals) if groups is None else groups


def _copies_as_groups(items: ItemTable, originals: np.ndarray | None) -> np.ndarray | None:
    """`originals`, if some of the images with a label are copies of each other."""
    if originals is None or len(np.unique(known := originals[items.labels != UNKNOWN])) == len(known):
        return None
    return originals


def describe_split(
    config: StudyConfig,
    items: ItemTable,
    split: Split,
    groups: Sequence[str] | np.ndarray | None,
    originals: np.ndarray | None = None,
) -> list[AuditEntry]:
    """What a user should know of sides and groups that are given, and of the images without a label."""
    entries = []
    if not config.no_given_split and (items.sides != NO_SIDE).any():
        entries.append(AuditEntry("*", "given split", describe_given(items, split, originals)))
    entries += odd_labels(items, listed=config.manifest is not None)
    if items.several:
        entries.append(AuditEntry("*", "labels", _describe_labels(config, items)))
    if items.has_pool:
        entries.append(AuditEntry("*", "no label", _describe_pool(config, items)))
    if items.has_labels:
        entries += left_out(items, split, originals)
        if groups is not None and (config.group or items.groups):  # and no copies
            entries.append(AuditEntry("*", "groups", describe_groups(groups, split)))
    return entries


def _describe_labels(config: StudyConfig, items: ItemTable) -> str:
    metric = METRICS[metric_for(config.metric, several=True)].words
    written = f" (`{BETWEEN_LABELS}` in label)" * (config.manifest is not None)
    unknown = "; an empty label is unknown, so images that show none of them need a label of their own" * items.has_pool
    return (
        f"{items.most_labels} per image at most{written}, {len(items.classes):,} labels; each is "
        f"told from the rest by itself, methods are compared by {metric}, and columns of accuracy stay empty{unknown}"
    )


def _describe_pool(config: StudyConfig, items: ItemTable) -> str:
    count = f"{int((items.labels == UNKNOWN).sum()):,} of {len(items.names):,}"
    if config.with_protocol_for(pool=True).protocol == "label-efficiency":
        use = "methods without labels train on them too, evaluation never sees them"
        return f"{count}; {use} (--protocol label-efficiency)"
    return f"{count}, not used under --protocol {config.protocol}; label-efficiency would train on them"


def require_resplit(items: ItemTable, split: Split, other: Split, config: StudyConfig) -> str:
    """Refuse --resplit where two seeds have the same split, and say where they have the same test; else empty.

    Raises
    ------
    UserError
        If there is nothing to divide anew.
    """
    if all(np.array_equal(getattr(split, side), getattr(other, side)) for side in ("train", "val", "test")):
        given = not config.no_given_split and (items.sides != NO_SIDE).any()
        units = "groups" if config.group or items.groups else "images"
        why = "a split that is given with them" if given else f"too few {units} to be divided otherwise"
        why = why if items.has_labels else "no labels"
        raise UserError(f"--resplit has nothing to divide anew: images of '{config.data}' have {why}; leave it out.")
    if np.array_equal(split.test, other.test):
        return "The test images are given, so --resplit divides the others alone: validation differs from seed to seed."
    return ""


def require_enough(items: ItemTable, split: Split, config: StudyConfig) -> None:
    """Refuse so few images that nothing can be said of them.

    Raises
    ------
    UserError
        If there are fewer than ``FEWEST``, or none for validation or for the test where there are labels, or a class
        is given for these alone.
    """
    images = int((items.labels != UNKNOWN).sum()) or len(items.names)
    if images < FEWEST:
        raise UserError(
            f"'{config.data}' has {counted(images, 'image')} that can be used, of which nothing can be learned; "
            f"give at least {FEWEST}, and better hundreds."
        )
    if items.has_labels and not (len(split.val) and len(split.test)):
        raise UserError(
            f"No class of '{config.data}' has enough different images to hold one out for validation and one for the "
            f"test (3 are needed); add images, or use --unlabelled."
        )
    unseen = (items.count(split.train) == 0) & (items.count(np.concatenate([split.val, split.test])) > 0)
    if not config.no_given_split and (items.sides != NO_SIDE).any() and unseen.any():
        name = items.classes[int(unseen.argmax())]
        what = f"The class {quoted(name)} of '{config.data}' is"
        if config.manifest is not None:
            what = f"{first_place(Path(config.manifest).expanduser(), name)} has the label {quoted(name)}, which is"
        raise UserError(
            f"{what} given for validation or the test, and no image of it for training; give it some, leave it out, or "
            "divide anew with --no-given-split."
        )
    held_out = (items.labels[split.val], items.labels[split.test])
    if items.has_labels and config.metric == "auroc" and any(np.ptp(labels) == 0 for labels in held_out):
        raise UserError(
            "--metric auroc tells classes apart, and all images held out for validation or for the test are of one "
            "class; choose another metric, or add images."
        )


def require_shared_batches(config: StudyConfig, items: ItemTable) -> None:
    """Refuse numbers of images so small that several devices could not share a batch, by the images that are listed.

    Raises
    ------
    UserError
        Names the first of them.
    """
    tags = [method_class(name).tags for name in config.named_methods]
    shared = config.with_protocol_for(pool=items.has_pool).protocol == "label-efficiency"
    # `auto` and `all` hold methods that train on so many images, whichever else they stand for.
    by_size = len(tags) < len(config.methods) or any(t.trains and (t.uses_labels or not shared) for t in tags)
    if config.devices == 1 or not (items.has_labels and by_size):
        return
    counts = items.count(split_study(config, items)[0].train).tolist()
    for size in config.per_class:
        images = sum(images_of(size, count) for count in counts)
        require_shares(images, config.batch_size, config.devices, f"--per-class {size}: a training")


def _say_if_unequal(test_images: np.ndarray, say: Say) -> None:
    """Say that accuracy speaks for the large classes, where it does."""
    if very_unequal(test_images):
        say(
            f"Very unequal classes, of {min(n for n in test_images if n)} to {max(test_images)} test images: accuracy "
            f"speaks for the large ones, so balanced accuracy is shown beside it; --metric balanced-accuracy compares "
            f"by it."
        )


def _copies(store: Store, split: Split) -> list[AuditEntry]:
    """Copies among the images, and what they do to the split and the classes."""
    return [
        *copies(store.names, store.digests, store.originals),
        *find_duplicates(store.names, store.originals, split),
        *label_conflicts(store.items, store.digests),
    ]


def _write_split(
    folder: StudyFolder, config: StudyConfig, split: Split, groups: Sequence[str] | np.ndarray | None, *, seed: int
) -> None:
    """The sides of the split, and the number of every image's group where there are groups."""
    suffix = split_suffix(seed, resplit=config.resplit)
    require_same_split(split, folder, config.data, suffix)
    arrays: dict[str, np.ndarray] = {side: getattr(split, side) for side in SIDES}
    if groups is not None:
        arrays["groups"] = np.unique(groups, return_inverse=True)[1]
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    folder.write(f"split{suffix}.npz", content.getvalue())


def _describe(config: StudyConfig, store: Store, split: Split, noticed: Sequence[str]) -> dict[str, Any]:
    parts = {"train": split.train, "val": split.val, "test": split.test}
    counts = np.stack([store.items.count(part) for part in parts.values()], axis=1).tolist()
    pool = int((store.labels == UNKNOWN).sum()) if store.items.has_pool else 0
    seen = int((store.labels[split.train] == UNKNOWN).sum()) if pool else 0
    return {
        "name": store.name,
        "images": len(store),
        "classes": list(store.classes),
        "labelled": store.items.has_labels,
        "with_label": len(store) - pool if store.items.has_labels else 0,
        **{name: len(part) for name, part in parts.items()},
        "train": len(split.train) - seen,
        "pool": seen,
        "class_counts": dict(zip(store.classes, counts, strict=True)),
        "several_labels": store.items.several,
        "grouped": bool(config.group or store.items.groups),
        "test_given": bool(not config.no_given_split and (store.items.sides == TEST).any()),
        "store": str(store.path),
        "rendering": asdict(store.rendering),
        "normalisation": _normalisation(store, split),
        "warnings": list(noticed),
    }
