"""What a network must have for the methods that are to train it is asked before any image is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from selfsup.config.validation import validate
from selfsup.data.items import Item, ItemTable
from selfsup.data.rendering import Rendering
from selfsup.errors import UserError
from selfsup.execution.configuration import (
    ImagesSeen,
    require_policies,
    require_views,
    resolve_configuration,
    resolve_for_images,
)
from selfsup.execution.study_grid import lay_out
from selfsup.methods import method_class
from selfsup.record.folder import StudyFolder
from selfsup.views import ViewGroup


def refusal(**values: Any) -> str:
    with pytest.raises(UserError) as refused:
        require_views(validate({"image_size": 32, "lrs": 0.1, **values}))
    return str(refused.value)


def test_a_method_that_needs_patches_is_refused_for_a_network_without_any() -> None:
    assert refusal(methods="simclr,mae", backbones="test_resnet") == (
        "mae needs the tokens of patches that a plain vision transformer has, and 'test_resnet' has none; choose such "
        "a network, as in --backbone vit_tiny_patch16_224, or leave mae out of --methods."
    )


def test_every_method_is_accepted_for_a_vision_transformer() -> None:
    require_views(
        validate({"methods": "simclr,moco,byol,supervised,dino,mae", "backbones": "test_vit", "image_size": 32})
    )


def test_small_crops_are_refused_for_a_network_of_one_size() -> None:
    """A mixer's layers have one weight for every patch of the image."""
    said = refusal(methods="dino", backbones="mixer_s16_224", image_size=64)
    assert said.startswith("dino has views of 24 px beside those of 64 px, and 'mixer_s16_224' takes one size only")
    assert "or leave dino out of --methods" in said


def test_a_method_that_several_devices_cannot_train_is_refused_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    cls = method_class("simclr")
    monkeypatch.setattr(cls, "tags", type(cls.tags)(can_distribute=False))
    assert "simclr cannot be trained on several devices; use --devices 1" in refusal(
        methods="simclr", backbones="test_resnet", devices=2
    )


def test_views_begin_at_whole_patches() -> None:
    require_views(validate({"methods": "simclr", "backbones": "test_vit", "image_size": 64, "grow_from": 0.6}))


