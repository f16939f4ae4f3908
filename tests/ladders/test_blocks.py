"""The size of a piece, a block or a strip changes no result; nor does where one ends.

Sizes that are read when they are used are set to a few elements here, so that small arrays fill
many pieces, and the last one in part. Those that are compiled into the loops, and the pieces as
they are, are met with as many boxes as they hold, one fewer and one more.
"""

import copy
import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn import accel, boxes, loops
from minirpn.accel.implementation import numba_available
from minirpn.accel.numba import boxes as numba_boxes
from minirpn.accel.numba import maps, optim, regions, strips, winograd
from minirpn.nn import conv
from minirpn.rpn.targets import assign

EQUAL = runpy.run_path(str(Path(__file__).with_name("test_implementations_equal.py")))
CASES = EQUAL["CASES"]
OF_BOXES = pytest.mark.parametrize("implementation", accel.available(np.zeros(1))["iou"])

# Module -> sizes for it: the smallest that there can be, and others that leave a rest.
SMALL = {
    numba_boxes: [{"PIECE": 1}, {"PIECE": 7}],
    maps: [{"PIECE": 1}, {"PIECE": 4}],
    optim: [{"PIECE": 1}, {"PIECE": 4}],
    regions: [{"LANES": 1, "CELL_BYTES": 1}, {"LANES": 4}],
    strips: [
        {"BUFFER_BYTES": 1, "LEAST_COLUMNS": 1, "CHUNK_ROWS": 1, "LEAST_PIECES": 99}
        | {"LEAST_WORK": 1},
        {"BUFFER_BYTES": 400, "LEAST_COLUMNS": 5, "CHUNK_ROWS": 10, "LEAST_PIECES": 3}
        | {"LEAST_WORK": 20},
    ],
    winograd: [
        {"STRIP_BYTES": 1, "LEAST_TILES": 1, "BLOCK_BYTES": 1},
        {"STRIP_BYTES": 1, "LEAST_TILES": 3, "BLOCK_BYTES": 5_000, "CHUNK": 1},
        {"WIDE": 1, "BLOCK_BYTES": 1, "CHUNK": 1},
        {"WIDE": 1, "BLOCK_BYTES": 5_000, "CHUNK": 2},
    ],
    conv: [{"COLUMN_BYTES": 1}, {"COLUMN_BYTES": 1_000}],
}
CONVOLUTIONS = ["conv2d", "conv2d_relu", "conv2d_dx", "conv2d_dweight"]
USERS = {
    numba_boxes: [("iou", "numba")],
    maps: [("relu", "numba"), ("relu_dx", "numba")],
    optim: [("sgd", "numba"), ("adamw", "numba")],
    regions: [(name, "numba") for name in CASES if name.startswith("roi_")],
    strips: [(name, "strips") for name in CONVOLUTIONS],
    winograd: [(name, "winograd") for name in CONVOLUTIONS],
    conv: [(name, "array") for name in CONVOLUTIONS],
}
PIECES = [
    pytest.param(module, sizes, *user, id="-".join((*user, *map(str, sizes.values()))))
    for module, several in SMALL.items()
    for sizes in several
    for user in USERS[module]
]


@pytest.mark.parametrize(("module", "sizes", "name", "implementation"), PIECES)
@given(data=st.data())
def test_small_pieces_equal_the_loops(module, sizes, name, implementation, data, close):
    one = accel.operations()[name].by_name[implementation]
    if not one.is_available():
        pytest.skip(f"what {implementation} needs is not installed")
    args, kwargs = CASES[name](data.draw)
    of_loops = copy.deepcopy((args, kwargs))
    expected = accel.operations()[name].by_name["loops"].function(*of_loops[0], **of_loops[1])
    with pytest.MonkeyPatch.context() as patch:
        for size, number in sizes.items():
            patch.setattr(module, size, number)
        EQUAL["assert_same"](one.function(*args, **kwargs), expected, close, one.rounding)


OF_CONVOLUTIONS = [
    param for param in EQUAL["IMPLEMENTATIONS"] if param.values[0].name in CONVOLUTIONS
]


