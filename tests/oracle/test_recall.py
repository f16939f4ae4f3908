"""Recall equals what COCOeval, mmdetection and py-faster-rcnn recorded."""

import numpy as np
import pytest

from minirpn.evaluation import proposal_recall

COUNTS = (10, 30, 60)


@pytest.fixture(scope="module")
def inputs(oracle):
    """Proposals and ground truths of each image, whose corners are half-open here."""
    recorded = oracle("inputs")
    images = range(int(recorded["rec_n_img"]))
    proposals = [recorded["rec_prop_box"][recorded["rec_prop_img"] == i] for i in images]
    gt_boxes = [recorded["rec_gt_box"][recorded["rec_gt_img"] == i] for i in images]
    return proposals, gt_boxes


@pytest.fixture(scope="module")
def inclusive(inputs):
    """The same numbers read as inclusive corners, as py-faster-rcnn does, made half-open."""
    one_more = np.array([0.0, 0.0, 1.0, 1.0])
    return tuple([boxes + one_more for boxes in part] for part in inputs)


def test_coco(inputs, oracle):
    result = proposal_recall(*inputs, counts=COUNTS)
    coco = oracle("ioucoco")
    np.testing.assert_allclose(result.average_recall, coco["coco_ar_10_30_60"], rtol=1e-12)
    np.testing.assert_allclose(result.recall[2], coco["coco_recall_thr_60"], rtol=1e-12)


def test_mmdetection(inputs, inclusive, oracle):
    mmdet = oracle("mmdet")
    half_open = proposal_recall(*inputs, counts=COUNTS).recall
    np.testing.assert_allclose(half_open, mmdet["recall_legacy0"], rtol=1e-12)
    legacy = proposal_recall(*inclusive, counts=COUNTS).recall
    np.testing.assert_allclose(legacy, mmdet["recall_legacy1"], rtol=1e-12)


def test_py_faster_rcnn(inclusive, oracle):
    peer = oracle("pyfrcnn")
    result = proposal_recall(*inclusive, counts=COUNTS)
    for row, limit in enumerate(("10", "30", "None")):
        np.testing.assert_allclose(result.recall[row], peer[f"recall_all_{limit}"], rtol=1e-12)
        for size, recall in result.recall_by_size.items():
            np.testing.assert_allclose(recall[row], peer[f"recall_{size}_{limit}"], rtol=1e-12)
