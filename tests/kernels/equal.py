"""The rung ``cuda`` of every ladder against its loops, on whatever machine runs the kernels.

Equal means equal in every bit, sums of gradients included, unless a function here says otherwise.
"""

import copy
import runpy
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np

from minirpn import kernels
from minirpn.backend import to_host
from minirpn.kernels import im2col
from minirpn.kernels.window import pool_output_size

CASES = {}
for path in sorted((Path(__file__).parents[1] / "ladders").glob("cases_*.py")):
    CASES |= runpy.run_path(str(path))["CASES"]
LADDERS = [ladder for ladder in kernels.ladders().values() if "cuda" in ladder.by_name]


class Machine(NamedTuple):
    """Where kernels run: how arrays get there, how kernels do, and what is around a run."""

    bring: Callable[[np.ndarray], object]
    launch: Callable
    around: Callable = nullcontext

    def run(self, operation, *args, **kwargs):
        """Return what rung ``cuda`` makes of NumPy arrays, as NumPy arrays."""
        function = kernels.ladders()[operation].by_name["cuda"].function
        args = [self.bring(arg) if isinstance(arg, np.ndarray) else arg for arg in args]
        with self.around():
            return _hosted(function(*args, **kwargs, launch=self.launch))


def _hosted(result):
    if isinstance(result, tuple):
        return tuple(map(_hosted, result))
    return None if result is None else to_host(result)


def same(actual, expected):
    """Assert that results of any nesting have the same dtypes, shapes and bits."""
    if isinstance(expected, tuple):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            same(one, other)
    elif expected is None:
        assert actual is None
    else:
        assert actual.dtype == expected.dtype
        np.testing.assert_array_equal(actual, expected, strict=True)


def any_arguments(machine, ladder, draw):
    """What the ladders' own cases draw: small whole numbers, exact in sums, ties, layouts."""
    args, kwargs = CASES[ladder.name](draw)
    untouched = copy.deepcopy(args)
    expected = ladder.by_name["loops"].function(*copy.deepcopy(args), **kwargs)
    actual = machine.run(ladder.name, *args, **kwargs)
    if ladder.name == "roi_align_dx":  # all but the gradient by boxes
        (actual, dboxes), (expected, right) = actual, expected
        assert (dboxes is None) == (right is None)
        if right is not None:
            atol = 100 * np.finfo(right.dtype).eps * max(1, np.max(np.abs(right), initial=0))
            np.testing.assert_allclose(dboxes, right, rtol=0, atol=atol, strict=True)
    same(actual, expected)
    for one, before in zip(args, untouched, strict=True):
        np.testing.assert_array_equal(one, before)


def _boxes(rng, count, extent, dtype):
    corners = rng.uniform(0, extent, (2, count, 2))
    corners[1] = corners[0] + rng.uniform(-0.05, 0.3, (count, 2)) * extent
    return np.concatenate(corners, axis=1).astype(dtype)


def iou_beyond_a_grid(machine, rng, dtype):
    """More rows than blocks go down, more columns than a block has threads, odd coordinates."""
    for N, M in ((66_000, 4), (6, 700)):
        a, b = _boxes(rng, N, 100, dtype), _boxes(rng, M, 100, dtype)
        for side in range(4):
            a[2 + side, side] = np.nan
        tiny = np.finfo(dtype).tiny  # and so an area that rounds to zero
        a[0], b[0] = [0, 0, tiny, tiny], [0, 0, tiny, tiny]
        a[1], b[1] = [-np.inf, -np.inf, np.inf, np.inf], [np.nan, 0, 50, np.nan]
        with np.errstate(all="ignore"):
            expected = kernels.iou.iou_loops(a[:40], b)
        overlaps = machine.run("iou", a, b)
        same(overlaps[:40], expected)
        # Without NaN, which the rung xp takes for boxes that touch nothing.
        same(overlaps[40:, 2:], kernels.iou.iou_xp(a[40:], b[2:]))


def assign_among_many(machine, rng, dtype):
    """Many blocks of anchors raise the same maxima, in float32 and float64."""
    anchors, gt_boxes = _boxes(rng, 3_000, 100, dtype), _boxes(rng, 7, 100, dtype)
    anchors[1_000:2_000] = anchors[:1_000]  # ties
    arguments = anchors, gt_boxes, rng.random(3_000) < 0.7, 0.01
    same(machine.run("assign", *arguments), kernels.assign.assign_loops(*arguments))


def nms_of_many_tiles(machine, rng, dtype):
    """Three tiles, the last one cut; enough stay in the first, the second, or never."""
    boxes = _boxes(rng, 1_300, 300, dtype)
    for threshold in (0.0, 0.3, 0.9):
        for max_keep in (0, 1, 64, 513, 2_000):
            expected = kernels.nms.nms_xp(boxes, threshold, max_keep)
            same(machine.run("nms", boxes, threshold, max_keep), expected)


def nms_of_twins(machine, rng, dtype):
    """Of boxes apart from each other, each is the one that covers its twins, some far behind it."""
    place = 2 * (np.arange(17_500) % 600)
    boxes = np.stack([place, place, place + 1, place + 1], axis=1).astype(dtype)
    assert machine.run("nms", boxes, 0.5, 17_500).tolist() == list(range(600))


