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


def test_the_classifier_has_one_output_per_class() -> None:
    method = build(method_class("supervised"))
    assert method.classifier.out_features == CLASSES
    assert method.classifier.in_features == method.backbone.num_features


def test_the_embedding_is_what_stands_before_the_classifier() -> None:
    method = build(method_class("supervised")).eval()
    views, labels = batch_of_digits(1)
    assert torch.equal(method.loss(batch_of(views, labels)).embedding, method.backbone(views[0]))
