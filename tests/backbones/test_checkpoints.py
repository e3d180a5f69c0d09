"""Files of other tools: numbered parts, other sides, other networks, and values that are none."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from timm.layers import resample_abs_pos_embed, resample_patch_embed
from torch import Tensor, nn

from selfsup.backbones import Backbone, build_backbone, load_weights
from selfsup.errors import UserError


def resnet(size: int = 18) -> nn.Module:
    torch.manual_seed(size)
    return getattr(torchvision.models, f"resnet{size}")()


def saved(state: dict[str, object] | nn.Module, folder: Path) -> Path:
    torch.save(state.state_dict() if isinstance(state, nn.Module) else state, folder / "weights.pth")
    return folder / "weights.pth"


def fresh(name: str = "resnet18", side: int = 32) -> Backbone:
    torch.manual_seed(0)
    return build_backbone(name, image_size=side)


def as_lightly_stores(network: nn.Module, parts: int = 9) -> nn.Module:
    """The parts of a ResNet but its classifier in a Sequential, under the heads of a SimCLR."""
    backbone = nn.Sequential(*list(network.children())[:parts])
    return nn.ModuleDict(OrderedDict(backbone=backbone, projection_head=nn.Sequential(nn.Linear(512, 128))))


def test_a_sequential_of_numbered_parts_is_loaded_by_their_order(tmp_path: Path) -> None:
    donor, backbone = resnet(), fresh()
    report = load_weights(backbone, saved(as_lightly_stores(donor), tmp_path))
    assert str(report) == "120 tensors loaded from below 'backbone.', numbered parts by their order"
    images = torch.rand(3, 3, 32, 32)
    expected = nn.Sequential(*list(donor.eval().children())[:-1], nn.Flatten())(images)
    torch.testing.assert_close(backbone.eval().network(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("donor", "parts"), [(18, 7), (34, 9)], ids=["a part is missing", "another network"])
def test_numbered_parts_that_are_not_the_networks_are_refused_with_what_they_are(
    tmp_path: Path, donor: int, parts: int
) -> None:
    file = saved(as_lightly_stores(resnet(donor), parts), tmp_path)
    with pytest.raises(UserError, match=r"tensors, as 'backbone\.0\.weight' \(64 x 3 x 7 x 7\), "):
        load_weights(fresh(), file)


def test_position_embeddings_of_another_side_are_resampled_as_timm_does(tmp_path: Path) -> None:
    torch.manual_seed(1)
    donor = timm.create_model("test_vit", img_size=224)
    backbone = fresh("test_vit", 96)
    report = load_weights(backbone, saved({"model": donor.state_dict()}, tmp_path))
    assert "; 1 resampled to the views' size (pos_embed)" in str(report)
    expected = resample_abs_pos_embed(donor.pos_embed, (6, 6), (14, 14), num_prefix_tokens=1)
    torch.testing.assert_close(backbone.network.pos_embed, expected)
    assert torch.equal(backbone.network.blocks[0].attn.qkv.weight, donor.blocks[0].attn.qkv.weight)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_patches_of_another_side_are_of_another_network_and_resampled_only_if_asked_to(
    tmp_path: Path, prefix: str
) -> None:
    torch.manual_seed(1)
    donor = timm.create_model("test_vit", patch_size=8)
    backbone = fresh("test_vit", 96)
    file = saved({f"{prefix}{name}": tensor for name, tensor in donor.state_dict().items()}, tmp_path)
    with pytest.raises(UserError, match=r"77 of its 78 tensors do; 1 mismatched \(patch_embed.proj.weight\); name the"):
        load_weights(backbone, file)
    assert "2 resampled" in str(load_weights(backbone, file, partial=True))
    expected = resample_patch_embed(donor.patch_embed.proj.weight, [16, 16])
    torch.testing.assert_close(backbone.network.patch_embed.proj.weight, expected)


def test_patches_that_are_rows_in_an_old_file_are_the_same_patches(tmp_path: Path) -> None:
    state = timm.create_model("test_vit").state_dict()
    rows = {**state, "patch_embed.proj.weight": state["patch_embed.proj.weight"].flatten(1)}
    backbone = fresh("test_vit", 160)
    assert str(load_weights(backbone, saved(rows, tmp_path))) == "78 tensors loaded"
    assert torch.equal(backbone.network.patch_embed.proj.weight, state["patch_embed.proj.weight"])


@pytest.mark.parametrize(("name", "of", "side"), [("test_vit_relpos", 224, 96), ("eva02_tiny_patch14_224", 224, 112)])
def test_families_of_other_position_embeddings_are_taken_at_another_side(
    tmp_path: Path, name: str, of: int, side: int
) -> None:
    donor = timm.create_model(name, img_size=of)
    report = load_weights(fresh(name, side), saved(donor, tmp_path))
    assert report.missing == report.unexpected == report.mismatched == ()


@pytest.mark.parametrize(("given", "wanted"), [("34", "18"), ("18", "34")])
def test_a_larger_networks_weights_in_a_smaller_one_and_the_reverse_are_refused(
    tmp_path: Path, given: str, wanted: str
) -> None:
    file, backbone = saved(resnet(int(given)), tmp_path), fresh(f"resnet{wanted}")
    before = backbone.network.layer4[1].conv1.weight.clone()
    with pytest.raises(
        UserError, match=r"do not fit resnet[0-9]{2}: 1[0-9]{2} of its [0-9]{3} tensors do; .*--allow-partial-weights"
    ):
        load_weights(backbone, file)
    assert torch.equal(backbone.network.layer4[1].conv1.weight, before)
    load_weights(backbone, file, partial=True)
    assert not torch.equal(backbone.network.layer4[1].conv1.weight, before)


def test_a_refusal_has_one_tensor_of_each_kind_and_no_counts_of_batches(tmp_path: Path) -> None:
    """Names of resnet50 that resnet18 has not: a third convolution, five tensors of its norm and its counter, …"""
    donor, own = resnet(50).state_dict(), resnet(18).state_dict()
    others = [k for k in donor if k not in own and "num_batches" not in k and not k.startswith("fc.")]
    shapes = [k for k in donor if k in own and donor[k].shape != own[k].shape]
    fitting = sum(k in own and donor[k].shape == own[k].shape for k in donor if not k.startswith("fc."))
    with pytest.raises(UserError) as refused:
        load_weights(fresh("resnet18"), saved(donor, tmp_path))
    assert (
        f"do not fit resnet18: {fitting} of its 120 tensors do; {len(others)} unexpected ({others[0]}, …), "
        f"{len([k for k in shapes if not k.startswith('fc.')])} mismatched ({shapes[0]}, …); name the network"
    ) in str(refused.value)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    state: dict[str, Tensor] = resnet().state_dict()
    state["layer2.0.conv1.weight"][0, 0, 0, 0] = torch.nan
    with pytest.raises(UserError, match=r"1 of the tensors in '.*' hold values that are not finite .*layer2\.0\.conv1"):
        load_weights(fresh(), saved(state, tmp_path))


@pytest.mark.parametrize("kind", ["float8", "int8", "complex", "sparse", "meta"])
def test_tensors_that_are_no_weights_as_they_are_are_refused(tmp_path: Path, kind: str) -> None:
    weight = resnet().conv1.weight.detach()
    made = {
        "float8": lambda: weight.to(torch.float8_e4m3fn),
        "int8": lambda: weight.to(torch.int8),
        "complex": lambda: weight.to(torch.complex64),
        "sparse": lambda: weight.to_sparse(),
        "meta": lambda: weight.to("meta"),
    }[kind]()
    file = saved({**resnet().state_dict(), "conv1.weight": made}, tmp_path)
    with pytest.raises(
        UserError, match=r"1 of the tensors in '.*' are no weights that .*, as 'conv1\.weight' \(torch\."
    ):
        load_weights(fresh(), file)


def test_a_file_that_holds_itself_is_refused(tmp_path: Path) -> None:
    state: dict[str, object] = dict(resnet().state_dict())
    state["again"] = state
    with pytest.raises(UserError, match=r"is not a safetensors file or a torch state dict .*RecursionError"):
        load_weights(fresh(), saved(state, tmp_path))


@pytest.mark.parametrize(("name", "first"), [("test_resnet", "conv1.0"), ("test_vit", "patch_embed.proj")])
def test_a_first_layer_for_three_channels_is_adapted_to_others_as_timm_does(
    tmp_path: Path, name: str, first: str
) -> None:
    """The first layer's weights for red, green and blue come again for the fourth and fifth channel, times 3/5."""
    torch.manual_seed(1)
    donor = timm.create_model(name, num_classes=0)
    side = donor.pretrained_cfg["input_size"][-1]
    backbone = build_backbone(name, image_size=side, in_channels=5)
    report = load_weights(backbone, saved(donor, tmp_path))
    assert str(report).endswith(f"; 1 adapted to the images' channels ({first}.weight)")
    five = torch.rand(2, 5, side, side)
    three = five[:, :3].clone()
    three[:, :2] += five[:, 3:]
    expected = donor.eval()(three * 3 / 5)
    torch.testing.assert_close(backbone.eval().network(five), expected, rtol=1e-3, atol=1e-4)


def test_weights_of_as_many_channels_are_taken_as_they_are(tmp_path: Path) -> None:
    donor = build_backbone("test_resnet", image_size=32, in_channels=5)
    backbone = build_backbone("test_resnet", image_size=32, in_channels=5)
    report = load_weights(backbone, saved(donor.network, tmp_path))
    assert report.adapted == ()
    assert torch.equal(backbone.network.conv1[0].weight, donor.network.conv1[0].weight)