@pytest.mark.parametrize(("operation", "implementation"), OF_CONVOLUTIONS)
@pytest.mark.parametrize("size", [(27, 5), (5, 27)])
def test_many_tiles_in_a_strip_equal_the_loops(operation, implementation, size, rng, close):
    if not implementation.is_available():
        pytest.skip(f"what {implementation.name} needs is not installed")
    x, dy = (rng.integers(-4, 5, (2, count, *size)).astype(float) for count in (3, 5))
    weight, bias = rng.integers(-4, 5, (5, 3, 3, 3)).astype(float), np.arange(5.0)
    args = {
        "conv2d_dx": (dy, weight, size, (1, 1), (1, 1)),
        "conv2d_dweight": (dy, x, (3, 3), (1, 1), (1, 1)),
    }.get(operation.name, (x, weight, bias, (1, 1), (1, 1)))
    expected = operation.by_name["loops"].function(*args)
    EQUAL["assert_same"](implementation.function(*args), expected, close, implementation.rounding)


def around(size):
    """Return numbers just under, at and over a size, and its double."""
    return [size - 1, size, size + 1, 2 * size - 1, 2 * size, 2 * size + 1]


def in_a_row(count):
    """Return boxes (count, 4) that touch their neighbors and share nothing."""
    return np.arange(count)[:, None] * [2.0, 0, 2, 0] + [0.0, 0, 2, 3]


@OF_BOXES
@pytest.mark.parametrize("count", around(numba_boxes.KEPT_BLOCK))
def test_every_box_that_stayed_suppresses_its_twin(implementation, count):
    apart = in_a_row(count)
    scores = np.linspace(1, 0, 2 * count)
    with accel.use(implementation, "nms"):
        kept = boxes.nms(np.concatenate([apart, apart]), scores, iou_threshold=0.5)
        fewer = boxes.nms(
            np.concatenate([apart, apart]), scores, iou_threshold=0.5, max_keep=count - 1
        )
    np.testing.assert_array_equal(kept, np.arange(count))
    np.testing.assert_array_equal(fewer, np.arange(count - 1))


@OF_BOXES
@pytest.mark.parametrize("count", around(numba_boxes.ANCHOR_BLOCK))
def test_every_anchor_is_seen_by_every_ground_truth(implementation, count, rng):
    anchors = in_a_row(count)
    # A ground truth on the first anchor, on the last, and on some between: each is its best one.
    chosen = np.unique([0, count - 1, *rng.integers(0, count, 3)])
    eligible = np.ones(count, bool)
    eligible[chosen[1]] = False
    with accel.use(implementation, "assign"):
        found = assign(anchors, anchors[chosen], eligible, 0.0)
    of_chosen = np.zeros(count)
    of_chosen[chosen] = 1
    np.testing.assert_array_equal(found.max_iou, of_chosen)
    np.testing.assert_array_equal(found.matched_gt[chosen], np.arange(len(chosen)))
    np.testing.assert_array_equal(found.gt_max_iou, eligible[chosen])
    np.testing.assert_array_equal(found.is_best, (of_chosen == 1) & eligible)


@OF_BOXES
@given(data=st.data())
def test_anchors_again_have_the_same_labels_again(implementation, data):
    anchors, gt_boxes, eligible, tie_tolerance = CASES["assign"](data.draw)[0]
    times = 1 + (2 * numba_boxes.ANCHOR_BLOCK) // max(1, len(anchors))
    if implementation == "loops":
        times = 2
    once = loops.assign(anchors, gt_boxes, eligible, tie_tolerance)
    with accel.use(implementation, "assign"):
        many = assign(
            np.tile(anchors, (times, 1)), gt_boxes, np.tile(eligible, times), tie_tolerance
        )
    for of_once, of_many in zip(once[:2] + once[3:], many[:2] + many[3:], strict=True):
        np.testing.assert_array_equal(of_many, np.tile(of_once, times))
    np.testing.assert_array_equal(many.gt_max_iou, once[2])


@pytest.mark.skipif(not numba_available(), reason="no numba")
@pytest.mark.parametrize("more", [-1, 0, 1, 2_000])
def test_pairs_of_several_pieces_are_those_of_the_array_code(more, rng):
    b = rng.uniform(0, 100, (2_048, 4)).astype(np.float32)
    a = rng.uniform(0, 100, (numba_boxes.PIECE // len(b) + more, 4)).astype(np.float32)
    a[:, 2:] += 50
    b[:, 2:] += 50
    with accel.use("numba", "iou"):
        overlaps = boxes.iou(a, b)
    with accel.use("array", "iou"):
        np.testing.assert_allclose(overlaps, boxes.iou(a, b), rtol=2e-5)
