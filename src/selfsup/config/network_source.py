"""A network and where its weights come from, as it is asked for: ``resnet18``, ``resnet18@imagenet``, ``vit@file``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

#: Words for where weights come from; anything else is a file.
NONE, AUTO, PUBLISHED = "none", "auto", "imagenet"
#: Names of the file of published weights in a repository of the hub.
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class NetworkSource:
    """A network by timm's name, and its weights.

    Attributes
    ----------
    name : str
        Any timm model name; one such as ``resnet18.tv_in1k`` says which published weights.
    weights : str
        ``"none"``; ``"imagenet"``, those that timm publishes for it; ``"auto"``, the published ones where they can be
        had; or the path of a file.
    """

    name: str
    weights: str

    @classmethod
    def parse(cls, text: str, default: str = NONE) -> NetworkSource:
        """What ``NAME[@none|auto|imagenet|FILE]`` names; `default` are the weights where it says nothing of them.

        Raises
        ------
        ValueError
            If the name or the weights are empty.
        """
        name, at, weights = text.partition("@")
        if not name.strip() or (at and not weights.strip()):
            raise ValueError("must be NAME, NAME@none, NAME@auto, NAME@imagenet or NAME@FILE")
        return cls(name.strip(), weights.strip() or default)

    @classmethod
    def trained(cls, text: str) -> NetworkSource:
        """A trained network: NAME with the published weights, NAME@FILE, or FILE, which then has the network's name.

        Raises
        ------
        ValueError
            If it is none of these.
        """
        named = Path(text).stem.partition("@")[0]  # as studies name their files: test_resnet@imagenet.safetensors
        source = cls(named, text) if os.path.isfile(text) else cls.parse(text, PUBLISHED)
        if source.weights in (NONE, AUTO):
            raise ValueError("must be a trained network: NAME for the published weights, NAME@FILE, or FILE")
        return source

    def __str__(self) -> str:
        return f"{self.name}@{self.weights}"

    @property
    def file(self) -> Path | None:
        """The file of its weights, where they come from one."""
        return None if self.weights in (NONE, AUTO, PUBLISHED) else Path(self.weights)

    @property
    def label(self) -> str:
        """Its name in ids and tables, where the tag of published weights tells which they are, and a file its name.

        Once ``auto`` is resolved.
        """
        architecture = self.name.partition(".")[0]
        if self.weights == NONE:
            return architecture
        if self.weights == PUBLISHED:
            return self.name if self.name != architecture else f"{self.name}@{PUBLISHED}"
        stem = re.sub(r"[^A-Za-z0-9._]+", "_", Path(self.weights).stem)
        return f"{architecture}@{'file' if stem in (self.name, architecture) else stem}"
