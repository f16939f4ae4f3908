"""No image, no box, no row: every implementation gives what the loops give, empty or zeros."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from minirpn import accel

EQUAL = runpy.run_path(str(Path(__file__).with_name("test_implementations_equal.py")))


def none(*shape, dtype=float):
    """Return an array of zeros, of a shape with a 0 in it."""
    return np.zeros(shape, dtype)


BOXES, GT, MAP = np.array([[0.0, 0, 4, 4], [1, 1, 3, 3]]), np.array([[0.0, 0, 4, 4]]), none(2, 5, 5)
WEIGHT, POINT, BIAS = np.ones((3, 2, 3, 3)), np.ones((3, 2, 1, 1)), np.ones(3)
POOL = (2, 2), (2, 2), (0, 0)
EMPTY = {
    "iou": [(none(0, 4), BOXES), (BOXES, none(0, 4)), (none(0, 4), none(0, 4))],
    "nms": [(none(0, 4), 0.5, 9), (BOXES, 0.5, 0)],
    "assign": [
        (none(0, 4), GT, none(0, dtype=bool), 0.0),
        (BOXES, none(0, 4), np.ones(2, bool), 0.0),
        (BOXES, GT, np.zeros(2, bool), 0.0),
    ],
    "label": [
        (none(0, 4), GT, (9, 9), 0.7, 0.3, 0.0, True),
        (BOXES, none(0, 4), (9, 9), 0.7, 0.3, 0.0, True),
    ],
    "candidates": [(none(0, 4), none(0, 2), none(0, 4), (9, 9), 1.0)],
    "conv2d": [
        (none(0, 2, 5, 5), WEIGHT, BIAS, (1, 1), (1, 1)),
        (none(0, 2, 5, 5), WEIGHT, BIAS, (2, 1), (0, 0)),
        (none(0, 2, 5, 5), POINT, BIAS, (1, 1), (0, 0)),
    ],
    "conv2d_relu": [(none(0, 2, 5, 5), WEIGHT, BIAS, (1, 1), (1, 1))],
    "conv2d_dx": [
        (none(0, 3, 5, 5), WEIGHT, (5, 5), (1, 1), (1, 1)),
        (none(0, 3, 5, 5), POINT, (5, 5), (1, 1), (0, 0)),
    ],
    "conv2d_dweight": [
        (none(0, 3, 5, 5), none(0, 2, 5, 5), (3, 3), (1, 1), (1, 1)),
        (none(0, 3, 5, 5), none(0, 2, 5, 5), (1, 1), (1, 1), (0, 0)),
    ],
    "conv2d_dbias": [(none(0, 3, 5, 5),)],
    "max_pool2d": [(none(0, 2, 5, 5), *POOL, (2, 2))],
    "max_pool2d_dx": [(none(0, 2, 2, 2), none(0, 2, 2, 2, dtype=np.int32), *POOL, (5, 5))],
    "relu": [(none(0),), (none(2, 0, 3),)],
    "relu_dx": [(none(0), none(0))],
    "lrn": [(none(0, 2, 5, 5), 3, 1.0, 0.75)],
    "lrn_dx": [(none(0, 2, 5, 5), none(0, 2, 5, 5), none(0, 2, 5, 5), 3, 1.0, 0.75)],
    "roi_pool": [(MAP, none(0, 4), (2, 2), 0.5)],
    "roi_pool_dx": [(none(0, 2, 2, 2), none(0, 2, 2, 2, dtype=np.int32), (5, 5))],
    "roi_align": [(MAP, none(0, 4), (2, 2), 0.5, 2, True)],
    "roi_align_dx": [(none(0, 2, 2, 2), MAP, none(0, 4), 0.5, 2, True)],
    "softmax_cross_entropy": [(none(0, 3), none(0, dtype=int), none(0))],
    "softmax_cross_entropy_dx": [(none(0, 3), none(0, dtype=int), none(0), 1.0)],
    "smooth_l1": [(none(0, 4), 1.0)],
    "smooth_l1_dx": [(none(0, 4), none(0, 4), 1.0)],
    "sgd": [
        ([], [], [], [], [], 0.9, "caffe"),
        ([none(0)], [none(0)], [none(0)], [1], [1], 0, "torch"),
    ],
    "adamw": [
        ([], [], [], [], [], [], 1, (0.9, 0.999), 1e-8),
        ([none(0)], [none(0)], [none(0)], [none(0)], [1], [1], 9, (0.5, 0.5), 1e-8),
    ],
    "square_sums": [([none(0), none(2, 0)],), ([none(0)], True)],
}


@pytest.mark.parametrize(("operation", "implementation"), EQUAL["IMPLEMENTATIONS"])
def test_nothing_gives_what_the_loops_give(operation, implementation, close):
    if not implementation.is_available():
        pytest.skip(f"what {implementation.name} needs is not installed")
    for args in EMPTY[operation.name]:
        expected = operation.by_name["loops"].function(*args)
        EQUAL["assert_same"](implementation.function(*args), expected, close)


def test_every_operation_is_given_nothing():
    assert set(EMPTY) == set(accel.operations())
