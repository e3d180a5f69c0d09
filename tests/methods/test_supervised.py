"""The supervised bar: plain cross entropy of a linear classifier on the embedding."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from selfsup.methods import method_class
from selfsup.testing.methods import CLASSES, batch_of, batch_of_digits, build


def test_loss_is_the_mean_negative_log_probability_of_the_true_class() -> None:
    method = build(method_class("supervised"))
    by_hand = copy.deepcopy(method)
    views, labels = batch_of_digits(1)
    step = method.loss(batch_of(views, labels))
    logits = by_hand.classifier(by_hand.backbone(views[0])).detach().double().numpy()
    exp = np.exp(logits)
    probability = (exp / exp.sum(axis=1, keepdims=True))[np.arange(len(labels)), labels.numpy()]
    assert step.loss.item() == pytest.approx(-np.log(probability).mean(), rel=1e-5)


def test_of_several_labels_the_loss_is_the_mean_binary_cross_entropy_of_each() -> None:
    method = build(method_class("supervised"))
    by_hand = copy.deepcopy(method)
    views, _ = batch_of_digits(1)
    labels = torch.rand(len(views[0]), CLASSES, generator=torch.Generator().manual_seed(0)) < 0.3
    logits = by_hand.classifier(by_hand.backbone(views[0])).detach().double().numpy()
    probability = 1 / (1 + np.exp(-logits))
    expected = -np.where(labels.numpy(), np.log(probability), np.log(1 - probability)).mean()
    assert method.loss(batch_of(views, labels)).loss.item() == pytest.approx(expected, rel=1e-5)


def test_the_classifier_has_one_output_per_class() -> None:
    method = build(method_class("supervised"))
    assert method.classifier.out_features == CLASSES
    assert method.classifier.in_features == method.backbone.num_features


def test_the_embedding_is_what_stands_before_the_classifier() -> None:
    method = build(method_class("supervised")).eval()
    views, labels = batch_of_digits(1)
    assert torch.equal(method.loss(batch_of(views, labels)).embedding, method.backbone(views[0]))
