"""Labels and targets against py-faster-rcnn's anchor target layer, scenario by scenario."""

import numpy as np
import pytest

from minirpn.rpn import (
    IGNORE,
    NEGATIVE,
    POSITIVE,
    AnchorConfig,
    anchor_targets,
    base_anchors,
    grid_anchors,
    label_anchors,
)

# What py-faster-rcnn does not answer (it crashes), or answers otherwise than we.
NO_GROUND_TRUTH = 4
GT_OUTSIDE = 7
GT_OUTSIDE_PLUS_ONE = 8
NO_ANCHOR_INSIDE = 12
OURS = (NO_GROUND_TRUTH, GT_OUTSIDE, GT_OUTSIDE_PLUS_ONE, NO_ANCHOR_INSIDE)


@pytest.fixture
def scenario(oracle):
    """Label a scenario: its anchors, ground truths and `AnchorLabels`."""
    inputs = oracle("inputs")

    def label(index, dtype=np.float64):
        gt_boxes = inputs[f"scen{index}_gt"] + np.array([0, 0, 1, 1])
        gt_boxes = gt_boxes.astype(dtype)
        image_size = tuple(inputs[f"scen{index}_img"].tolist())
        anchors = grid_anchors(
            base_anchors(AnchorConfig()), inputs[f"scen{index}_feat"], 16, like=gt_boxes
        )
        return anchors, gt_boxes, label_anchors(anchors, gt_boxes, image_size)

    return label


def counts(labels):
    return {value: int((labels == value).sum()) for value in (POSITIVE, NEGATIVE, IGNORE)}


def test_the_scenarios_are_those_named_here(oracle):
    names = oracle("inputs")["scen_names"].tolist()
    assert len(names) == 19
    assert [names[index] for index in OURS] == [
        "no_gt",
        "gt_outside",
        "gt_outside_plus_one",
        "no_anchor_inside",
    ]
    crashed = np.flatnonzero(oracle("pyfrcnn")["scen_errors"] != "")
    assert crashed.tolist() == [NO_GROUND_TRUTH, NO_ANCHOR_INSIDE]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("index", [index for index in range(19) if index not in OURS])
def test_labels_and_targets(oracle, scenario, close, index, dtype):
    recorded = oracle("pyfrcnn")
    anchors, gt_boxes, found = scenario(index, dtype)
    np.testing.assert_array_equal(found.labels, recorded[f"scen{index}_label"])
    targets = anchor_targets(anchors, gt_boxes, found.matched_gt, found.labels)
    positive = found.labels == POSITIVE
    # py-faster-rcnn computes its targets in float32.
    expected = recorded[f"scen{index}_target"][positive]
    close(targets[positive].astype(np.float32), expected)
    assert not targets[~positive].any()


def test_without_ground_truth_every_anchor_inside_is_negative(scenario):
    *_, found = scenario(NO_GROUND_TRUTH)
    assert counts(found.labels) == {POSITIVE: 0, NEGATIVE: 8151, IGNORE: 13395}
    assert (found.matched_gt == -1).all()


def test_a_ground_truth_that_nothing_touches_takes_no_anchor(oracle, scenario):
    *_, found = scenario(GT_OUTSIDE)
    assert counts(found.labels) == {POSITIVE: 0, NEGATIVE: 8151, IGNORE: 13395}
    theirs = oracle("pyfrcnn")[f"scen{GT_OUTSIDE}_label"]
    assert counts(theirs) == {POSITIVE: 8151, NEGATIVE: 0, IGNORE: 13395}


def test_it_takes_none_from_another_ground_truth_either(oracle, scenario):
    *_, found = scenario(GT_OUTSIDE_PLUS_ONE)
    assert found.gt_max_iou[0] == 0
    assert counts(found.labels)[POSITIVE] == 2
    assert (found.matched_gt[found.labels == POSITIVE] == 1).all()
    assert counts(oracle("pyfrcnn")[f"scen{GT_OUTSIDE_PLUS_ONE}_label"])[POSITIVE] == 8151


def test_without_an_anchor_inside_all_are_ignored(scenario):
    *_, found = scenario(NO_ANCHOR_INSIDE)
    assert counts(found.labels) == {POSITIVE: 0, NEGATIVE: 0, IGNORE: 324}


def test_the_same_forty_anchors_tie_in_both_precisions(scenario):
    single, double = (scenario(6, dtype)[2] for dtype in (np.float32, np.float64))
    assert counts(single.labels)[POSITIVE] == counts(double.labels)[POSITIVE] == 40
    np.testing.assert_array_equal(single.by_best, double.by_best)
