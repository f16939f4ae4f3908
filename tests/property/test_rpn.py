"""What holds of every loss and every set of proposals."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minirpn import boxes
from minirpn.rpn import (
    AnchorConfig,
    LossConfig,
    ProposalConfig,
    base_anchors,
    grid_anchors,
    propose,
    rpn_loss_backward,
    rpn_loss_forward,
)
from minirpn.rpn.targets import IGNORE, NEGATIVE, POSITIVE

SEEDS = st.integers(0, 2**32 - 1)
LABELS = st.lists(st.sampled_from([POSITIVE, NEGATIVE, IGNORE]), min_size=1, max_size=40)
FORMS = st.sampled_from(["paper", "released"])
SCORES = st.sampled_from([1, 2])


def drawn(labels, scores, seed, scale=5.0):
    rng = np.random.default_rng(seed)
    K = len(labels)
    objectness = rng.normal(scale=scale, size=(K, scores))
    return objectness, rng.normal(size=(K, 4)), np.array(labels, np.int8), rng.normal(size=(K, 4))


@given(LABELS, SCORES, SEEDS, FORMS)
def test_no_loss_is_negative(labels, scores, seed, form):
    loss, _ = rpn_loss_forward(
        *drawn(labels, scores, seed), locations=9, config=LossConfig(form=form)
    )
    assert loss.objectness >= 0
    assert loss.box >= 0
    assert loss.total == loss.objectness + loss.box


@given(LABELS, SCORES, SEEDS, FORMS)
def test_perfect_answers_cost_nothing(labels, scores, seed, form):
    _, _, labels, targets = drawn(labels, scores, seed)
    sure = np.where(labels == POSITIVE, 800.0, -800.0)[:, None]
    objectness = sure if scores == 1 else np.concatenate([-sure, sure], axis=1)
    loss, cache = rpn_loss_forward(
        objectness, targets, labels, targets, locations=9, config=LossConfig(form=form)
    )
    assert loss == (0.0, 0.0, 0.0)
    assert not any(grad.any() for grad in rpn_loss_backward(1.0, cache))


@given(LABELS, SCORES, SEEDS, FORMS)
def test_what_is_not_sampled_neither_costs_nor_learns(labels, scores, seed, form):
    objectness, deltas, labels, targets = drawn(labels, scores, seed)
    config = LossConfig(form=form)
    loss, cache = rpn_loss_forward(objectness, deltas, labels, targets, locations=9, config=config)
    grads = rpn_loss_backward(1.0, cache)
    assert not grads.dobjectness[labels == IGNORE].any()
    assert not grads.ddeltas[labels != POSITIVE].any()
    elsewhere = objectness + 7 * (labels == IGNORE)[:, None]
    moved = deltas + 7 * (labels != POSITIVE)[:, None]
    again, _ = rpn_loss_forward(elsewhere, moved, labels, targets, locations=9, config=config)
    assert again == loss


@given(LABELS, SEEDS, FORMS)
def test_the_order_of_anchors_does_not_matter(labels, seed, form):
    arrays = drawn(labels, 2, seed)
    order = np.random.default_rng(seed).permutation(len(labels))
    config = LossConfig(form=form)
    loss, _ = rpn_loss_forward(*arrays, locations=9, config=config)
    shuffled, _ = rpn_loss_forward(*(a[order] for a in arrays), locations=9, config=config)
    np.testing.assert_allclose(shuffled, loss, rtol=1e-12, atol=1e-15)


@given(SEEDS, st.integers(1, 400), st.integers(1, 50), st.booleans(), SCORES)
def test_proposals_are_what_was_promised(seed, pre_nms, post_nms, inside_only, scores):
    rng = np.random.default_rng(seed)
    size = (96, 128)
    anchors = grid_anchors(base_anchors(AnchorConfig(scales=(2, 4))), (6, 8), 16)
    K = len(anchors)
    config = ProposalConfig(pre_nms=pre_nms, post_nms=post_nms, inside_only=inside_only)
    found, probability = propose(
        anchors,
        rng.normal(scale=3, size=(K, scores)),
        rng.normal(scale=0.3, size=(K, 4)),
        size,
        config=config,
    )
    assert len(found) == len(probability) <= min(pre_nms, post_nms)
    np.testing.assert_array_equal(boxes.clip(found, size), found)
    assert np.all(found[:, 2:] - found[:, :2] >= config.min_size)
    assert np.all(np.diff(probability) <= 0)
    assert np.all((probability >= 0) & (probability <= 1))
    overlap = boxes.iou(found, found) - np.eye(len(found))
    assert np.all(overlap <= config.iou_threshold)