def test_a_method_that_is_new_to_a_study_is_refused_for_its_network(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    folder.running.mkdir()
    begun = {"methods": "simclr", "backbones": "test_resnet", "image_size": 32}
    folder.write_config(validate(begun))
    assert resolve_configuration(folder, {**begun, "methods": "byol"}).methods == ("simclr", "byol")
    with pytest.raises(UserError, match="mae needs the tokens of patches"):
        resolve_configuration(folder, {**begun, "methods": "mae"})


def test_masks_are_refused_for_views_of_a_single_patch() -> None:
    """Of one patch none is hidden, and a loss over no patch is not a number."""
    asked = {"methods": "mae", "backbones": "test_vit", "image_size": 64}
    require_views(validate({**asked, "grow_from": 0.5}))
    assert refusal(**asked, grow_from=0.25) == (
        "mae hides some patches of a view, of which 'test_vit' has 1 in 16 px; choose larger views, or leave mae out "
        "of --methods."
    )


def test_colours_are_refused_for_other_than_three_channels_with_what_fits() -> None:
    with pytest.raises(UserError) as refused:
        require_policies(validate({"augmentations": "weak,simclr", "channels": "1,2,3,4,5"}))
    assert str(refused.value) == (
        "--augmentations simclr is for images of 3 channels, and these have 5; take crop, none, per-channel or weak, "
        "or three of the channels with --channels."
    )
    require_policies(validate({"augmentations": "weak,simclr,byol,per-channel", "channels": "5,2,1"}))


def test_policies_of_a_methods_own_are_checked_as_the_studys_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_views_by(policy: str) -> None:
        groups = (ViewGroup("global", 2), ViewGroup("local", 2, policy=policy))
        monkeypatch.setattr(method_class("simclr"), "view_groups", lambda self: groups)

    asked = {"methods": "simclr", "backbones": "test_resnet@none", "augmentations": "weak", "image_size": 32}
    with_views_by("byo")
    said = refusal(**asked)
    assert said.startswith("Unknown augmentation in the views of simclr: 'byo'. Did you mean 'byol'?")
    with_views_by("byol")
    require_views(validate(asked))
    require_policies(validate(asked))
    with pytest.raises(UserError) as refused:
        require_policies(validate({**asked, "channels": "1,2,3,4,5"}))
    assert str(refused.value) == (
        "simclr has views by 'byol', which is for images of 3 channels, and these have 5; leave simclr out of "
        "--methods, or take three of the channels with --channels."
    )


@pytest.mark.parametrize(
    ("network", "short_side", "words"),
    [
        ("test_resnet", 24, "64 px, the least that auto gives, for images of 24 px; "),
        ("test_resnet", 100, "96 px, near the images' own size; "),
        ("test_resnet", 256, "224 px, the most that auto gives; "),
        ("crossvit_9_240", 24, "240 px, as not all networks take 64 px; "),
    ],
)
def test_the_size_of_views_is_said_with_why(network: str, short_side: float, words: str) -> None:
    said: list[str] = []
    images = ImagesSeen(ItemTable.of([Item("a.png")]), Rendering(file_channels=3), [short_side])
    resolve_for_images(validate({"backbones": f"{network}@none"}), images, said.append)
    assert said == [f"Views of {words}--image-size sets another."]


def test_the_strong_augmentation_of_the_presets_follows_the_channels() -> None:
    assert set(validate({}).policies) == {"weak", "simclr"}
    five = validate({}).with_channels_of(5)
    assert set(five.policies) == {"weak", "per-channel"}
    require_policies(five)
    (notice, *_) = lay_out(five.model_copy(update={"lrs": (0.1,), "methods": ("simclr",)}), labelled=True).notices
    assert notice.startswith("The images have 5 channels, so the strong augmentation is 'per-channel'")


def test_channels_are_numbers_from_1() -> None:
    assert validate({"channels": "4,3,2"}).channels == (4, 3, 2)
    for given in ("0", "red", "", "-1"):
        with pytest.raises(UserError, match="must be numbers of channels, from 1"):
            validate({"channels": given})
    with pytest.raises(UserError, match="--show-channels = '1,2,3,4' does not fit: must be one to three"):
        validate({"show_channels": "1,2,3,4"})


def test_another_metric_is_refused_once_trainings_were_compared_by_one(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "study")
    folder.create()
    begun = {"methods": "random", "backbones": "test_resnet", "image_size": 32, "metric": "accuracy"}
    folder.write_config(validate(begun))
    assert resolve_configuration(folder, {"metric": "auroc"}).metric == "auroc"
    cell = folder.cells / "moco-test_resnet-weak-lr0.1-n5-s0"
    cell.mkdir(parents=True)
    (cell / "metrics.json").write_text('{"cell": "moco", "status": "pruned", "rung_scores": {"3": 0.5}}')
    assert resolve_configuration(folder, {"metric": "accuracy"}).metric == "accuracy"
    with pytest.raises(
        UserError, match=r"metric: trainings were compared by 'accuracy' when they were stopped early, 'auroc' now"
    ):
        resolve_configuration(folder, {"metric": "auroc"})


def test_a_study_of_a_device_that_is_not_here_is_refused_with_where_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    folder = StudyFolder(tmp_path)
    folder.running.mkdir()
    folder.write_config(validate({"methods": "random", "backbones": "test_resnet", "device": "cuda", "image_size": 32}))
    with pytest.raises(UserError, match="was begun on cuda in auto, which this machine cannot do; go on with it where"):
        resolve_configuration(folder, {"device": "auto"})
    assert resolve_configuration(folder, {"device": "auto"}, here=False).device == "cuda"
