"""Sizes beyond one block or piece, where the compiled box operations cut their work."""

import numpy as np
import pytest

from minirpn import loops
from minirpn.accel.implementation import numba_available
from minirpn.accel.numba import boxes as blocks

pytestmark = pytest.mark.skipif(not numba_available(), reason="numba is not installed")


def whole_boxes(rng, count, largest):
    """Return boxes with whole-number corners, which overlap equally often."""
    corners = rng.integers(0, 300, (count, 2))
    return np.concatenate([corners, corners + rng.integers(0, largest, (count, 2))], axis=1) * 1.0


def test_iou_in_pieces(rng, monkeypatch):
    monkeypatch.setattr(blocks, "PIECE", 64)
    a, b = whole_boxes(rng, 101, 90), whole_boxes(rng, 7, 90)
    np.testing.assert_array_equal(blocks.iou_numba(a, b), loops.iou(a, b))


@pytest.mark.parametrize("max_keep", [65, 400])
def test_nms_with_several_blocks_of_kept_boxes(max_keep, rng):
    boxes = whole_boxes(rng, 400, 60)
    kept = blocks.nms_numba(boxes, 0.4, max_keep)
    assert len(kept) > blocks.KEPT_BLOCK
    np.testing.assert_array_equal(kept, loops.nms(boxes, 0.4, max_keep))


def assert_same_results(results, expected):
    for actual, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)
        assert actual.dtype == wanted.dtype


@pytest.mark.parametrize("tie_tolerance", [0.0, 0.05, 1.0])
def test_assign_with_several_blocks_of_anchors(tie_tolerance, rng):
    anchors, gt_boxes = whole_boxes(rng, 4 * blocks.ANCHOR_BLOCK + 17, 90), whole_boxes(rng, 5, 90)
    eligible = rng.random(len(anchors)) < 0.7
    given = anchors, gt_boxes, eligible, tie_tolerance
    assert_same_results(blocks.assign_numba(*given), loops.assign(*given))


def test_ties_in_blocks_far_apart_whose_quotient_is_rounded_up():
    for width, covered in ((7, 25), (7, 41), (14, 51)):
        assert (width / covered) * covered > width  # so the first look must allow for rounding
        anchors = np.tile([500.0, 0, 501, 1], (5 * blocks.ANCHOR_BLOCK, 1))
        ties = [3, blocks.ANCHOR_BLOCK + 1, 4 * blocks.ANCHOR_BLOCK]
        anchors[ties] = [[x, 0, x + width, 1] for x in (0, 1, 2)]
        gt_boxes = np.array([[0.0, 0, covered, 1]])
        *_, is_best = blocks.assign_numba(anchors, gt_boxes, np.ones(len(anchors), np.bool_), 0.0)
        assert np.flatnonzero(is_best).tolist() == ties


@pytest.mark.parametrize("scale", [1e-161, 1e-80, 1e80, 1e150])
def test_assign_where_areas_leave_the_normal_numbers(scale, rng):
    anchors, gt_boxes = whole_boxes(rng, 3 * blocks.ANCHOR_BLOCK, 90), whole_boxes(rng, 5, 90)
    given = anchors * scale, gt_boxes * scale, np.ones(len(anchors), np.bool_), 0.0
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        assert_same_results(blocks.assign_numba(*given), loops.assign(*given))
