"""What holds for any labels: the rules in exact fractions, invariants, counts of the sample."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn import accel, boxes
from minirpn.accel.implementation import numba_available
from minirpn.rpn import (
    IGNORE,
    NEGATIVE,
    POSITIVE,
    LabelConfig,
    SamplingConfig,
    anchor_targets,
    label_anchors,
    sample_minibatch,
)
from minirpn.testing import exact, strategies

IMPLEMENTATIONS = pytest.mark.parametrize(
    "implementation",
    [
        "loops",
        "array",
        pytest.param("numba", marks=pytest.mark.skipif(not numba_available(), reason="no numba")),
    ],
)
CONFIGS = st.sampled_from(
    [LabelConfig(), LabelConfig(inside_only=False), LabelConfig(positive_iou=0.5, negative_iou=0.5)]
)


@IMPLEMENTATIONS
@given(scene=strategies.scenes(), config=CONFIGS)
def test_labels_follow_the_book(implementation, scene, config):
    with accel.use(implementation, "assign"):
        found = label_anchors(*scene, config)
    thresholds = {
        name: getattr(config, name) for name in ("positive_iou", "negative_iou", "inside_only")
    }
    np.testing.assert_array_equal(found.labels, exact.labels(*scene, **thresholds))
    by_iou = found.max_iou >= config.positive_iou
    positive = found.labels == POSITIVE
    np.testing.assert_array_equal(positive, positive & (by_iou | found.by_best))
    assert positive[found.by_best].all()


@st.composite
def ignored_regions(draw):
    """Draw up to four regions: touching, identical, without area, perhaps the size of an anchor."""
    regions = draw(strategies.boxes(max_count=3, extent=40, whole=True))
    if draw(st.booleans()):
        regions = np.concatenate([regions, [[0.0, 0, 16, 16]]])
    return regions


def labels_by_the_words(scene, ignored, config):
    """Return the labels with ignored regions, anchor by anchor, from overlaps in fractions."""
    named = ("positive_iou", "negative_iou", "inside_only")
    labels = exact.labels(*scene, **{name: getattr(config, name) for name in named})
    may_be_best = boxes.is_inside(scene.anchors, scene.image_size) | (not config.inside_only)
    for region in ignored:
        overlaps = [exact.pair_iou(anchor, region) for anchor in scene.anchors]
        best = max((iou for iou, may in zip(overlaps, may_be_best, strict=True) if may), default=0)
        for k, iou in enumerate(overlaps):
            on_region = float(iou) >= config.negative_iou or (iou > 0 and iou == best)
            if labels[k] == NEGATIVE and on_region:
                labels[k] = IGNORE
    return labels


@IMPLEMENTATIONS
@given(scene=strategies.scenes(), ignored=ignored_regions(), config=CONFIGS)
def test_anchors_on_ignored_regions_follow_the_words(implementation, scene, ignored, config):
    with accel.use(implementation, "assign"):
        found = label_anchors(*scene, config, ignored=ignored)
    np.testing.assert_array_equal(found.labels, labels_by_the_words(scene, ignored, config))


@given(strategies.scenes(), ignored_regions(), CONFIGS)
def test_ignored_regions_only_take_negatives_out(scene, ignored, config):
    alone, found = label_anchors(*scene, config), label_anchors(*scene, config, ignored=ignored)
    changed = found.labels != alone.labels
    assert (alone.labels[changed] == NEGATIVE).all()
    assert (found.labels[changed] == IGNORE).all()
    assert found.labels.dtype == np.int8
    for one, other in zip(found[1:], alone[1:], strict=True):
        np.testing.assert_array_equal(one, other)


@given(strategies.scenes(), ignored_regions(), CONFIGS)
def test_the_negatives_are_those_with_ignored_regions_as_ground_truths(scene, ignored, config):
    found = label_anchors(*scene, config, ignored=ignored)
    both = scene._replace(gt_boxes=np.concatenate([scene.gt_boxes, ignored]))
    np.testing.assert_array_equal(
        found.labels == NEGATIVE, label_anchors(*both, config).labels == NEGATIVE
    )


@given(strategies.scenes(), CONFIGS)
def test_without_an_ignored_region_the_labels_are_the_same(scene, config):
    expected = label_anchors(*scene, config)
    for ignored in (None, np.zeros((0, 4))):
        found = label_anchors(*scene, config, ignored=ignored)
        for one, other in zip(found, expected, strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


@given(strategies.scenes(rounding=None))
def test_each_anchor_is_matched_to_what_it_overlaps_most(scene):
    found = label_anchors(*scene)
    if len(scene.gt_boxes):
        overlaps = boxes.iou(scene.anchors, scene.gt_boxes)
        np.testing.assert_array_equal(found.matched_gt, overlaps.argmax(axis=1))
        np.testing.assert_array_equal(found.max_iou, overlaps.max(axis=1))
    else:
        assert (found.matched_gt == -1).all()
        assert not found.max_iou.any()


@given(strategies.scenes())
def test_labels_of_the_mirror_image_are_the_same(scene):
    expected = label_anchors(*scene)
    width = scene.image_size[1]
    flipped = label_anchors(
        boxes.flip(scene.anchors, width), boxes.flip(scene.gt_boxes, width), scene.image_size
    )
    for one, other in zip(flipped, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@given(strategies.scenes(), st.randoms(use_true_random=False))
def test_the_order_of_ground_truths_does_not_matter(scene, random):
    order = list(range(len(scene.gt_boxes)))
    random.shuffle(order)
    expected = label_anchors(*scene)
    shuffled = label_anchors(scene.anchors, scene.gt_boxes[order], scene.image_size)
    np.testing.assert_array_equal(shuffled.labels, expected.labels)
    np.testing.assert_array_equal(shuffled.max_iou, expected.max_iou)
    np.testing.assert_array_equal(shuffled.by_best, expected.by_best)
    np.testing.assert_array_equal(shuffled.gt_max_iou, expected.gt_max_iou[order])


@given(strategies.scenes(), st.sampled_from([2, 4, 8]))
def test_scaling_everything_changes_no_label(scene, scale):
    height, width = scene.image_size
    expected = label_anchors(*scene)
    scaled = label_anchors(
        scene.anchors * scale, scene.gt_boxes * scale, (height * scale, width * scale)
    )
    for one, other in zip(scaled, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@given(strategies.scenes())
def test_labels_do_not_depend_on_the_precision_of_whole_numbers(scene):
    double = label_anchors(*scene)
    single = label_anchors(
        scene.anchors.astype(np.float32), scene.gt_boxes.astype(np.float32), scene.image_size
    )
    for one, other in zip(single, double, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@st.composite
def scenes_with_proper_ground_truths(draw):
    scene = draw(strategies.scenes())
    return scene._replace(gt_boxes=draw(strategies.boxes(max_count=3, extent=40, min_side=1)))


@given(scenes_with_proper_ground_truths())
def test_targets_lead_positives_to_their_ground_truth_and_are_zero_elsewhere(close, scene):
    anchors, gt_boxes, _ = scene
    found = label_anchors(*scene)
    targets = anchor_targets(anchors, gt_boxes, found.matched_gt, found.labels)
    positive = found.labels == POSITIVE
    assert not targets[~positive].any()
    reached = boxes.decode(anchors, targets)[positive]
    close(reached, gt_boxes[found.matched_gt[positive]], atol=1e-11)


@given(
    st.lists(st.sampled_from([POSITIVE, NEGATIVE, IGNORE]), max_size=60),
    st.integers(1, 40),
    st.floats(0, 1),
    st.integers(0, 2**32),
)
def test_the_sample_is_a_subset_of_the_right_size(values, batch_size, fraction, seed):
    labels = np.array(values, dtype=np.int8)
    config = SamplingConfig(batch_size, fraction)
    drawn = sample_minibatch(labels, rng=np.random.default_rng(seed), config=config)
    assert drawn.dtype == np.int8
    chosen = drawn != IGNORE
    np.testing.assert_array_equal(drawn[chosen], labels[chosen])
    positives = (drawn == POSITIVE).sum()
    negatives = (drawn == NEGATIVE).sum()
    assert positives == min((labels == POSITIVE).sum(), int(batch_size * fraction))
    assert negatives == min((labels == NEGATIVE).sum(), batch_size - positives)


@given(st.integers(0, 300), st.integers(0, 400), st.integers(0, 50), st.integers(0, 2**32))
def test_the_sample_of_an_image_is_filled_up_to_256(positives, negatives, ignored, seed):
    rng = np.random.default_rng(seed)
    counts = {POSITIVE: positives, NEGATIVE: negatives, IGNORE: ignored}
    labels = np.repeat(list(counts), list(counts.values())).astype(np.int8)
    labels = rng.permutation(labels)
    drawn = sample_minibatch(labels, rng=rng)
    assert (drawn == POSITIVE).sum() == min(positives, 128)
    assert (drawn != IGNORE).sum() == min(256, min(positives, 128) + negatives)


@given(st.integers(0, 2**32))
def test_every_anchor_has_the_same_chance(seed):
    labels = np.repeat([POSITIVE, NEGATIVE], 200).astype(np.int8)
    rng = np.random.default_rng(seed)
    config = SamplingConfig(batch_size=200)
    times = sum(sample_minibatch(labels, rng=rng, config=config) != IGNORE for _ in range(60))
    # Half of each kind is drawn: of 60 draws 30, give or take six standard deviations.
    assert times.min() >= 30 - 24
    assert times.max() <= 30 + 24