def max_pool2d_beyond_a_grid(machine, rng, dtype):
    """More planes than blocks go down, and planes of more than one block."""
    for shape in ((3, 22_000, 2, 3), (1, 2, 30, 40)):
        x = rng.integers(0, 3, shape).astype(dtype)
        windows = (2, 3), (1, 1), (1, 1)
        output_size = shape[2] + 1, shape[3]
        y, winner = machine.run("max_pool2d", x, *windows, output_size)
        same((y, winner), kernels.max_pool2d.max_pool2d_xp(x, *windows, output_size))
        y_alone, none = machine.run("max_pool2d", x, *windows, output_size, need_winner=False)
        same((y_alone, none), (y, None))


def max_pool2d_dx_in_order(machine, rng, dtype):
    """Overlapping windows hand numbers whose sum depends on their order to one pixel."""
    x, windows = rng.integers(0, 3, (2, 2, 17, 20)).astype(dtype), ((3, 4), (1, 2), (1, 2))
    output_size = pool_output_size((17, 20), *windows)
    winner = kernels.max_pool2d.max_pool2d_loops(x, *windows, output_size)[1]
    dy = rng.normal(size=winner.shape).astype(dtype)
    expected = kernels.max_pool2d.max_pool2d_dx_loops(dy, winner, *windows, (17, 20))
    same(machine.run("max_pool2d_dx", dy, winner, *windows, (17, 20)), expected)


def numbers_that_are_not(machine, rng, dtype):
    """A NaN comes out of a maximum, whichever place it has among the rest."""
    x = rng.normal(size=(1, 3, 6, 7)).astype(dtype)
    x[rng.random(x.shape) < 0.2] = np.nan
    x[rng.random(x.shape) < 0.2] = -np.inf
    windows, output_size = ((3, 2), (1, 1), (1, 0)), (6, 6)
    expected = kernels.max_pool2d.max_pool2d_loops(x, *windows, output_size)
    same(machine.run("max_pool2d", x, *windows, output_size), expected)
    boxes = _boxes(rng, 8, 60, dtype)
    boxes[:3, [0, 1, 3]] = [[np.nan, 2, 3], [-np.inf, 1, np.inf], [1e30, -1e30, np.nan]]
    with np.errstate(all="ignore"):
        expected = kernels.roi_pool.roi_pool_loops(x[0], boxes, (3, 2), 0.1)
    same(machine.run("roi_pool", x[0], boxes, (3, 2), 0.1), expected)


def convolution_in_chunks(machine, rng, dtype):
    """Columns for a few output rows at a time, whose pixels overlap.

    Bit by bit as the rung ``im2col`` in NumPy, with the same chunks; a matrix product on another
    machine adds in another order, hence whole numbers.
    """
    shapes = {
        "3x3": ((2, 3, 19, 23), (3, 3), (1, 1), (1, 1)),
        "strided": ((2, 2, 18, 25), (3, 2), (2, 3), (2, 1)),
        "apart": ((1, 3, 17, 16), (2, 1), (3, 2), (0, 0)),
        "1x1": ((1, 4, 9, 8), (1, 1), (2, 1), (0, 1)),
        "planes": ((1, 66_000, 3, 2), (2, 2), (1, 1), (0, 0)),
    }
    for shape, kernel, *windows in shapes.values():
        x = rng.integers(-8, 8, shape).astype(dtype)
        weight = rng.integers(-8, 8, (2, shape[1], *kernel)).astype(dtype)
        bias = rng.integers(-8, 8, 2).astype(dtype)
        per_row = x.nbytes * kernel[0] * kernel[1] // shape[2]
        budgets = dict.fromkeys(("COLUMN_BYTES", "DEVICE_COLUMN_BYTES"), 4 * per_row)
        with mock.patch.multiple(im2col, **budgets):
            y = im2col.conv2d_im2col(x, weight, bias, *windows)
            dy = rng.integers(-8, 8, y.shape).astype(dtype)
            same(machine.run("conv2d", x, weight, bias, *windows), y)
            dx = im2col.conv2d_dx_im2col(dy, weight, shape[2:], *windows)
            same(machine.run("conv2d_dx", dy, weight, shape[2:], *windows), dx)
            dweight = im2col.conv2d_dweight_im2col(dy, x, kernel, *windows)
            same(machine.run("conv2d_dweight", dy, x, kernel, *windows), dweight)


def roi_pool_of_many(machine, rng, dtype):
    """More boxes than blocks go down, and planes of more than one block."""
    features = rng.integers(0, 5, (2, 5, 4)).astype(dtype)
    boxes = _boxes(rng, 66_000, 60, dtype)
    y, argmax = machine.run("roi_pool", features, boxes, (1, 2), 1 / 16)
    expected = kernels.roi_pool.roi_pool_xp(features, boxes, (1, 2), 1 / 16)
    same((y, argmax), tuple(map(np.ascontiguousarray, expected)))
    dy = rng.integers(-4, 5, y.shape).astype(dtype)  # whole: the rung xp sums in another order
    expected = kernels.roi_pool.roi_pool_dx_xp(dy, argmax, (5, 4))
    same(machine.run("roi_pool_dx", dy, argmax, (5, 4)), expected)


