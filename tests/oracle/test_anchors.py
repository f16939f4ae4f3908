"""Anchors against the recorded results of other implementations."""

import numpy as np
import pytest

from minirpn import boxes
from minirpn.rpn import AnchorConfig, base_anchors, grid_anchors

HALF_OPEN = np.array([0.0, 0.0, 1.0, 1.0])


@pytest.fixture
def inputs(oracle):
    return oracle("inputs")


def config_of(inputs, index, rounding):
    return AnchorConfig(
        base_size=int(inputs[f"cfg{index}_base"]),
        ratios=tuple(inputs[f"cfg{index}_ratios"].tolist()),
        scales=tuple(inputs[f"cfg{index}_scales"].tolist()),
        rounding=rounding,
    )


@pytest.mark.parametrize("index", range(7))
def test_base_anchors(oracle, inputs, close, index):
    rounded = base_anchors(config_of(inputs, index, "caffe"))
    np.testing.assert_array_equal(rounded, oracle("pyfrcnn")[f"cfg{index}"] + HALF_OPEN)
    exact = base_anchors(config_of(inputs, index, None)).astype(np.float32)
    close(exact, oracle("chainercv")[f"cfg{index}"])


@pytest.mark.parametrize("index", range(3))
def test_grid_anchors(oracle, inputs, close, index):
    feature_size, stride = inputs["grid_feats"][index], int(inputs["grid_stride"])
    image_size = tuple(inputs["grid_img"])
    recorded = oracle("pyfrcnn")
    anchors = grid_anchors(base_anchors(AnchorConfig()), feature_size, stride)
    np.testing.assert_array_equal(anchors, recorded[f"grid{index}"] + HALF_OPEN)
    inside = boxes.is_inside(anchors, image_size)
    np.testing.assert_array_equal(inside, recorded[f"grid{index}_inside"])

    recorded = oracle("chainercv")
    exact = base_anchors(AnchorConfig(rounding=None))
    anchors = grid_anchors(exact, feature_size, stride, like=np.zeros(0, np.float32))
    # Corners near 0 are differences of numbers up to 1000.
    close(anchors, recorded[f"grid{index}"], atol=1e-4)
    inside = boxes.is_inside(anchors, image_size)
    np.testing.assert_array_equal(inside, recorded[f"grid{index}_inside"])
