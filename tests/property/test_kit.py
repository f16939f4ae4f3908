"""Every implementation of the library passes the checks that are offered to learners.

Functions with one implementation are in `tests/testing`.
"""

import numpy as np
import pytest

from minirpn import accel, boxes, nn, rpn, testing

pytestmark = pytest.mark.slow


def implementations(*operations):
    """Return the implementations for NumPy arrays that all of these have here."""
    available = accel.available(np.zeros(1))
    common = [
        implementation
        for implementation in available[operations[0]]
        if all(implementation in available[o] for o in operations)
    ]
    return pytest.mark.parametrize("implementation", common)


@implementations("iou")
def test_iou(implementation):
    with accel.use(implementation, "iou"):
        assert testing.check_iou(boxes.iou)


@implementations("nms")
def test_nms(implementation):
    with accel.use(implementation, "nms"):
        assert testing.check_nms(boxes.nms)


@implementations("assign")
def test_labels(implementation):
    with accel.use(implementation, "assign"):
        assert testing.check_label_anchors(rpn.label_anchors)


@pytest.mark.parametrize("rounding", ["caffe", None])
def test_base_anchors(rounding):
    def base_anchors(base_size, ratios, scales):
        config = rpn.AnchorConfig(base_size, tuple(ratios), tuple(scales), rounding)
        return rpn.base_anchors(config)

    assert testing.check_base_anchors(base_anchors, rounding=rounding)


def test_grid_anchors():
    assert testing.check_grid_anchors(rpn.grid_anchors)


@implementations("conv2d", "conv2d_dx", "conv2d_dweight")
def test_conv2d(implementation):
    with accel.use(implementation, "conv2d", "conv2d_dx", "conv2d_dweight"):
        assert testing.check_conv2d(nn.conv2d_forward, nn.conv2d_backward)


@implementations("max_pool2d", "max_pool2d_dx")
def test_max_pool2d(implementation):
    with accel.use(implementation, "max_pool2d", "max_pool2d_dx"):
        assert testing.check_max_pool2d(nn.max_pool2d_forward, nn.max_pool2d_backward)


@implementations("roi_pool", "roi_pool_dx")
def test_roi_pool(implementation):
    with accel.use(implementation, "roi_pool", "roi_pool_dx"):
        assert testing.check_roi_pool(nn.roi_pool_forward, nn.roi_pool_backward)


@implementations("roi_align", "roi_align_dx")
def test_roi_align(implementation):
    def backward(dy, cache):
        return nn.roi_align_backward(dy, cache, need_dboxes=False).dfeatures

    with accel.use(implementation, "roi_align", "roi_align_dx"):
        assert testing.check_roi_align(nn.roi_align_forward, backward)


@implementations("relu", "relu_dx")
def test_relu(implementation):
    with accel.use(implementation, "relu", "relu_dx"):
        assert testing.check_relu(nn.relu_forward, nn.relu_backward)
