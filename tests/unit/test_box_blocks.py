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


def test_assign_with_several_blocks_of_anchors(rng):
    anchors, gt_boxes = whole_boxes(rng, 2 * blocks.ANCHOR_BLOCK + 17, 90), whole_boxes(rng, 5, 90)
    eligible = rng.random(len(anchors)) < 0.7
    results = blocks.assign_numba(anchors, gt_boxes, eligible, 0.0)
    for actual, expected in zip(
        results, loops.assign(anchors, gt_boxes, eligible, 0.0), strict=True
    ):
        np.testing.assert_array_equal(actual, expected)
        assert actual.dtype == expected.dtype
