"""The grid of a study: each method at its own rates, and by its own views where it has them."""

from __future__ import annotations

from typing import Any

import pytest

from selfsup.config.validation import validate
from selfsup.errors import UserError
from selfsup.execution.study_grid import GridOfStudy, lay_out


def grid(**values: Any) -> GridOfStudy:
    known = {"image_size": 32, "per_class": 5, "augmentations": "weak", "batch_size": 128, "references": "none"}
    return lay_out(validate({**known, **values}), labelled=True)


def test_multiples_are_of_the_recipe_for_the_kind_of_network_and_the_batch() -> None:
    """SimCLR: 0.06 at a batch of 256 for convolutions, AdamW at 5e-4 for transformers, both growing with the batch."""
    rates = {
        name: [cell.lr for cell in grid(methods="simclr", lrs="0.5x,1x", backbones=name).cells]
        for name in ("test_resnet", "test_vit")
    }
    assert rates == {"test_resnet": [0.015, 0.03], "test_vit": [0.000125, 0.00025]}


def test_numbers_are_the_same_for_every_method() -> None:
    cells = grid(methods="simclr,dino", lrs="0.1,1", backbones="test_resnet").cells
    assert [(cell.method, cell.lr) for cell in cells] == [
        ("simclr", 0.1), ("simclr", 1.0), ("dino", 0.1), ("dino", 1.0)
    ]  # fmt: skip


def test_it_is_said_which_methods_make_views_of_their_own() -> None:
    made = grid(methods="mae,simclr", lrs="1x", backbones="test_vit")
    assert {cell.augmentation for cell in made.cells if cell.method == "mae"} == {"crop"}
    assert "--augmentations does not apply to mae (views by 'crop')." in made.notices
    assert grid(methods="simclr", lrs="1x", backbones="test_vit").notices == ()


def test_multiples_are_refused_where_the_optimizer_is_another_than_the_recipes() -> None:
    with pytest.raises(UserError) as refused:
        grid(methods="simclr", lrs="1x", backbones="test_resnet", settings={"simclr": {"optimizer": "lars"}})
    assert str(refused.value) == (
        "--lrs 1x are multiples of the rate that simclr has with sgd, and --set simclr.optimizer=lars needs another; "
        "give --lrs as numbers."
    )
    adam = grid(methods="mae", lrs="1x", backbones="test_vit", settings={"mae": {"optimizer": "adam"}})
    assert {cell.lr for cell in adam.cells} == {7.5e-5}


def test_frozen_without_weights_is_left_out_where_random_is_asked_for_and_that_is_said_in_a_line() -> None:
    networks = "test_resnet@none,test_resnet@imagenet,test_vit@none"
    made = grid(methods="frozen,random", lrs="0.1", backbones=networks)
    assert [(cell.method, cell.backbone) for cell in made.cells] == [
        ("random", "test_resnet"), ("frozen", "test_resnet@imagenet"), ("random", "test_vit")
    ]  # fmt: skip
    assert made.notices == ("frozen of test_resnet, test_vit is left out: it has no weights, and would be `random`.",)
    assert grid(methods="frozen,random", lrs="0.1", backbones="test_resnet@imagenet").notices == ()


def test_where_frozen_alone_is_asked_for_what_is_compared_instead_is_said() -> None:
    made = grid(methods="frozen", lrs="0.1", backbones="test_resnet@none")
    assert [cell.id for cell in made.cells] == ["random-test_resnet-n5-s0"]
    assert [cell for job in made.jobs for cell in job.cells] == list(made.cells)
    assert made.notices == ("frozen of test_resnet has no weights, and would be `random`, which is compared instead.",)


def test_what_needs_labels_is_said_to_have_no_effect_without_them() -> None:
    asked = {"knn_every": 5, "patience": 3, "metric": "auroc", "evaluate": "finetune,layers", "epochs": 50}
    known = {"methods": "simclr", "backbones": "test_resnet", "image_size": 32, "references": "none", "lrs": 0.1}
    notices = lay_out(validate({**known, **asked}), labelled=False).notices
    assert (
        "Without effect, for want of labels: --evaluate finetune,layers, --knn-every 5, --patience 3, --metric auroc."
        in notices
    )
    assert not any("Without effect" in notice for notice in lay_out(validate(known), labelled=False).notices)
