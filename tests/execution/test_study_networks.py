"""A network is built once for all that is asked of it before anything trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm

import selfsup
from selfsup.backbones import build_backbone, weights_file
from selfsup.config.validation import validate
from selfsup.execution.estimate import plan_study
from selfsup.execution.executors.base import Event, JobStarted
from selfsup.execution.initial_weights import require_weights
from selfsup.execution.study_networks import (
    asked_network,
    asked_networks,
    forget_asked_networks,
    network_of,
    with_side,
)
from selfsup.execution.watchers import Watcher
from selfsup.record.folder import StudyFolder

ASKED = {
    "data": "digits", "methods": "simclr,moco,random", "references": "none", "backbones": "test_resnet@none",
    "evaluate": "finetune", "augmentations": "simclr,weak", "lrs": "1x", "per_class": "5", "epochs": 1, "device": "cpu",
    "precision": "fp32",
}  # fmt: skip


class Built:
    """Counts the networks that timm builds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        forget_asked_networks()
        self._create = timm.create_model
        monkeypatch.setattr(timm, "create_model", self.create)

    def create(self, *given: Any, **named: Any) -> Any:
        network = self._create(*given, **named)
        self.count += 1
        return network


@pytest.mark.parametrize(("size", "networks"), [("32", 1), ("auto", 2)], ids=["given", "largest, then the images' own"])
def test_a_plan_builds_a_network_once_for_each_size_of_views(
    monkeypatch: pytest.MonkeyPatch, size: str, networks: int
) -> None:
    built = Built(monkeypatch)
    assert plan_study({**ASKED, "image_size": size}).seconds > 0
    assert built.count == networks


def test_a_run_builds_its_network_once_before_the_first_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = Built(monkeypatch)

    class First(Watcher):
        def on_event(self, event: Event) -> None:
            assert isinstance(event, JobStarted)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        selfsup.compare(out=tmp_path, executor="inline", watcher=First(), budget="1h", image_size=32, **ASKED)
    assert built.count == 1


@pytest.mark.parametrize(
    ("side_of_file", "side_of_images", "side"),
    [(None, 24, 64), (224, 24, 224), (96, 500, 96)],
    ids=["without weights", "as published", "of another size"],
)
def test_auto_is_a_size_that_network_and_weights_take(
    tmp_path: Path, side_of_file: int | None, side_of_images: float, side: int
) -> None:
    """LeViT takes any size until it has weights, which are of one."""
    weights = tmp_path / "w.safetensors"
    if side_of_file:
        weights.write_bytes(weights_file(build_backbone("levit_128s", image_size=side_of_file)))
    config = validate({"backbones": f"levit_128s@{weights if side_of_file else 'none'}"})
    sized = with_side(config, [side_of_images])
    assert sized.side == side
    assert with_side(sized.model_copy(update={"image_size": 32})).side == 32
    folder = StudyFolder(tmp_path)
    require_weights(config, folder, lambda: 3)
    require_weights(sized, folder, lambda: 3)


def test_auto_is_the_published_size_where_a_network_has_no_other_or_weights_for_none() -> None:
    assert with_side(validate({"backbones": "crossvit_9_240@none"}), [24]).side == 240
    assert with_side(validate({"backbones": "levit_128s@imagenet"}), [24]).side == 224
    assert with_side(validate({"backbones": "test_vit@imagenet,test_resnet@imagenet"}), [24]).side == 64


def test_those_who_ask_share_a_network_and_those_who_train_do_not() -> None:
    config = validate({**ASKED, "image_size": 32})
    (shared,) = asked_networks(config).values()
    assert asked_network(config, "simclr", "test_resnet") is shared
    assert network_of(config, "simclr", "test_resnet") is not shared
    forget_asked_networks()
    assert asked_network(config, "simclr", "test_resnet") is not shared
