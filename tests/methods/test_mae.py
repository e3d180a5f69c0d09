"""MAE: what the encoder sees, what the decoder is given, and the loss on hidden patches."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from lightly.models.utils import patchify
from timm.models.vision_transformer import VisionTransformer

from selfsup.backbones import Backbone, build_backbone
from selfsup.errors import UserError
from selfsup.methods import Method, method_class
from selfsup.methods.mae import patches_of, reconstruction, sine_cosine
from selfsup.testing.digit_batches import BATCH
from selfsup.testing.methods import batch_for, build

MAE = method_class("mae")


def mae(**settings: object) -> Method:
    return build(MAE, decoder_dim=16, decoder_depth=1, decoder_heads=2, **settings)


def loss_by_hand(predicted: np.ndarray, patches: np.ndarray, hidden: np.ndarray) -> float:
    """Patch by patch: zero mean, unit variance (of pixels minus 1), mean square, mean over what is hidden."""
    errors = []
    for image in range(len(patches)):
        for patch in np.flatnonzero(hidden[image]):
            pixels = patches[image, patch]
            target = (pixels - pixels.mean()) / np.sqrt(pixels.var(ddof=1) + 1e-6)
            errors.append(((predicted[image, patch] - target) ** 2).mean())
    return float(np.mean(errors))


def test_the_loss_is_of_hidden_patches_alone_normalised_each_by_itself() -> None:
    rng = np.random.default_rng(0)
    predicted, patches = rng.normal(size=(5, 9, 12)), rng.uniform(size=(5, 9, 12))
    hidden = rng.random((5, 9)).argsort(axis=1) < 6
    found = reconstruction(*(torch.from_numpy(x) for x in (predicted, patches, hidden)))
    assert found.item() == pytest.approx(loss_by_hand(predicted, patches, hidden), rel=1e-5)
    predicted[~hidden] = 100.0
    again = reconstruction(*(torch.from_numpy(x) for x in (predicted, patches, hidden)))
    assert again.item() == found.item()


def test_a_whole_step_by_hand() -> None:
    method = mae()
    batch = batch_for(method)
    (images,), (hidden,) = batch.views["masked"], batch.masks["masked"]
    other = copy.deepcopy(method)
    predicted = torch.empty(BATCH, 16, 48)
    for n in range(BATCH):  # one image at a time, and its patches picked by their places
        shown, unseen = (~hidden[n]).nonzero().flatten(), hidden[n].nonzero().flatten()
        tokens = other.backbone.tokens(images[n : n + 1], keep=shown[None]).patches[0]
        decoder = other.decoder
        given = torch.empty(16, 16)
        given[shown] = decoder.embed(tokens)
        given[unseen] = decoder.mask_token[0, 0]
        given = given + sine_cosine(4, 16)
        predicted[n] = decoder.predict(decoder.norm(decoder.blocks(given[None])))[0]
    normalised = (images - 0.5) / 0.25
    patches = torch.stack(
        [normalised[:, :, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4] for y in range(4) for x in range(4)], dim=1
    )
    patches = patches.permute(0, 1, 3, 4, 2).flatten(2)
    expected = loss_by_hand(predicted.detach().double().numpy(), patches.double().numpy(), hidden.numpy())
    assert method.loss(batch).loss.item() == pytest.approx(expected, rel=1e-4)


def test_hidden_patches_change_neither_the_prediction_nor_the_embedding() -> None:
    """Only the target changes with what is hidden: nothing of it reaches the encoder."""
    method, same = mae(), mae()
    batch = batch_for(method)
    (images,), (hidden,) = batch.views["masked"], batch.masks["masked"]
    unseen = hidden.reshape(BATCH, 1, 4, 4).repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    noisy = torch.where(unseen, torch.rand_like(images), images)
    first = method.loss(batch)
    second = same.loss(batch._replace(views={"masked": [noisy]}))
    assert torch.equal(first.embedding, second.embedding)
    assert not torch.equal(first.loss, second.loss)


def test_three_quarters_of_the_patches_are_hidden_by_the_views_own_randomness() -> None:
    (group,) = mae().view_groups()
    assert group.mask is not None
    hidden = group.mask.draw(7, 16, torch.Generator().manual_seed(0))
    assert hidden.sum(dim=1).tolist() == [12] * 7
    (other,) = mae(mask_ratio=0.5).view_groups()
    assert other.mask.draw(7, 16, torch.Generator()).sum(dim=1).tolist() == [8] * 7


def test_patches_are_lightlys() -> None:
    images = torch.rand(3, 3, 12, 12)
    assert torch.equal(patches_of(images, 4), patchify(images, 4))


def test_positions_are_sines_and_cosines_of_row_and_column() -> None:
    found = sine_cosine(3, 8).numpy()
    for row in range(3):
        for column in range(3):
            expected = [f(x / 10_000 ** (k / 2)) for x in (row, column) for f in (np.sin, np.cos) for k in (0, 1)]
            np.testing.assert_allclose(found[3 * row + column], expected, atol=1e-6)


def test_it_is_refused_for_a_network_without_patches() -> None:
    with pytest.raises(AssertionError, match="tokens of a transformer"):
        build(MAE, transformer=False)


def test_its_views_are_crops_alone_whatever_the_study_asks_for() -> None:
    assert MAE.tags.augmentation == "crop"
    assert MAE.tags.needs_tokens


def test_a_network_that_pools_by_weights_of_its_own_is_refused() -> None:
    with pytest.raises(UserError, match="pools without weights"):
        MAE(build_backbone("vit_base_patch16_siglip_224", image_size=32), MAE.Settings())


def test_a_norm_behind_the_pooling_is_left_out_of_the_training() -> None:
    network = VisionTransformer(
        img_size=16, patch_size=4, embed_dim=24, depth=1, num_heads=2, num_classes=0, global_pool="avg", fc_norm=True
    )
    method = MAE(
        Backbone(network, 24, (0.5,) * 3, (0.25,) * 3, image_size=16), MAE.Settings(decoder_dim=16, decoder_depth=1)
    )
    method.loss(batch_for(method)).loss.backward()
    taking = [parameter for parameter in method.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None for parameter in taking)
    assert not any(parameter.requires_grad for parameter in network.fc_norm.parameters())
