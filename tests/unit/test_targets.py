"""Labels, sampling and targets: each rule by hand, ties, and what is refused."""

import math

import numpy as np
import pytest

from minirpn import boxes
from minirpn.rpn import (
    IGNORE,
    NEGATIVE,
    POSITIVE,
    LabelConfig,
    SamplingConfig,
    anchor_targets,
    label_anchors,
    sample_minibatch,
    targets,
)

IMAGE = (100, 100)


def box_row(*rows):
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


GROUND_TRUTH = box_row([10, 10, 20, 20])  # 100 pixels


def test_each_rule_by_hand():
    anchors = box_row(
        [10, 10, 20, 19],  # 90 / 100: the best
        [10, 10, 20, 17],  # 70 / 100: positive by IoU, with equality
        [10, 10, 20, 16],  # 60 / 100: ignored
        [10, 10, 20, 13],  # 30 / 100: ignored, with equality
        [10, 10, 20, 12],  # 20 / 100: negative
        [50, 50, 60, 60],  # negative
        [10, 10, 20, 110],  # 100 / 1000, but crosses the border
    )
    found = label_anchors(anchors, GROUND_TRUTH, IMAGE)
    expected = [POSITIVE, POSITIVE, IGNORE, IGNORE, NEGATIVE, NEGATIVE, IGNORE]
    assert found.labels.tolist() == expected
    assert found.labels.dtype == np.int8
    assert found.by_best.tolist() == [True] + [False] * 6
    assert found.matched_gt.tolist() == [0] * 7
    np.testing.assert_allclose(found.max_iou, [0.9, 0.7, 0.6, 0.3, 0.2, 0, 0.1])
    np.testing.assert_allclose(found.gt_max_iou, [0.9])


def test_an_anchor_on_an_ignored_region_is_no_negative():
    ignored = box_row([50, 50, 60, 60], [80, 80, 90, 90])
    anchors = box_row(
        [10, 10, 20, 19],  # positive, far from both regions
        [50, 50, 60, 60],  # the first region itself
        [50, 50, 60, 53],  # 30 / 100 with it: just enough
        [50, 50, 60, 52],  # 20 / 100: negative
        [89, 89, 99, 99],  # 1 / 199 with the second region, and the best of it
        [30, 30, 40, 40],  # negative
    )
    found = label_anchors(anchors, GROUND_TRUTH, IMAGE, ignored=ignored)
    expected = [POSITIVE, IGNORE, IGNORE, NEGATIVE, IGNORE, NEGATIVE]
    assert found.labels.tolist() == expected
    assert found.max_iou.tolist() == [0.9, 0, 0, 0, 0, 0]


def test_a_positive_stays_positive_on_an_ignored_region():
    found = label_anchors(GROUND_TRUTH, GROUND_TRUTH, IMAGE, ignored=GROUND_TRUTH)
    assert found.labels.tolist() == [POSITIVE]


def test_without_ignored_regions_nothing_is_labelled_twice(monkeypatch):
    calls, once = [], targets.label
    monkeypatch.setattr(targets, "label", lambda *given: calls.append(given) or once(*given))
    label_anchors(GROUND_TRUTH, GROUND_TRUTH, IMAGE, ignored=box_row())
    assert len(calls) == 1
    label_anchors(GROUND_TRUTH, GROUND_TRUTH, IMAGE, ignored=GROUND_TRUTH)
    assert len(calls) == 3


def test_the_best_anchor_is_positive_however_small_its_overlap():
    anchors = box_row([19, 19, 29, 29], [60, 60, 70, 70])  # IoU 1 / 199
    found = label_anchors(anchors, GROUND_TRUTH, IMAGE)
    assert found.labels.tolist() == [POSITIVE, NEGATIVE]
    assert found.by_best.tolist() == [True, False]


def test_all_anchors_that_tie_for_best_are_positive():
    anchors = box_row([11, 10, 21, 20], [9, 10, 19, 20], [10, 12, 20, 22])  # 90/110 twice, 80/120
    found = label_anchors(anchors, GROUND_TRUTH, IMAGE, LabelConfig(positive_iou=0.9))
    assert found.labels.tolist() == [POSITIVE, POSITIVE, IGNORE]


def test_the_tolerance_widens_a_tie_but_never_to_what_is_not_touched():
    anchors = box_row([11, 10, 21, 20], [10, 12, 20, 22], [50, 50, 60, 60])  # 0.82, 0.67, 0
    strict, wide = (
        label_anchors(
            anchors, GROUND_TRUTH, IMAGE, LabelConfig(positive_iou=0.9, tie_tolerance=tolerance)
        )
        for tolerance in (0.1, 1.0)
    )
    assert strict.by_best.tolist() == [True, False, False]
    assert wide.by_best.tolist() == [True, True, False]


def test_a_ground_truth_that_no_anchor_touches_makes_none_positive():
    anchors = box_row([10, 10, 20, 20], [50, 50, 60, 60])
    gt_boxes = box_row([200, 200, 220, 220], [10, 10, 20, 20])
    found = label_anchors(anchors, gt_boxes, IMAGE)
    assert found.labels.tolist() == [POSITIVE, NEGATIVE]
    assert found.gt_max_iou.tolist() == [0, 1]


def test_an_anchor_across_the_border_is_nobodys_best():
    anchors = box_row([-1, 10, 20, 20], [10, 15, 20, 25])
    found = label_anchors(anchors, GROUND_TRUTH, IMAGE)
    assert found.labels.tolist() == [IGNORE, POSITIVE]
    everywhere = label_anchors(anchors, GROUND_TRUTH, IMAGE, LabelConfig(inside_only=False))
    assert everywhere.labels.tolist() == [POSITIVE, IGNORE]


