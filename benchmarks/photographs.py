"""Writes patches of photographs, a class per photograph: a data set of real textures that needs no download.

The photographs come with scikit-image and scikit-learn: a person, a cat, stones, grass, cells, a retina, galaxies and
more. Patches do not overlap and are grey, or their colour would tell the photograph.

    pip install scikit-image
    python benchmarks/photographs.py FOLDER [--side 80] [--most 40]
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

#: Of scikit-image's data folder; the rest of it is drawings, texts, and pictures of the same things.
OF_SCIKIT_IMAGE = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)
#: Photographs larger than this are shrunk to it; short side in pixels.
LARGEST = 700
#: Standard deviation, of grey values to 255, below which there is nothing on a patch.
EMPTY = 6.0


def photographs() -> dict[str, Image.Image]:
    """Grey photographs by name."""
    found = importlib.util.find_spec("skimage")
    if found is None or found.origin is None:
        raise SystemExit("The photographs come with scikit-image; install it with `pip install scikit-image`.")
    folder = Path(found.origin).parent / "data"
    files = {name.partition(".")[0]: Image.open(folder / name) for name in OF_SCIKIT_IMAGE}
    samples = zip(("china", "flower"), load_sample_images().images, strict=True)
    return {name: image.convert("L") for name, image in (files | {n: Image.fromarray(s) for n, s in samples}).items()}


def patches(image: Image.Image, side: int) -> list[Image.Image]:
    """Squares of `side` pixels that do not overlap and have something on them."""
    shrink = min(1.0, LARGEST / min(image.size))
    image = image.resize((int(image.width * shrink), int(image.height * shrink)))
    corners = [(x, y) for x in range(0, image.width - side + 1, side) for y in range(0, image.height - side + 1, side)]
    cut = [image.crop((x, y, x + side, y + side)) for x, y in corners]
    return [patch for patch in cut if np.asarray(patch, float).std() > EMPTY]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=80, help="of a patch, in pixels (default 80)")
    parser.add_argument("--most", type=int, default=40, help="patches of a photograph (default 40)")
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    for name, image in photographs().items():
        place = given.folder / name
        place.mkdir(parents=True, exist_ok=True)
        found = patches(image, given.side)
        for number, index in enumerate(rng.permutation(len(found))[: given.most]):
            found[index].save(place / f"{number:03d}.png")
    print(f"{len(list(given.folder.glob('*/*.png')))} patches in {given.folder}")


if __name__ == "__main__":
    main()
