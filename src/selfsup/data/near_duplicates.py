"""Images that are copies of others, exact ones or resized and compressed anew: found by small pictures of them.

Every image is reduced to ``SIDE`` x ``SIDE`` grey pixels, as for a perceptual hash (Zauner, 2010), but compared by
these pixels and not by bits of them: two images are copies if the root of the mean squared difference is at most
``MOST_UNLIKE`` of the contrast of either, the standard deviation of its pixels. Images of next to no contrast are
copies only where their pixels are equal, and whatever changes the brightness makes another image.

Measured with ``MOST_UNLIKE = 0.07``. False: no pair among the 1,797 digits (the nearest two differ by 0.113 of their
contrast), among 1,110 tiles of 160 pixels from photographs (0.136), or among 105 photographs and their quarters. Found:
97 to 100 % of copies of these 105 with JPEG's quality 75 or 30, of half the size, also with quality 50, of 120, 64 or
60 pixels with quality 75 to 80, and 1.37 times as large; not those cut at the border or brighter. Of more than
``WHOLE`` images each is compared within parts of them alone: of 1,000 copies at 0.02 to 0.06 of the contrast, added to
100,000 made-up pictures of four kinds (noise, blocks, smooth ones, 20 classes), all were found. A million take 10 to
16 s of one core, or minutes if most are nearly the same.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

SIDE = 8
MOST_UNLIKE = 0.07
#: Grey levels of contrast below which a picture says nothing.
LEAST_CONTRAST = 2.0
#: Directions in which images are looked up, and how many of the nearest are compared.
AXES, NEAREST = 12, 16
#: The time of a tree grows with the square of what is in it: of more than so many images, each is looked for in parts
#: of so many, and in so many turns among others.
WHOLE, PART, TURNS = 2**15, 2**12, 4
#: Images from which the directions are found, and rows that are worked on at a time.
SAMPLE, ROWS = 2000, 8192


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """A small picture of an image: from uint8 of shape (H, W, C) to float32 of shape (SIDE, SIDE)."""
    if pixels.shape[2] == 3:
        grey = Image.fromarray(pixels).convert("L").convert("F")  # in whole numbers noise would not come back as it was
    else:
        grey = Image.fromarray(pixels.mean(2, dtype=np.float32))
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def find_originals(digests: np.ndarray, thumbnails: np.ndarray) -> np.ndarray:
    """For every image the first one of which it is a copy, or itself.

    Copies of copies do not chain: a near copy is near the image that stands for it.

    Parameters
    ----------
    digests : ndarray, shape (N,)
        Hash of the pixels of each image.
    thumbnails : ndarray of float32, shape (N, SIDE, SIDE)

    Returns
    -------
    ndarray of int64, shape (N,)
        Places of images; an image that stands for others stands for itself.
    """
    _, first, same = np.unique(digests, return_index=True, return_inverse=True)
    stands_for = np.arange(len(thumbnails))
    # The earlier image stands for the later one, and has found its own by its turn.
    for earlier, later in _near_pairs(thumbnails, np.sort(first)).tolist():
        if stands_for[earlier] == earlier and stands_for[later] == later:
            stands_for[later] = earlier
    return stands_for[first[same]]


def all_differ(originals: np.ndarray) -> bool:
    """Whether no image is a copy of another, by what :func:`find_originals` says; their pixels all differ then."""
    return bool((originals == np.arange(len(originals))).all())


def _near_pairs(thumbnails: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Pairs of copies among the images at `places`, the earlier image first, in ascending order; int64 (M, 2)."""
    contrast = np.zeros(len(thumbnails), np.float32)
    for rows in np.array_split(places, len(places) // ROWS + 1):
        contrast[rows] = _centred(thumbnails[rows]).std(1)
    telling = np.flatnonzero(contrast >= LEAST_CONTRAST)
    if len(telling) < 2:
        return np.zeros((0, 2), np.int64)

    def scaled(rows: np.ndarray) -> np.ndarray:
        """Of length 1, so that the distance of two copies is at most ``MOST_UNLIKE``, in any projection."""
        centred = _centred(thumbnails[rows])
        return centred / np.linalg.norm(centred, axis=1, keepdims=True)

    sample = scaled(telling[np.unique(np.linspace(0, len(telling) - 1, SAMPLE).astype(int))])
    axes = np.linalg.svd(sample, full_matrices=False)[2][:AXES].T
    points = np.concatenate([scaled(rows) @ axes for rows in np.array_split(telling, len(telling) // ROWS + 1)])
    parts = [part for turn in range(TURNS) for part in _parted(points, sample @ axes, turn)]
    found = np.unique(np.concatenate([_near_points(points, part) for part in parts]))
    near = []
    for some in np.array_split(found, len(found) // ROWS + 1):
        pairs = telling[np.stack(np.divmod(some, len(points)), axis=1)]
        near.append(pairs[_apart(thumbnails, pairs) <= MOST_UNLIKE * contrast[pairs].min(1)])
    return np.concatenate(near)


def _parted(points: np.ndarray, sample: np.ndarray, turn: int) -> list[np.ndarray]:
    """Parts of about ``PART`` points, as their places in order: by the sides of random planes that they lie on.

    Each plane goes through the middle of the `sample`. Points that are near to each other are seldom parted, and by
    other planes in each `turn`. Up to ``WHOLE`` points are one part, in the first turn alone.
    """
    if len(points) <= WHOLE:
        return [np.arange(len(points))][turn:]
    planes = (len(points) // PART).bit_length() - 1
    normals = np.random.default_rng(turn).normal(size=(points.shape[1], planes)) / sample.std(0)[:, None]
    beyond = points @ normals.astype(np.float32) > np.median(sample @ normals, axis=0)
    side = beyond @ (1 << np.arange(planes))
    return np.split(np.argsort(side, kind="stable"), np.cumsum(np.bincount(side))[:-1])


def _near_points(points: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Pairs of near points within a part, each as one number: the earlier one times all points, plus the later."""
    from scipy.spatial import cKDTree

    tree = cKDTree(points[part])
    found = tree.query(points[part], NEAREST + 1, distance_upper_bound=1.01 * MOST_UNLIKE, workers=-1)[1]
    one, other = np.nonzero(found < len(part))
    pairs = np.sort(np.stack([part[one], part[found[one, other]]]), axis=0)
    return (pairs[0] * len(points) + pairs[1])[pairs[0] < pairs[1]]


def _centred(thumbnails: np.ndarray) -> np.ndarray:
    """Pixels less their mean; float32 of shape (n, pixels)."""
    pixels = thumbnails.reshape(len(thumbnails), -1)
    return pixels - pixels.mean(1, keepdims=True)


def _apart(thumbnails: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Root of the mean squared difference of two images, in grey levels."""
    return np.sqrt(((thumbnails[pairs[:, 0]] - thumbnails[pairs[:, 1]]) ** 2).mean((1, 2)))
