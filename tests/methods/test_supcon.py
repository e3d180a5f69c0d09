"""SupCon: labels as positives, and so a training of its own for every number of labels."""

from __future__ import annotations

import copy

import torch

from selfsup.config.grid import expand, group_jobs
from selfsup.config.network_source import NetworkSource
from selfsup.methods import method_class
from selfsup.methods.parts.contrast import nt_xent, supervised_contrast
from selfsup.testing.methods import BATCH, batch_of, batch_of_digits, build

SupCon = method_class("supcon")


def test_loss_is_the_papers_of_the_projections_and_labels() -> None:
    method = build(SupCon, temperature=0.3)
    by_hand = copy.deepcopy(method)
    views, labels = batch_of_digits(2)
    loss = method.loss(batch_of(views, labels)).loss
    projections = by_hand.projector(by_hand.backbone(torch.cat(views)))
    assert loss.item() == supervised_contrast(projections, labels, 0.3).item()


def test_with_as_many_classes_as_images_it_is_simclr() -> None:
    views, _ = batch_of_digits(2)
    method = build(SupCon)
    projections = copy.deepcopy(method).projector(copy.deepcopy(method).backbone(torch.cat(views)))
    loss = method.loss(batch_of(views, torch.arange(BATCH))).loss
    torch.testing.assert_close(loss, nt_xent(projections, 0.2))


def test_each_number_of_labels_is_a_training_of_its_own_as_for_supervised() -> None:
    names = ("supcon", "supervised", "simclr")
    tags = {name: method_class(name).tags for name in names}
    cells = expand(
        methods=names, backbones=[NetworkSource("resnet18", "none")], augmentations=["weak"], lrs=[0.1],
        per_class=[5, 20, "all"], seeds=1, tags=tags,
    )  # fmt: skip
    jobs = group_jobs(cells, protocol="label-efficiency", tags=tags)
    trainings = {name: [len(job.cells) for job in jobs if job.cells[0].method == name] for name in names}
    assert trainings == {"supcon": [1, 1, 1], "supervised": [1, 1, 1], "simclr": [3]}
