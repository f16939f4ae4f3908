"""Eq. 1 anchor by anchor: the pieces add up to the loss, and its gradient is theirs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn.explain import class_losses, terms_of
from minirpn.rpn import LossConfig, rpn_loss_backward, rpn_loss_forward
from minirpn.rpn.targets import IGNORE, NEGATIVE, POSITIVE

LABELS = st.lists(st.sampled_from([POSITIVE, NEGATIVE, IGNORE]), min_size=0, max_size=40)
SEEDS = st.integers(0, 2**32 - 1)
SCORES = st.sampled_from([1, 2])
CONFIGS = st.sampled_from([LossConfig(), LossConfig(form="released"), LossConfig(n_cls=7)])


def drawn(labels, scores, seed):
    rng = np.random.default_rng(seed)
    K = len(labels)
    objectness = rng.normal(scale=5, size=(K, scores))
    return objectness, rng.normal(size=(K, 4)), np.array(labels, np.int8), rng.normal(size=(K, 4))


@given(LABELS, SCORES, SEEDS, CONFIGS)
def test_contributions_add_up_to_the_loss(labels, scores, seed, config):
    outputs = drawn(labels, scores, seed)
    loss, _ = rpn_loss_forward(*outputs, locations=9, config=config)
    terms = terms_of(*outputs, locations=9, config=config)
    of_objectness, of_boxes = terms.contributions.sum(axis=0)
    np.testing.assert_allclose(of_objectness, loss.objectness, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(of_boxes, loss.box, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(terms.contributions.sum(), loss.total, rtol=1e-12, atol=1e-13)


@given(LABELS, SCORES, SEEDS, CONFIGS)
def test_only_sampled_anchors_have_a_loss_and_only_positives_one_of_boxes(
    labels, scores, seed, config
):
    terms = terms_of(*drawn(labels, scores, seed), locations=9, config=config)
    labels = np.array(labels)
    np.testing.assert_array_equal(terms.class_losses > 0, labels != IGNORE)
    np.testing.assert_array_equal(terms.box_losses.any(axis=1), labels == POSITIVE)


@given(st.sampled_from([POSITIVE, NEGATIVE, IGNORE]), SCORES, SEEDS, CONFIGS)
def test_the_gradient_of_an_anchor_is_the_slope_of_its_contribution(label, scores, seed, config):
    objectness, deltas, labels, targets = drawn([label, POSITIVE, NEGATIVE], scores, seed)
    # Away from the point where smooth L1 turns linear, at 1 or 1/9.
    deltas = targets + np.random.default_rng(seed).choice([-2.0, -0.05, 0.05, 0.5], (3, 4))
    _, cache = rpn_loss_forward(objectness, deltas, labels, targets, locations=9, config=config)
    grads = rpn_loss_backward(1.0, cache)

    def slope(moved, i):
        def cost(by):
            at = [objectness.copy(), deltas.copy()]
            at[moved][0, i] += by
            return terms_of(*at, labels, targets, locations=9, config=config).contributions[0].sum()

        return (cost(1e-5) - cost(-1e-5)) / 2e-5

    slopes = [slope(0, i) for i in range(scores)]
    np.testing.assert_allclose(grads.dobjectness[0], slopes, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(grads.ddeltas[0], [slope(1, i) for i in range(4)], atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_class_losses_by_hand(dtype):
    # p = 0.75: -log p as positive, -log 0.25 as negative; a logit is log(p / (1 - p)).
    two = np.log(np.array([[0.25, 0.75]] * 3)).astype(dtype)
    one = np.log(np.array([[3.0]] * 3)).astype(dtype)
    labels = np.array([POSITIVE, NEGATIVE, IGNORE], np.int8)
    for objectness in (two, one):
        losses = class_losses(objectness, labels)
        assert losses.dtype == dtype
        np.testing.assert_allclose(losses, [-np.log(0.75), -np.log(0.25), 0], rtol=2e-6)


def test_no_score_is_too_large():
    objectness = np.array([[0.0, 2000], [0.0, 2000]])
    losses = class_losses(objectness, np.array([POSITIVE, NEGATIVE], np.int8))
    np.testing.assert_array_equal(losses, [0, 2000])
