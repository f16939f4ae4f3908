"""The library passes the checks that it offers to learners, on every rung."""

import numpy as np
import pytest

from minirpn import boxes, evaluation, kernels, nn, rpn, testing


def rungs(*operations):
    """Return the rungs for NumPy arrays that all these ladders have on this machine."""
    available = kernels.available(np.zeros(1))
    common = [
        rung for rung in available[operations[0]] if all(rung in available[o] for o in operations)
    ]
    return pytest.mark.parametrize("rung", common)


@rungs("iou")
def test_iou(rung):
    with kernels.use_rung(rung, "iou"):
        assert testing.check_iou(boxes.iou)


def test_encode_and_decode():
    assert testing.check_encode_decode(boxes.encode, boxes.decode)


@rungs("nms")
def test_nms(rung):
    with kernels.use_rung(rung, "nms"):
        assert testing.check_nms(boxes.nms)


@rungs("assign")
def test_labels(rung):
    with kernels.use_rung(rung, "assign"):
        assert testing.check_label_anchors(rpn.label_anchors)


def test_smooth_l1():
    def forward(x, sigma):
        return nn.smooth_l1_forward(x, sigma=sigma)[0]

    def slope(x, sigma):
        return nn.smooth_l1_backward(np.ones_like(x), nn.smooth_l1_forward(x, sigma=sigma)[1])

    assert testing.check_smooth_l1(forward, slope)


@rungs("conv2d", "conv2d_dx", "conv2d_dweight")
def test_conv2d(rung):
    with kernels.use_rung(rung, "conv2d", "conv2d_dx", "conv2d_dweight"):
        assert testing.check_conv2d(nn.conv2d_forward, nn.conv2d_backward)


@rungs("max_pool2d", "max_pool2d_dx")
def test_max_pool2d(rung):
    with kernels.use_rung(rung, "max_pool2d", "max_pool2d_dx"):
        assert testing.check_max_pool2d(nn.max_pool2d_forward, nn.max_pool2d_backward)


@rungs("roi_pool", "roi_pool_dx")
def test_roi_pool(rung):
    with kernels.use_rung(rung, "roi_pool", "roi_pool_dx"):
        assert testing.check_roi_pool(nn.roi_pool_forward, nn.roi_pool_backward)


def test_rpn_loss():
    def forward(*inputs):
        return rpn.rpn_loss_forward(*inputs[:4], locations=inputs[4])

    assert testing.check_rpn_loss(
        lambda *inputs: forward(*inputs)[0].total,
        lambda *inputs: rpn.rpn_loss_backward(1.0, forward(*inputs)[1]),
    )


@pytest.mark.parametrize("method", evaluation.AVERAGES)
def test_average_precision(method):
    def average(scores, hits, positives):
        curve = evaluation.precision_recall(scores, hits, positives)
        return evaluation.AVERAGES[method](curve)

    assert testing.check_average_precision(average, method=method)
