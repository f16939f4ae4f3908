"""Why an anchor has its label."""

import numpy as np

from minirpn.explain import Rule, rules_of
from minirpn.explain.step import best_of
from minirpn.rpn import LabelConfig, label_anchors

SIZE = (100, 100)
PAPER = LabelConfig()
GT = np.array([[20.0, 20, 40, 40], [60.0, 60, 90, 90]])
ANCHORS = np.array(
    [
        [20.0, 20, 40, 40],  # IoU 1 with the first: its best, and above 0.7
        [20.0, 22, 40, 42],  # 18/22 = 0.82 with the first: above 0.7 alone
        [60.0, 60, 90, 75],  # 0.5 with the second: its best, not above 0.7
        [60.0, 60, 90, 72],  # 0.4 with the second
        [0.0, 0, 10, 10],  # touches none
        [60.0, 60, 90, 101],  # 30/41 = 0.73 with the second, and crosses the border
    ]
)


def labelled(config=PAPER):
    assigned = label_anchors(ANCHORS, GT, SIZE, config)
    inside = np.array([True] * 5 + [False])
    return assigned, rules_of(assigned, inside, config)


def test_each_rule_by_hand():
    _, rules = labelled()
    expected = [
        Rule.BY_BOTH,
        Rule.BY_IOU,
        Rule.BY_BEST,
        Rule.BETWEEN,
        Rule.NEGATIVE,
        Rule.OUTSIDE,
    ]
    assert rules.tolist() == expected
    assert rules.dtype == np.int8


def test_the_border_is_no_reason_where_it_is_not_asked_for():
    _, rules = labelled(LabelConfig(inside_only=False))
    assert rules[5] == Rule.BY_BOTH
    assert rules[2] == Rule.BETWEEN


def test_an_anchor_on_an_ignored_region_says_so():
    assigned = label_anchors(ANCHORS, GT, SIZE, ignored=ANCHORS[4:5])
    rules = rules_of(assigned, np.array([True] * 5 + [False]), PAPER)
    assert rules.tolist() == [*labelled()[1][:4], Rule.ON_IGNORED, Rule.OUTSIDE]


def test_the_object_that_chose_an_anchor_need_not_be_the_one_it_overlaps_most():
    # The one anchor is the best of both objects; it overlaps the first more.
    gt_boxes = np.array([[20.0, 20, 40, 40], [20.0, 20, 40, 30]])
    anchors = np.array([[20.0, 20, 40, 38], [20.0, 20, 40, 39], [70.0, 70, 80, 80]])
    assigned = label_anchors(anchors, gt_boxes, SIZE)
    # IoU with the first: 0.9, 0.95; with the second: 10/18, 10/19. So the second's best is 0.
    assert assigned.matched_gt.tolist()[:2] == [0, 0]
    chosen = best_of(anchors, gt_boxes, assigned)
    assert chosen.tolist() == [1, 0, -1]
    assert chosen.dtype == np.int16


def test_without_objects_none_is_chosen():
    assigned = label_anchors(ANCHORS, GT[:0], SIZE)
    assert best_of(ANCHORS, GT[:0], assigned).tolist() == [-1] * 6
