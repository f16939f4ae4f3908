"""What holds of every loss and every set of proposals."""

import math

import array_api_strict
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minirpn import boxes
from minirpn.backend import to_host
from minirpn.rpn import (
    AnchorConfig,
    LossConfig,
    ProposalConfig,
    base_anchors,
    grid_anchors,
    propose,
    rpn_loss_backward,
    rpn_loss_forward,
    trace_proposals,
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


@given(
    st.lists(st.sampled_from([15.0, 15.75, 16.0, 16.25, 32.0]), min_size=2, max_size=20),
    st.sampled_from([15.75, 16.0, 16.25]),
    st.sampled_from([0.5, 1.0, 2.0]),
    SCORES,
)
def test_a_side_of_just_the_smallest_size_is_kept(sides, min_size, scale, scores):
    K = len(sides) // 2
    width, height = np.array(sides[:K]) * scale, np.array(sides[K : 2 * K]) * scale
    left = np.arange(K) * 70.0  # far from one another, so that NMS drops none
    anchors = np.stack([left, 0 * left, left + width, height], axis=1)
    config = ProposalConfig(min_size=min_size)
    objectness = np.zeros((K, scores))
    found = trace_proposals(
        anchors, objectness, np.zeros((K, 4)), (200, 2000), scale=scale, config=config
    )
    large = np.flatnonzero((width >= min_size * scale) & (height >= min_size * scale))
    np.testing.assert_array_equal(found.anchors, large)
    np.testing.assert_array_equal(found.boxes, anchors[large])
    np.testing.assert_array_equal(found.scores, 0.5)


def log_loss(logits, label):
    """Return -log of the probability of the label's class, in plain floats."""
    other, own = (logits if len(logits) == 2 else (0.0, logits[0]))[:: 1 if label else -1]
    return math.log1p(math.exp(-abs(own - other))) + max(other - own, 0)


def smooth_l1(x, sigma):
    """Return smooth L1 of a number, in plain floats."""
    return (sigma * x) ** 2 / 2 if abs(x) < 1 / sigma**2 else abs(x) - 0.5 / sigma**2


@given(LABELS, SCORES, SEEDS, FORMS, st.integers(1, 50), st.sampled_from([1.0, 10.0]))
def test_the_loss_is_that_of_the_words(close, labels, scores, seed, form, locations, balance):
    objectness, deltas, labels, targets = drawn(labels, scores, seed)
    config = LossConfig(form=form, balance=balance, n_cls=100)
    loss, _ = rpn_loss_forward(
        objectness, deltas, labels, targets, locations=locations, config=config
    )
    sampled = max(int(np.sum(labels != IGNORE)), 1)
    n_cls, n_reg, weight, sigma = 100, locations, balance, 1.0
    if form == "released":  # both terms over the sampled anchors, not over the positive ones
        n_cls, n_reg, weight, sigma = sampled, sampled, 1.0, 3.0
    of_class = [
        log_loss(logits.tolist(), label == POSITIVE)
        for logits, label in zip(objectness, labels, strict=True)
        if label != IGNORE
    ]
    of_boxes = [smooth_l1(x, sigma) for x in (deltas - targets)[labels == POSITIVE].flat]
    close(np.asarray(loss.objectness), math.fsum(of_class) / n_cls)
    close(np.asarray(loss.box), weight * math.fsum(of_boxes) / n_reg)


def test_the_loss_of_the_paper_divides_by_256_and_weighs_by_10():
    config = LossConfig()
    assert (config.form, config.n_cls, config.balance, config.sigma) == ("paper", 256, 10, 1)
    assert LossConfig(form="released").sigma == 3


@given(SEEDS, SCORES)
def test_anchors_that_cross_the_border_give_no_proposals_where_asked(seed, scores):
    rng, size = np.random.default_rng(seed), (96, 128)
    anchors = grid_anchors(base_anchors(AnchorConfig(scales=(2, 4))), (6, 8), 16)
    K = len(anchors)
    outputs = rng.normal(scale=3, size=(K, scores)), rng.normal(scale=0.3, size=(K, 4))
    found = trace_proposals(anchors, *outputs, size, config=ProposalConfig(inside_only=True))
    inside = np.flatnonzero(boxes.is_inside(anchors, size))
    expected = trace_proposals(anchors[inside], *(part[inside] for part in outputs), size)
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.anchors, inside[expected.anchors])
    # Without being asked, the others give some as well.
    every = trace_proposals(anchors, *outputs, size)
    assert not np.isin(every.anchors, inside).all()


@given(SEEDS, SCORES)
def test_proposals_are_the_steps_one_after_the_other(seed, scores):
    rng, size = np.random.default_rng(seed), (96, 128)
    anchors = grid_anchors(base_anchors(AnchorConfig(scales=(2, 4))), (6, 8), 16)
    K = len(anchors)
    objectness, deltas = rng.integers(-2, 3, (K, scores)) * 1.0, rng.normal(scale=0.3, size=(K, 4))
    config = ProposalConfig(pre_nms=60, post_nms=20, min_size=20.0)
    found = trace_proposals(anchors, objectness, deltas, size, config=config)
    decoded = boxes.clip(boxes.decode(anchors, deltas), size)
    sides = decoded[:, 2:] - decoded[:, :2]
    left = [k for k in range(K) if min(sides[k]) >= 20]
    logits = objectness[:, -1] - (objectness[:, 0] if scores == 2 else 0)
    left.sort(key=lambda k: -logits[k])  # ties keep the order of the anchors
    kept = []
    for k in left[:60]:
        overlaps = [boxes.iou(decoded[k][None], decoded[j][None]).item() for j in kept]
        if len(kept) < 20 and all(overlap <= 0.7 for overlap in overlaps):
            kept.append(k)
    np.testing.assert_array_equal(found.anchors, kept)
    np.testing.assert_array_equal(found.boxes, decoded[kept])
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp(-logits[kept])))


def strict(array):
    """Return the array in another library, on the device that stands for a GPU."""
    return array_api_strict.asarray(array, device=array_api_strict.Device("device1"))


@given(LABELS, SCORES, SEEDS, FORMS)
def test_the_loss_is_the_same_in_any_array_library(close, labels, scores, seed, form):
    arrays = drawn(labels, scores, seed)
    config = LossConfig(form=form)
    expected, cache = rpn_loss_forward(*arrays, locations=9, config=config)
    loss, other = rpn_loss_forward(*map(strict, arrays), locations=9, config=config)
    for one, two in zip(loss, expected, strict=True):
        close(to_host(one), two)
    grads = rpn_loss_backward(1.0, other)
    for one, two in zip(grads, rpn_loss_backward(1.0, cache), strict=True):
        close(to_host(one), two)
