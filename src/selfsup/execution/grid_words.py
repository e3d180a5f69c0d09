"""The cells of a grid in words: what is chosen of them, and what is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from selfsup.config.axes import REFERENCE, format_lr
from selfsup.config.grid import Cell, PerClass, images_of
from selfsup.config.schema import StudyConfig
from selfsup.data.items import ItemTable
from selfsup.execution.words import counted, listed
from selfsup.training.plan import TrainingPlan


def _rate(cell: Cell) -> str:
    """The learning rate, as a multiple where it was asked for so; empty where there is none."""
    if cell.lr is None:
        return ""
    return format_lr(cell.lr) if cell.lr_multiple is None else f"{cell.lr_multiple:g}x"


#: In which ways trainings of a row differ, one and several of it, and a cell's own; empty where it has none.
WAYS: Mapping[tuple[str, str], Callable[[Cell], str]] = {
    ("policy", "policies"): lambda cell: cell.augmentation or "",
    ("rate", "rates"): _rate,
    ("seed", "seeds"): lambda cell: str(cell.seed),
}


def describe(cells: Sequence[Cell], category: str = "class", *, epochs: int) -> str:
    """What the cells are: 3 references and random; simclr at 1x and 3x with policy weak; 5 and all per class; …"""
    references = {cell.backbone: "" for cell in cells if cell.method == REFERENCE}
    trained = [cell for cell in cells if cell.lr is not None]
    names = _names(cells)
    others = _unique(names[c.method, c.backbone] for c in cells if c.lr is None and c.method != REFERENCE)
    idle = [*([counted(len(references), "reference")] if references else []), *others]
    parts = [listed(idle)] if idle else []
    if trained:
        candidates = _unique(names[c.method, c.backbone] for c in trained)
        policies = listed(_unique(c.augmentation for c in trained))
        parts.append(f"{listed(candidates)} at {listed(_unique(map(_rate, trained)))} with policy {policies}")
    parts.append(f"{listed(_unique(str(c.per_class) for c in trained or cells))} per {category}")
    seeds, idle_seeds = (len({c.seed for c in cells if (c.lr is None) == untrained}) for untrained in (False, True))
    if trained and idle and seeds != idle_seeds:
        parts.append(f"{counted(seeds, 'seed')} ({idle_seeds} without training)")
    elif max(seeds, idle_seeds) > 1:
        parts.append(counted(max(seeds, idle_seeds), "seed"))
    return "; ".join([*parts, *([counted(epochs, "epoch")] if trained else [])])


def rows(cells: Iterable[Cell], category: str = "class", names: Mapping[tuple[str, str], str] | None = None) -> str:
    """The numbers of images of cells, and of which methods: all per class for simclr and moco."""
    cells = list(cells)
    names = names or _names(cells)
    of: dict[str, list[str]] = {}
    for cell in cells:
        of.setdefault(str(cell.per_class), []).append(names[cell.method, cell.backbone])
    sizes: dict[str, list[str]] = {}
    for size, methods in of.items():
        sizes.setdefault(listed(_unique(methods)), []).append(size)
    return "; ".join(f"{listed(found)} per {category} for {methods}" for methods, found in sizes.items())


def left_out(
    cells: Sequence[Cell], chosen: Iterable[Cell], stopped: Iterable[Cell] = (), *, category: str = "class"
) -> str:
    """What of the cells is not among the chosen ones; empty if nothing.

    A method has a number of images only where a cell was chosen that was not `stopped` early: what it has not comes
    right after methods that are not there at all.
    """
    chosen, stopped = set(chosen), set(stopped)
    names = _names(cells)
    candidates, whole = {_row(cell)[:2] for cell in chosen}, {_row(cell) for cell in chosen - stopped}
    missing = _unique(names[_row(cell)[:2]] for cell in cells if _row(cell)[:2] not in candidates)
    lacking = [c for c in cells if c.lr is not None and _row(c)[:2] in candidates and _row(c) not in whole]
    parts = [part for part in (listed(missing) if missing else "", rows(lacking, category, names)) if part]
    absent = [c for c in cells if c not in chosen and c not in lacking and _row(c)[:2] in candidates]
    for (way, _), value in WAYS.items():
        known = {value(cell) for cell in chosen}
        trained = {value(cell) for cell in chosen if cell.lr is not None}
        beyond = dict.fromkeys(c for c in absent if value(c) not in {"", *(known if c.lr is None else trained)})
        if missing := _unique(map(value, beyond)):
            parts.append(f"{way} {listed(missing)}{' of trainings' * bool(known & {*missing})}")
            absent = [cell for cell in absent if cell not in beyond]
    other = [cell for cell in absent if _row(cell) in whole]
    if other:
        sizes = dict.fromkeys(cell.per_class for cell in other)
        there = [cell for cell in chosen if cell.per_class in sizes]
        parts.append(f"{_other_ways(other, there)} with {listed([*map(str, sizes)])} per {category}")
    if len(absent) > len(other):
        parts.append(f"{counted(len(absent) - len(other), 'other cell')}")
    return "; ".join(parts)


def _other_ways(other: Sequence[Cell], there: Sequence[Cell]) -> str:
    """How other cells differ from those that are there: by the way that none of these has, or by all that vary."""
    varied: list[str] = []
    for (way, several), value in WAYS.items():
        missing, known = (_unique(map(value, cells)) for cells in (other, there))
        if missing and not {*missing} & {*known}:
            return f"{way} {listed(missing)}"
        if len({*missing, *known}) > 1:
            varied.insert(0, several)
    return f"other {listed(varied)}"


def about_sizes(cells: Sequence[Cell], config: StudyConfig, items: ItemTable, train: np.ndarray) -> Iterator[str]:
    """What is decided about the cells' numbers of images, where those at the places `train` are there to train on."""
    counts: list[int] = items.count(train).tolist() if items.has_labels else [len(train)]
    most, sizes = max(counts), dict.fromkeys(cell.per_class for cell in cells)
    beyond = [size for size in sizes if isinstance(size, int) and size > most]
    if beyond:
        means = f"so --per-class {','.join(map(str, beyond))} means all of them."
        yield f"No {items.category} has more than {most} images to train on, {means}"
    alike: dict[tuple[int, ...], list[str]] = {}
    for size in sizes:
        if size not in beyond:
            alike.setdefault(tuple(images_of(size, count) for count in counts), []).append(str(size))
    for among in alike.values():
        if len(among) > 1:
            yield f"--per-class {listed(among)} are the same images here, so their cells have the same numbers."
    few = TrainingPlan.of(config, 0, epochs=config.epochs, lr=0.0, min_steps=config.min_steps).few_images
    trained = {cell.per_class for cell in cells if cell.lr is not None}
    if any(sum(images_of(size, count) for count in counts) <= few for size in trained):
        yield (
            f"A training on up to {few:,} images passes over them several times in an epoch, so that its "
            f"{config.epochs} epochs have {config.min_steps:,} steps; --min-steps 0 has one pass."
        )


def _row(cell: Cell) -> tuple[str, str, PerClass]:
    """What a line of the table is of: method, network and number of images."""
    return cell.method, cell.backbone, cell.per_class


def _names(cells: Iterable[Cell]) -> dict[tuple[str, str], str]:
    """Of each method and network a short name: with the network's where a method has several, of a reference that."""
    found = dict.fromkeys((cell.method, cell.backbone) for cell in cells)
    several = {method for method, _ in found if sum(other == method for other, _ in found) > 1}
    return {(m, b): b if m == REFERENCE else f"{m} {b}" if m in several else m for m, b in found}


def _unique(values: Iterable[str | None]) -> list[str]:
    return list(dict.fromkeys(value for value in values if value))