def roi_pool_between_cells(machine, rng, dtype):
    """Corners halfway between two cells go to the side their own dtype rounds them to."""
    features, scale = rng.normal(size=(1, 9, 9)).astype(dtype), 0.07
    for boxes_dtype in (np.float32, np.float64):
        halves = (rng.integers(0, 9, (60, 4)) + 0.5) / scale
        boxes = halves.astype(np.float32).astype(boxes_dtype)
        expected = kernels.roi_pool.roi_pool_loops(features, boxes, (2, 2), scale)
        same(machine.run("roi_pool", features, boxes, (2, 2), scale), expected)


def roi_pool_dx_in_order(machine, rng, dtype):
    """Overlapping boxes hand numbers whose sum depends on their order to one cell."""
    features, boxes = rng.normal(size=(3, 17, 20)).astype(dtype), _boxes(rng, 40, 300, dtype)
    argmax = kernels.roi_pool.roi_pool_loops(features, boxes, (3, 2), 1 / 16)[1]
    dy = rng.normal(size=argmax.shape).astype(dtype)
    expected = kernels.roi_pool.roi_pool_dx_loops(dy, argmax, (17, 20))
    same(machine.run("roi_pool_dx", dy, argmax, (17, 20)), expected)


def roi_align_to_the_last_bit(machine, rng, dtype):
    """Odd numbers, boxes large and small, inverted, across the border and off the map.

    All but the gradient by boxes: its sum over channels is in another order.
    """
    features, boxes = rng.normal(size=(3, 9, 12)).astype(dtype), _boxes(rng, 12, 150, dtype)
    boxes -= dtype(20)
    for size, samples, aligned in (((3, 2), 2, True), ((2, 3), 1, False), ((1, 1), 3, False)):
        options = 1 / 13, samples, aligned
        y = kernels.roi_align.roi_align_loops(features, boxes, size, *options)
        same(machine.run("roi_align", features, boxes, size, *options), y)
        arguments = rng.normal(size=y.shape).astype(dtype), features, boxes, *options
        dfeatures, dboxes = kernels.roi_align.roi_align_dx_loops(*arguments)
        found, by_boxes = machine.run("roi_align_dx", *arguments)
        same(found, dfeatures)
        atol = 100 * np.finfo(dtype).eps * np.abs(dboxes).max()
        np.testing.assert_allclose(by_boxes, dboxes, rtol=0, atol=atol, strict=True)
        same(machine.run("roi_align_dx", *arguments, need_dboxes=False), (dfeatures, None))


def roi_align_of_many(machine, rng, dtype):
    """More boxes than blocks go down; more cells, channels and outputs than a block has threads."""
    options = 1 / 16, 1, True  # of fours: eighths of a cell, whose products any dtype holds
    for shape, R in (((1, 2, 3), 66_000), ((300, 16, 20), 5)):
        features = rng.integers(0, 5, shape).astype(dtype)
        boxes = (4 * np.round(_boxes(rng, R, 60, np.float64) / 4)).astype(dtype)
        y = machine.run("roi_align", features, boxes, (1, 1), *options)
        same(y, kernels.roi_align.roi_align_xp(features, boxes, (1, 1), *options))
        arguments = rng.integers(-1, 2, y.shape).astype(dtype), features, boxes, *options
        expected = kernels.roi_align.roi_align_dx_xp(*arguments)
        for one, other in zip(machine.run("roi_align_dx", *arguments), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5, strict=True)


def numbers_that_are_not_aligned(machine, rng, dtype):
    """A box with a NaN gives NaN and takes no gradient; a NaN in the map stays where it is."""
    features, boxes = rng.normal(size=(2, 6, 7)).astype(dtype), _boxes(rng, 6, 60, dtype)
    features[:, 2, 3] = np.nan
    for side in range(4):
        boxes[side, side] = np.nan
    boxes[4] = [-np.inf, 0, np.inf, 40]
    with np.errstate(all="ignore"):
        y = kernels.roi_align.roi_align_loops(features, boxes, (2, 2), 0.1, 2, True)
        dy = rng.normal(size=y.shape).astype(dtype)
        expected = kernels.roi_align.roi_align_dx_loops(dy, features, boxes, 0.1, 2, True)
    same(machine.run("roi_align", features, boxes, (2, 2), 0.1, 2, True), y)
    same(machine.run("roi_align_dx", dy, features, boxes, 0.1, 2, True)[0], expected[0])


AT_SIZE = (
    iou_beyond_a_grid,
    assign_among_many,
    nms_of_many_tiles,
    nms_of_twins,
    max_pool2d_beyond_a_grid,
    max_pool2d_dx_in_order,
    numbers_that_are_not,
    convolution_in_chunks,
    roi_pool_of_many,
    roi_pool_between_cells,
    roi_pool_dx_in_order,
    roi_align_to_the_last_bit,
    roi_align_of_many,
    numbers_that_are_not_aligned,
)
