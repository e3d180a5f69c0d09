"""What is asked about the images: where they lie, how they are read, and how they are divided."""

from __future__ import annotations

import os
from typing import Literal, Self

from pydantic import field_validator

from selfsup.config.field_roles import Fields, field
from selfsup.config.field_types import Channels, Place

#: Pixels of the largest image that Pillow opens if it is left to itself.
MAX_PIXELS = 178_956_970


def is_table(group: str) -> bool:
    """Whether the field `group` names a file, and not an expression."""
    return group.lower().endswith(".csv") or os.path.isfile(group)  # which an expression may be too long for


class DataFields(Fields):
    """The images, their reading and their split."""

    data: Place = field(
        "digits",
        "A folder of images, or the name of a data set (see `selfsup list datasets`).",
        "place",
    )
    data_root: Place | None = field(None, "Folder that already holds a named data set's files.", "runtime")
    data_url: Place | None = field(None, "Address or local zip in place of a data set's published one.", "runtime")
    unlabelled: bool = field(False, "Ignore folder names; treat the images as unlabelled.", "identity")
    manifest: Place | None = field(
        None,
        "A table of the images, CSV or Parquet: path (below DATA, or without one below the table's own folder), and "
        "any of label, split and group; what is empty is unknown.",
        "place",
    )
    pool: Place | None = field(
        None,
        "A folder of further images without labels, on which methods without labels train and nothing is evaluated; "
        "a folder 'unlabelled' beside the class folders is one too.",
        "place",
    )
    no_given_split: bool = field(
        False,
        "Divide the images anew, whatever split is given; folders called train, val, test are then classes.",
        "identity",
    )
    group: Place | None = field(
        None,
        "Keep images that belong together on one side of the split: a regular expression on the "
        "path (its first group, or the whole match), or a CSV file with columns path,group.",
        "identity",
    )
    val_fraction: float = field(0.1, "Share of each class held out for validation.", "identity", gt=0, lt=0.5)
    test_fraction: float = field(0.2, "Share of each class held out for the test.", "identity", gt=0, lt=0.5)
    split_seed: int = field(0, "Seed of the train/validation/test split.", "identity", ge=0)
    split_duplicates: bool = field(
        False,
        "Divide copies of an image (equal, resized or compressed anew) as if they were different images; by default "
        "they stay on one side of the split.",
        "identity",
    )
    resplit: bool = field(
        False,
        "Divide the images anew for each seed, so that intervals over seeds count the split too.",
        "identity",
    )
    test_data: Place | None = field(
        None,
        "Images of the same classes from elsewhere (another site, another camera), a folder or a data set's name: the "
        "external test, quoted beside the test images and never chosen on.",
        "place",
    )
    store_size: int | None = field(
        None,
        "Longest allowed short side of a stored image, in pixels; larger images are shrunk once. "
        "Default: the larger of 256 and 8/7 of the image size.",
        "identity",
        ge=8,
    )
    full_scale: float | None = field(
        None,
        "0 to this value becomes black to white in all images of more than 8 bits. Default: decided from the images, "
        "for integers and floating-point numbers apart, and said.",
        "identity",
        gt=0,
    )
    pages: Literal["first", "all", "channels"] = field(
        "first",
        "What files of several pages or frames give: their first; or all, each an image, and those of a file a group; "
        "or channels, one image of which each page is a channel.",
        "identity",
    )
    channels: Channels = field(
        None,
        "Numbers of the channels of the images that are taken, from 1 (as GDAL numbers bands) and in this order, such "
        "as 4,3,2. Default: all that most images have; grey and colours count as three.",
        "identity",
    )
    show_channels: Channels = field(
        None,
        "Numbers of the channels that pictures of the images show as red, green and blue; of one, grey. Default: the "
        "first three.",
        "contents",
    )
    max_pixels: int = field(
        MAX_PIXELS, "Images of more pixels are set aside: opening one takes that much memory.", "identity", ge=1
    )

    @field_validator("show_channels")
    @classmethod
    def _at_most_three(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value and len(value) > 3:
            raise ValueError("must be one to three numbers of channels")
        return value

    def with_channels_of(self, files: int) -> Self:
        """The configuration with the channels that are taken of images of so many, if these are no colours."""
        if self.channels or files == 3:
            return self
        return self.model_copy(update={"channels": tuple(range(1, files + 1))})

    @property
    def in_channels(self) -> int:
        """How many channels the networks are given, once the images are known."""
        return len(self.channels) if self.channels else 3
