"""What a backbone shows beside its embedding: tokens, levels, other sides and channels."""

from __future__ import annotations

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from selfsup.backbones import Backbone, build_backbone
from selfsup.testing.backbones import tiny_backbone, tiny_transformer

VIT, CNN = "test_vit", "test_resnet"


def build(name: str, **options) -> Backbone:
    torch.manual_seed(0)
    return build_backbone(name, image_size=32, **options).eval()


def images(count: int = 3, channels: int = 3, side: int = 32) -> Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(1))


def test_the_tokens_pooled_are_the_embedding() -> None:
    backbone = build(VIT)
    tokens = backbone.tokens(images())
    assert backbone.patch_size == 16
    assert tokens.patches.shape == (3, 4, backbone.num_features)
    assert tokens.prefix.shape == (3, 1, backbone.num_features)
    torch.testing.assert_close(backbone.pool(tokens), backbone(images()))


def test_patches_that_are_left_out_are_not_seen() -> None:
    """Kept patches have the tokens that they have in an image whose other patches are anything."""
    backbone, pictures = build(VIT), images()
    keep = torch.tensor([[0, 3], [1, 2], [3, 0]])
    kept = backbone.tokens(pictures, keep=keep)
    assert kept.patches.shape == (3, 2, backbone.num_features)
    changed = pictures.clone()
    changed[0, :, :16, 16:] = 0.5  # patch 1 of the first image, which is not kept
    assert torch.equal(backbone.tokens(changed, keep=keep).patches[0], kept.patches[0])
    changed[0, :, :16, :16] = 0.5  # patch 0, which is
    assert not torch.allclose(backbone.tokens(changed, keep=keep).patches[0], kept.patches[0])
    with pytest.raises(TypeError, match="positional"):  # on one device as on several, which divide it by its name
        backbone.tokens(pictures, keep)  # type: ignore[misc]


def test_all_patches_kept_in_another_order_have_the_same_tokens_in_that_order() -> None:
    backbone = build(VIT)
    order = torch.tensor([2, 0, 3, 1]).expand(3, -1)
    permuted = backbone.tokens(images(), keep=order)
    torch.testing.assert_close(
        permuted.patches, backbone.tokens(images()).patches[:, [2, 0, 3, 1]], atol=1e-5, rtol=1e-4
    )


def test_a_transformer_takes_views_of_several_sides() -> None:
    backbone = build(VIT)
    assert backbone(images(side=16)).shape == backbone(images(side=48)).shape == (3, backbone.num_features)
    assert backbone.tokens(images(side=48)).patches.shape[1] == 9


def test_a_convolutional_network_has_no_tokens() -> None:
    backbone = build(CNN)
    assert backbone.patch_size is None
    assert not backbone.is_transformer
    assert build(VIT).is_transformer
    with pytest.raises(TypeError, match="no tokens"):
        backbone.tokens(images())


@pytest.mark.parametrize("name", [CNN, "tf_efficientnet_lite0", "test_byobnet"])
def test_patches_of_a_convolutional_network_are_what_its_embedding_is_the_mean_of(name: str) -> None:
    backbone = build(name)
    patches = backbone.patches(images(side=64))
    assert patches.shape == (3, 4, backbone.num_features)
    torch.testing.assert_close(patches.mean(dim=1), backbone(images(side=64)))
    features = backbone.network.forward_features(backbone.normalise(images(side=64)))
    torch.testing.assert_close(patches[:, 1], features[:, :, 0, 1])


def test_patches_come_row_by_row_whatever_the_layout() -> None:
    """A Swin transformer has its channels last."""
    backbone = build("swin_tiny_patch4_window7_224")
    pictures = images(side=64)
    features = backbone.network.forward_features(backbone.normalise(pictures))
    expected = torch.stack([features[:, row, column] for row in range(2) for column in range(2)], dim=1)
    torch.testing.assert_close(backbone.patches(pictures), expected)


def test_patches_of_a_transformer_are_its_tokens_without_the_prefix() -> None:
    backbone = build(VIT)
    torch.testing.assert_close(backbone.patches(images()), backbone.tokens(images()).patches)
    hybrid = build("vit_tiny_r_s16_p8_224")
    tokens = hybrid.network.forward_features(hybrid.normalise(images(side=64)))
    torch.testing.assert_close(hybrid.patches(images(side=64)), tokens[:, 1:])


def test_a_network_that_shows_nothing_has_its_embedding_as_its_only_patch() -> None:
    torch.manual_seed(0)
    backbone = tiny_backbone().eval()
    torch.testing.assert_close(backbone.patches(images())[:, 0], backbone(images()))


def test_levels_are_the_means_of_the_last_stages() -> None:
    backbone, seen = build(CNN), []
    stages = [getattr(backbone.network, f"layer{number}") for number in (1, 2, 3, 4)]
    for stage in stages:
        stage.register_forward_hook(lambda module, given, output: seen.append(output.mean(dim=(2, 3))))
    levels = backbone.levels(images())
    assert len(levels) == 4
    for level, expected in zip(levels, seen, strict=True):
        torch.testing.assert_close(level, expected)


def test_levels_of_a_transformer_are_means_over_its_patches() -> None:
    backbone = build(VIT)
    last = backbone.tokens(images()).patches.mean(dim=1)
    torch.testing.assert_close(backbone.levels(images())[-1], last)


def test_a_shallow_network_has_as_many_levels_as_blocks() -> None:
    assert len(tiny_transformer().levels(images()[:, :, :16, :16])) == 2


def test_patches_of_a_convolutional_networks_output_are_not_those_of_an_image() -> None:
    """Eight of the output's pixels to a patch are 64 or more of the image's."""
    assert build("vit_tiny_r_s16_p8_224").patch_size is None


@pytest.mark.parametrize("name", [VIT, CNN])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_images_may_have_other_channels_than_three(name: str, channels: int) -> None:
    backbone = build(name, in_channels=channels)
    assert backbone.in_channels == channels
    assert backbone.mean.shape == (1, channels, 1, 1)
    assert backbone(images(channels=channels)).shape == (3, backbone.num_features)


@pytest.mark.parametrize(
    ("name", "transformer"),
    [
        ("test_vit", True),
        ("test_resnet", False),
        ("cait_xxs24_224", True),
        ("resnest14d", False),
        ("test_convnext", True),
    ],
)
def test_recipes_for_transformers_are_for_all_networks_that_norm_layers_and_not_batches(
    name: str, transformer: bool
) -> None:
    assert build(name).is_transformer == transformer


def test_a_transformer_that_norms_by_root_mean_squares_is_one() -> None:
    network = VisionTransformer(
        img_size=16, patch_size=8, embed_dim=8, depth=1, num_heads=1, num_classes=0, norm_layer="rmsnorm"
    )
    assert Backbone(network, 8, (0.5,) * 3, (0.5,) * 3, image_size=16).is_transformer
