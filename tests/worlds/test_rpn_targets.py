"""Anchors, labels, sampling and targets in every array library and on every device."""

import numpy as np
import pytest

from minirpn.rpn import (
    AnchorConfig,
    LabelConfig,
    anchor_targets,
    base_anchors,
    grid_anchors,
    label_anchors,
    sample_minibatch,
)

IMAGE = (96, 128)
BASE = base_anchors(AnchorConfig(scales=(2, 4)))
GROUND_TRUTHS = np.array([[10.0, 10, 60, 50], [30, 20, 90, 80], [500, 500, 600, 600]])
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
CONFIGS = pytest.mark.parametrize("config", [LabelConfig(), LabelConfig(inside_only=False)])


@DTYPES
def test_grid_anchors(world, dtype):
    like = world.array([0.0], dtype)
    expected = grid_anchors(BASE, (6, 8), 16, offset=(1, 2))
    on_device = grid_anchors(BASE, (6, 8), 16, offset=(1, 2), like=like)
    from_device = grid_anchors(world.array(BASE, dtype), (6, 8), 16, offset=(1, 2))
    for anchors in (on_device, from_device):
        result = world.check(anchors)
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, expected)


@DTYPES
@CONFIGS
@pytest.mark.parametrize("count", [0, 3])
@pytest.mark.parametrize("ignored", [None, np.array([[80.0, 40, 120, 90]])])
def test_labels_samples_and_targets(world, close, dtype, config, count, ignored):
    anchors = grid_anchors(BASE, (6, 8), 16)
    gt_boxes = GROUND_TRUTHS[:count]

    def targets_of(anchors, gt_boxes, ignored):
        found = label_anchors(anchors, gt_boxes, IMAGE, config, ignored=ignored)
        labels = sample_minibatch(found.labels, rng=np.random.default_rng(1))
        return found, labels, anchor_targets(anchors, gt_boxes, found.matched_gt, labels)

    there = (None if part is None else world.array(part, dtype) for part in (gt_boxes, ignored))
    found, labels, targets = targets_of(world.array(anchors, dtype), *there)
    expected, expected_labels, expected_targets = targets_of(anchors, gt_boxes, ignored)
    for one, other in zip(found, expected, strict=True):
        result = world.check(one)
        assert result.dtype == other.dtype
        np.testing.assert_array_equal(result, other)
    assert world.check(labels).dtype == np.int8
    np.testing.assert_array_equal(world.check(labels), expected_labels)
    assert world.check(targets).dtype == dtype
    close(world.check(targets), expected_targets)


def test_no_anchors(world):
    none, gt_boxes = world.array(np.zeros((0, 4))), world.array(GROUND_TRUTHS)
    found = label_anchors(none, gt_boxes, IMAGE)
    assert world.check(found.labels).shape == (0,)
    assert world.check(found.gt_max_iou).tolist() == [0, 0, 0]
