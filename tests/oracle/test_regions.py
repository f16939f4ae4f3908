"""What the detector learns from, against py-faster-rcnn and ChainerCV on the same regions."""

import numpy as np
import pytest

from minirpn.detector import label_regions, region_targets


@pytest.fixture
def recorded_inputs(oracle):
    """Ground truths as py-faster-rcnn has them, and their classes."""
    inputs = oracle("inputs")
    return inputs["pt_gt"], inputs["pt_gt_cls"]


# py-faster-rcnn counts pixels inclusively, and 0 is its background; ChainerCV does neither.
@pytest.mark.parametrize(("peer", "one_more"), [("pyfrcnn", 1), ("chainercv", 0)])
def test_labels_and_targets_of_the_same_sample(oracle, recorded_inputs, close, peer, one_more):
    gt_boxes, gt_classes = recorded_inputs
    recorded = oracle(peer)
    more = np.array([0, 0, one_more, one_more])
    regions = recorded["pt_rois_seed3"].astype(np.float64) + more
    # In both files the first class is called 1.
    found = label_regions(regions, gt_boxes + more, gt_classes - 1)
    labels = recorded["pt_labels_seed3"].astype(np.int64)
    np.testing.assert_array_equal(found.labels, labels)
    targets = region_targets(regions, gt_boxes + more, found.matched_gt, found.labels)
    expected = recorded["pt_targets_seed3"]
    objects = np.flatnonzero(labels > 0)
    if expected.shape[1] > 4:  # 4 (L + 1) columns, those of the region's class filled
        for row in objects:
            own = slice(4 * labels[row], 4 * labels[row] + 4)
            close(targets[row], expected[row, own], rtol=1e-5, atol=1e-6)
        assert not expected[labels == 0].any()
    else:
        close(targets[objects], expected[objects], rtol=1e-4, atol=1e-5)
    assert not targets[labels == 0].any()
