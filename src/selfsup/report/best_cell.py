"""The best cell seen closely: its map, its confusions and its mistakes."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from selfsup.evaluation.confusions import Confusions
from selfsup.evaluation.scores import label_scores
from selfsup.figures.canvas import shown_groups
from selfsup.figures.interactive import Map, map_fragment
from selfsup.figures.projection import principal_components
from selfsup.figures.tsne import tsne_picture
from selfsup.report.assets import Thumbnails, read_thumbnails, write_assets
from selfsup.report.pictures import data_address
from selfsup.report.recorded import RecordedStudy
from selfsup.report.study_files import StoredEmbeddings

MOST_SHOWN = 18
PER_CLUSTER, PER_CONFUSION = 8, 4
#: Pairs of confused classes, of few classes and of more than can be pointed at; classes whose recall is listed.
PAIRS, PAIRS_OF_MANY, MOST_RECALLS = 6, 20, 100
NEIGHBOURS = 7
#: Most classes of which the page has the whole confusion matrix, and of how many it has it where there are more.
POINTED_CLASSES, POINTED_OF_MORE = 30, 20


@dataclass(frozen=True)
class Thumbnail:
    """One image with what was said of it; `picture` is a ``data:`` address."""

    picture: str
    file: str
    true: str
    predicted: str
    confidence: float


@dataclass(frozen=True)
class Confused:
    """Images of one class that were taken for another, the surest mistakes first."""

    true: str
    predicted: str
    count: int
    total: int
    examples: tuple[Thumbnail, ...] = ()


@dataclass(frozen=True)
class BestCell:
    """What the page shows of the best cell.

    Attributes
    ----------
    cell : str
        Its id.
    map : Markup
        The interactive map.
    picture : str
        The map on paper, as a ``data:`` address.
    components : bool
        Whether the map can be laid out by principal components too.
    thumbnails : bool
        Whether the map shows images.
    counts : tuple of tuple of int
        The numbers of the confusion matrix, true classes in rows; empty where there is none.
    classes : tuple of (str, int)
        Name of each class in it, and its test images: all, or of more than 30 the 20 with the most confusions.
    recalls : tuple of (str, int, int)
        Of tested classes, 100 at most: name, images named rightly, and images; the lowest recall first.
    label_scores : tuple of (str, float, float, float, int)
        In the place of recalls where images may have several labels: name, average precision, AUROC, F1 and test images
        of each tested label, 100 at most; the lowest average precision first.
    classes_left_out : int
        Tested classes, or labels, with a higher recall, or average precision, than those.
    confused : tuple of Confused
        Most frequent first.
    mistakes : tuple of Thumbnail
        Wrong predictions, most confident first.
    clusters : tuple of (str, tuple of Thumbnail)
        Some images of each cluster, where there are no labels.
    weights : bool
        Whether its backbone was kept.
    """

    cell: str
    map: Markup
    picture: str
    components: bool
    thumbnails: bool
    counts: tuple[tuple[int, ...], ...]
    classes: tuple[tuple[str, int], ...]
    recalls: tuple[tuple[str, int, int], ...]
    label_scores: tuple[tuple[str, float, float, float, int], ...]
    classes_left_out: int
    confused: tuple[Confused, ...]
    mistakes: tuple[Thumbnail, ...]
    clusters: tuple[tuple[str, tuple[Thumbnail, ...]], ...]
    weights: bool


def look_at(study: RecordedStudy, cell: str) -> BestCell | None:
    """Read and draw a cell; None where its embeddings are not there."""
    embeddings = study.embeddings(cell)
    if embeddings is None or not len(embeddings.indices):
        return None
    thumbnails = _thumbnails(study, cell, embeddings)
    files = _file_names(thumbnails, embeddings.indices)
    groups, names = shown_groups(embeddings.labels, embeddings.predicted, study.classes)
    shown = _Shown(embeddings, names, files, thumbnails)
    one_each = study.labelled and not study.several
    placed = _map(study, cell, shown, groups, predicted=one_each)
    confusions = Confusions.of(embeddings.labels, embeddings.predicted) if one_each else None
    tested = () if confusions is None else recalls(confusions, names)
    of_labels = _label_scores(embeddings, study.classes) if study.several else ()
    return BestCell(
        cell=cell,
        map=map_fragment(placed, thumbnails.content if thumbnails else None),
        picture=data_address(tsne_picture(placed.points, placed.groups, names, wrong=placed.wrong), "image/png"),
        components=placed.components is not None,
        thumbnails=thumbnails is not None,
        **_matrix(confusions, names),
        recalls=tested[:MOST_RECALLS],
        label_scores=of_labels[:MOST_RECALLS],
        classes_left_out=max(0, len(tested) + len(of_labels) - MOST_RECALLS),
        confused=most_confused(confusions, names, shown.mistaken) if confusions else (),
        mistakes=_mistakes(shown) if one_each else (),
        clusters=() if study.labelled else _clusters(shown),
        weights=study.has_weights(cell),
    )


def _matrix(confusions: Confusions | None, names: tuple[str, ...]) -> dict[str, Any]:
    """The confusion matrix as the page has it, and its classes."""
    if confusions is None:
        return {"counts": (), "classes": ()}
    drawn, totals = confusions.drawn(len(names), POINTED_CLASSES, POINTED_OF_MORE), confusions.totals(len(names))
    return {
        "counts": tuple(map(tuple, confusions.among(drawn).tolist())),
        "classes": tuple((names[number], int(totals[number])) for number in drawn),
    }


def recalls(confusions: Confusions, names: tuple[str, ...]) -> tuple[tuple[str, int, int], ...]:
    """Name, images named rightly and images of each tested class, the lowest recall first."""
    totals, wrong = confusions.totals(len(names)), confusions.errors.totals(len(names))
    found = zip(names, (totals - wrong).tolist(), totals.tolist(), strict=True)
    return tuple(sorted((row for row in found if row[2]), key=lambda row: row[1] / row[2]))


def _label_scores(
    embeddings: StoredEmbeddings, classes: tuple[str, ...]
) -> tuple[tuple[str, float, float, float, int], ...]:
    found = label_scores(embeddings.labels, embeddings.confidence)
    columns = (found[name].tolist() for name in ("average_precision", "auroc", "f1", "test_images"))
    rows = zip(classes, *columns, strict=True)
    return tuple(sorted((row for row in rows if row[-1]), key=lambda row: row[1]))


def most_confused(
    confusions: Confusions,
    names: tuple[str, ...],
    examples: Callable[[int, int], tuple[Thumbnail, ...]] = lambda true, predicted: (),
) -> tuple[Confused, ...]:
    """The most frequent pairs of a class and another that it was taken for, with `examples` of each."""
    totals, errors = confusions.totals(len(names)).tolist(), confusions.errors
    pairs = zip(errors.true.tolist(), errors.predicted.tolist(), errors.counts.tolist(), strict=True)
    first = sorted(pairs, key=lambda pair: -pair[2])[: PAIRS if len(names) <= POINTED_CLASSES else PAIRS_OF_MANY]
    return tuple(Confused(names[i], names[j], count, totals[i], examples(i, j)) for i, j, count in first)


@dataclass(frozen=True)
class _Shown:
    embeddings: StoredEmbeddings
    names: tuple[str, ...]
    files: tuple[str, ...]
    thumbnails: Thumbnails | None

    def pictures_of(self, rows: NDArray[np.int64], most: int) -> tuple[Thumbnail, ...]:
        """The first of the rows that have a thumbnail."""
        if self.thumbnails is None:
            return ()
        slots = self.thumbnails.slots(self.embeddings.indices[rows])
        rows, slots = rows[slots >= 0][:most], slots[slots >= 0][:most]
        return tuple(
            Thumbnail(
                picture,
                self.files[row],
                self._name(self.embeddings.labels[row]),
                self._name(self.embeddings.predicted[row]),
                float(self.embeddings.confidence[row]),
            )
            for row, picture in zip(rows, _cut_out(self.thumbnails, slots), strict=True)
        )

    def mistaken(self, true: int, predicted: int) -> tuple[Thumbnail, ...]:
        """Some images of one class that were taken for another, the surest first."""
        e = self.embeddings
        rows = np.flatnonzero((e.labels == true) & (e.predicted == predicted))
        return self.pictures_of(rows[np.argsort(-e.confidence[rows], kind="stable")], PER_CONFUSION)

    def _name(self, group: int) -> str:
        return self.names[group] if group >= 0 else ""


def _map(study: RecordedStudy, cell: str, shown: _Shown, groups: NDArray[np.int64], *, predicted: bool) -> Map:
    embeddings, thumbnails = shown.embeddings, shown.thumbnails
    rows = np.flatnonzero(np.isfinite(embeddings.projection).all(axis=1))
    features = None if (every := study.features(cell)) is None else every[rows]
    return Map(
        points=embeddings.projection[rows],
        groups=groups[rows],
        names=shown.names,
        files=tuple(shown.files[row] for row in rows),
        predicted=embeddings.predicted[rows] if predicted else None,
        confidence=embeddings.confidence[rows] if predicted else None,
        slots=thumbnails.slots(embeddings.indices[rows]) if thumbnails else None,
        sheet=thumbnails.sheet if thumbnails else None,
        neighbours=None if features is None else _neighbours(features),
        components=None if features is None else principal_components(features),
    )


def _neighbours(features: NDArray[np.float32]) -> NDArray[np.int64] | None:
    """For each row, those with the most similar embedding (cosine); None for too few rows."""
    if len(features) <= NEIGHBOURS:
        return None
    from sklearn.neighbors import NearestNeighbors

    finder = NearestNeighbors(n_neighbors=NEIGHBOURS, metric="cosine", algorithm="brute").fit(features)
    return np.asarray(finder.kneighbors(return_distance=False), np.int64)


def _mistakes(shown: _Shown) -> tuple[Thumbnail, ...]:
    wrong = np.flatnonzero(~shown.embeddings.correct)
    by_confidence = wrong[np.argsort(-shown.embeddings.confidence[wrong], kind="stable")]
    return shown.pictures_of(by_confidence, MOST_SHOWN)


def _clusters(shown: _Shown) -> tuple[tuple[str, tuple[Thumbnail, ...]], ...]:
    found = []
    for cluster, name in enumerate(shown.names):
        rows = np.flatnonzero(shown.embeddings.predicted == cluster)
        pictures = shown.pictures_of(rows, PER_CLUSTER)
        if pictures:
            found.append((f"{name}, {len(rows)} images", pictures))
    return tuple(found)


def _thumbnails(study: RecordedStudy, cell: str, embeddings: StoredEmbeddings) -> Thumbnails | None:
    """The thumbnails of a cell's split, made from its store if need be; None where the store is gone."""
    suffix = study.split_suffix(cell)
    known = read_thumbnails(study.path, suffix)
    if known is not None:
        return known
    from selfsup.data.store import open_store

    placed = np.isfinite(embeddings.projection).all(axis=1)
    try:
        store, shown = open_store(study.path / study.dataset["store"]), study.settings.get("show_channels")
        write_assets(study.path, store, embeddings.indices[placed], shown, suffix)
    except Exception:  # whatever is wrong with the store, the report does without it and says so
        return None
    return read_thumbnails(study.path, suffix)


def _file_names(thumbnails: Thumbnails | None, indices: NDArray[np.int64]) -> tuple[str, ...]:
    known = dict(zip(thumbnails.indices.tolist(), thumbnails.names, strict=True)) if thumbnails else {}
    return tuple(known.get(index, f"image {index}") for index in indices.tolist())


def _cut_out(thumbnails: Thumbnails, slots: NDArray[np.int64]) -> list[str]:
    """Single thumbnails from the sheet as ``data:`` addresses."""
    sheet, side = thumbnails.sheet, thumbnails.sheet.side
    whole = Image.open(io.BytesIO(thumbnails.content))
    cut = []
    for slot in slots.tolist():
        row, column = divmod(slot, sheet.columns)
        buffer = io.BytesIO()
        box = (column * side, row * side, (column + 1) * side, (row + 1) * side)
        whole.crop(box).save(buffer, format="WEBP", quality=80)
        cut.append(data_address(buffer.getvalue(), "image/webp"))
    return cut