def test_a_best_anchor_regresses_to_the_ground_truth_it_overlaps_most():
    # The anchor is the best of both; the larger ground truth is nearer to it.
    gt_boxes = box_row([0, 0, 4, 4], [0, 0, 10, 9])
    anchors = box_row([0, 0, 10, 10])
    found = label_anchors(anchors, gt_boxes, IMAGE)
    assert found.matched_gt.tolist() == [1]
    targets = anchor_targets(anchors, gt_boxes, found.matched_gt, found.labels)
    np.testing.assert_allclose(targets, [[0, -0.05, 0, math.log(0.9)]])


def test_an_anchor_between_equals_is_matched_to_the_first():
    gt_boxes = box_row([0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 60])
    anchors = box_row([0, 0, 10, 10], [80, 80, 90, 90])
    assert label_anchors(anchors, gt_boxes, IMAGE).matched_gt.tolist() == [0, 0]


def test_without_ground_truths_anchors_inside_are_negative():
    anchors = box_row([0, 0, 10, 10], [-1, 0, 10, 10])
    found = label_anchors(anchors, np.zeros((0, 4)), IMAGE)
    assert found.labels.tolist() == [NEGATIVE, IGNORE]
    assert found.matched_gt.tolist() == [-1, -1]
    assert found.gt_max_iou.shape == (0,)
    targets = anchor_targets(anchors, np.zeros((0, 4)), found.matched_gt, found.labels)
    assert targets.tolist() == [[0] * 4] * 2


def test_without_anchors_nothing_is_labelled():
    found = label_anchors(np.zeros((0, 4)), GROUND_TRUTH, IMAGE)
    assert found.labels.shape == (0,)
    assert found.gt_max_iou.tolist() == [0]


def test_targets_are_zero_where_not_positive():
    anchors = box_row([10, 10, 20, 20], [12, 10, 22, 20], [50, 50, 60, 60])
    labels = np.array([IGNORE, POSITIVE, NEGATIVE], dtype=np.int8)
    targets = anchor_targets(anchors, GROUND_TRUTH, np.zeros(3, dtype=np.int64), labels)
    assert targets.tolist() == [[0] * 4, [-0.2, 0, 0, 0], [0] * 4]


def labels_of(positives, negatives, ignored=10):
    rows = [POSITIVE] * positives + [NEGATIVE] * negatives + [IGNORE] * ignored
    return np.array(rows, dtype=np.int8)


@pytest.mark.parametrize(
    ("positives", "negatives", "drawn"),
    [
        (500, 5000, (128, 128)),
        (20, 5000, (20, 236)),
        (0, 5000, (0, 256)),
        (500, 50, (128, 50)),  # a smaller mini-batch rather than more positives
        (0, 0, (0, 0)),
    ],
)
def test_how_many_are_drawn(rng, positives, negatives, drawn):
    labels = sample_minibatch(labels_of(positives, negatives), rng=rng)
    assert ((labels == POSITIVE).sum(), (labels == NEGATIVE).sum()) == drawn
    assert labels.dtype == np.int8


def test_the_same_seed_draws_the_same_anchors():
    first, second, other = (
        sample_minibatch(labels_of(500, 5000), rng=np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_every_anchor_is_as_likely_as_another():
    rng = np.random.default_rng(3)
    config = SamplingConfig(batch_size=8)
    times = np.zeros(30)
    for _ in range(2000):
        times += sample_minibatch(labels_of(10, 20, 0), rng=rng, config=config) != IGNORE
    # 4 of 10 and 4 of 20: means 800 and 400, standard deviations below 23.
    np.testing.assert_allclose(times, [800] * 10 + [400] * 20, atol=110)


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [
        (LabelConfig, "positive_iou", 1.1),
        (LabelConfig, "positive_iou", 0.2),  # below negative_iou
        (LabelConfig, "negative_iou", 0),
        (LabelConfig, "negative_iou", math.nan),
        (LabelConfig, "tie_tolerance", -0.1),
        (LabelConfig, "tie_tolerance", math.inf),
        (SamplingConfig, "batch_size", 0),
        (SamplingConfig, "positive_fraction", 1.5),
        (SamplingConfig, "positive_fraction", math.nan),
    ],
)
def test_impossible_configurations_are_named(config, field, value):
    with pytest.raises(ValueError, match=field):
        config(**{field: value})


def test_lists_of_the_wrong_length_are_named():
    anchors = box_row([0, 0, 1, 1])
    labels, matched = np.zeros(2, np.int8), np.zeros(1, np.int64)
    with pytest.raises(ValueError, match="labels: expected shape"):
        anchor_targets(anchors, anchors, matched, labels)
    with pytest.raises(ValueError, match="gt_boxes: expected shape"):
        label_anchors(anchors, np.zeros(4), IMAGE)
    with pytest.raises(ValueError, match="image_size"):
        label_anchors(anchors, anchors, (0, 5))
    with pytest.raises(ValueError, match=r"^ignored: "):
        label_anchors(anchors, anchors, IMAGE, ignored=np.zeros((2, 3)))


def test_labels_agree_with_the_matrix_of_overlaps(rng):
    corners = rng.integers(0, 80, (300, 2)).astype(float)
    anchors = np.concatenate([corners, corners + rng.integers(1, 30, (300, 2))], axis=1)
    gt_boxes = anchors[:5] + 2
    found = label_anchors(anchors, gt_boxes, IMAGE)
    overlaps = boxes.iou(anchors, gt_boxes)
    np.testing.assert_array_equal(found.max_iou, overlaps.max(axis=1))
    np.testing.assert_array_equal(found.matched_gt, overlaps.argmax(axis=1))
