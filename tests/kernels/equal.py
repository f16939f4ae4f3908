"""The implementation ``cuda`` of every operation against its loops, wherever the kernels run.

Equal means equal in every bit, sums of gradients included, unless a function here says otherwise.
"""

import copy
import itertools
import math
import runpy
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np

from minirpn import accel, loops, nn
from minirpn.accel.cuda import _load
from minirpn.accel.cuda import boxes as cuda_boxes
from minirpn.accel.table import LOSS_ROUNDING
from minirpn.backend import to_host
from minirpn.nn import conv
from minirpn.nn.window import pool_output_size

CASES = {}
for path in sorted((Path(__file__).parents[1] / "ladders").glob("cases_*.py")):
    CASES |= runpy.run_path(str(path))["CASES"]
OPERATIONS = [one for one in accel.operations().values() if "cuda" in one.by_name]


class Machine(NamedTuple):
    """Where kernels run: how arrays get there, how kernels do, and what is around a run."""

    bring: Callable[[np.ndarray], object]
    launch: Callable
    memory: Callable = nullcontext

    @contextmanager
    def around(self):
        """Run kernels here, inside a ``with`` block."""
        with self.memory(), mock.patch.object(_load, "launch", self.launch):
            yield

    def run(self, operation, *args, **kwargs):
        """Return what implementation ``cuda`` makes of NumPy arrays, as NumPy arrays."""
        function = accel.operations()[operation].by_name["cuda"].function
        args, kwargs = self._brought(args), {k: self._brought(v) for k, v in kwargs.items()}
        with self.around():
            return _hosted(function(*args, **kwargs))

    def _brought(self, argument):
        if isinstance(argument, tuple):
            return tuple(map(self._brought, argument))
        return self.bring(argument) if isinstance(argument, np.ndarray) else argument


def _hosted(result):
    if isinstance(result, tuple):
        return tuple(map(_hosted, result))
    return None if result is None else to_host(result)


def array_code(operation, *args):
    """Return what the array code of an operation makes of these arguments."""
    return accel.operations()[operation].by_name["array"].function(*args)


def same(actual, expected, rounding=None):
    """Assert that results of any nesting have the same dtypes, shapes and bits.

    With `rounding`, as of an `Implementation`, floating-point numbers may differ so far.
    """
    if isinstance(expected, tuple):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            same(one, other, rounding)
    elif expected is None:
        assert actual is None
    elif rounding is not None and expected.dtype.kind == "f":
        assert actual.dtype == expected.dtype
        largest = max(1, np.max(np.abs(expected), initial=0))
        atol = rounding * np.finfo(expected.dtype).eps * largest
        np.testing.assert_allclose(actual, expected, rtol=0, atol=atol, strict=True)
    else:
        assert actual.dtype == expected.dtype
        np.testing.assert_array_equal(actual, expected, strict=True)


def unchanged(argument, before):
    """Assert that an argument, or all in a tuple, are what they were."""
    if isinstance(argument, tuple):
        for one, other in zip(argument, before, strict=True):
            unchanged(one, other)
    else:
        np.testing.assert_array_equal(argument, before)


def any_arguments(machine, operation, draw):
    """What the cases of tests/ladders draw: small whole numbers, exact in sums, ties, layouts."""
    args, kwargs = CASES[operation.name](draw)
    untouched = copy.deepcopy(args)
    expected = operation.by_name["loops"].function(*copy.deepcopy(args), **copy.deepcopy(kwargs))
    actual = machine.run(operation.name, *args, **kwargs)
    if operation.name == "roi_align_dx":  # all but the gradient by boxes
        (actual, dboxes), (expected, right) = actual, expected
        assert (dboxes is None) == (right is None)
        if right is not None:
            atol = 100 * np.finfo(right.dtype).eps * max(1, np.max(np.abs(right), initial=0))
            np.testing.assert_allclose(dboxes, right, rtol=0, atol=atol, strict=True)
    same(actual, expected, operation.by_name["cuda"].rounding)
    if kept := {"sgd": 1, "adamw": 2}.get(operation.name):
        # But for what it is there to change, and returns.
        *_, in_place = args
        args, untouched = (
            (*(() if in_place else some[:1]), *some[1 + kept :]) for some in (args, untouched)
        )
    if operation.name == "conv2d_relu":  # but for where it writes
        args, untouched = args[:5], untouched[:5]
    unchanged(args, untouched)


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
            expected = loops.iou(a[:40], b)
        overlaps = machine.run("iou", a, b)
        same(overlaps[:40], expected)
        same(overlaps, array_code("iou", a, b))


def assign_among_many(machine, rng, dtype):
    """Many blocks of anchors raise the same maxima, in float32 and float64."""
    anchors, gt_boxes = _boxes(rng, 3_000, 100, dtype), _boxes(rng, 7, 100, dtype)
    anchors[1_000:2_000] = anchors[:1_000]  # ties
    arguments = anchors, gt_boxes, rng.random(3_000) < 0.7, 0.01
    same(machine.run("assign", *arguments), loops.assign(*arguments))


def nms_of_many_words(machine, rng, dtype):
    """Many words of boxes, the last one cut; enough have stayed early, late, or never."""
    boxes = _boxes(rng, 1_300, 300, dtype)
    for threshold in (0.0, 0.3, 0.9):
        for max_keep in (0, 1, 64, 513, 2_000):
            expected = array_code("nms", boxes, threshold, max_keep)
            same(machine.run("nms", boxes, threshold, max_keep), expected)


def nms_around_a_word(machine, rng, dtype):
    """A bit less than a word of boxes, a word, a bit more; as many to keep as stay, or about."""
    for N in (1, 63, 64, 65, 200):
        boxes = _boxes(rng, N, 300, dtype)
        for threshold in (0.1, 1.0):
            expected = loops.nms(boxes, threshold, N)
            for max_keep in {0, 1, len(expected) - 1, len(expected), N}:
                kept = machine.run("nms", boxes, threshold, max_keep)
                same(kept, expected[:max_keep])


def nms_in_several_runs(machine, rng, dtype):
    """Runs of one word, then of more; all stay, or enough have in the first run or a later one."""
    for N, mask_words in ((130, 0), (450, 64 * 9), (512, 64 * 9)):
        boxes = _boxes(rng, N, 300, dtype)
        with mock.patch.object(cuda_boxes, "MASK_WORDS", mask_words):
            for threshold in (0.0, 0.4, 1.0):
                expected = array_code("nms", boxes, threshold, N)
                for max_keep in {1, 40, len(expected) - 1, len(expected), N}:
                    kept = machine.run("nms", boxes, threshold, max_keep)
                    same(kept, expected[:max_keep])


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
        same((y, winner), array_code("max_pool2d", x, *windows, output_size))
        y_alone, none = machine.run("max_pool2d", x, *windows, output_size, need_winner=False)
        same((y_alone, none), (y, None))


def max_pool2d_dx_in_order(machine, rng, dtype):
    """Overlapping windows hand numbers whose sum depends on their order to one pixel."""
    x, windows = rng.integers(0, 3, (2, 2, 17, 20)).astype(dtype), ((3, 4), (1, 2), (1, 2))
    output_size = pool_output_size((17, 20), *windows)
    winner = loops.max_pool2d(x, *windows, output_size)[1]
    dy = rng.normal(size=winner.shape).astype(dtype)
    expected = loops.max_pool2d_dx(dy, winner, *windows, (17, 20))
    same(machine.run("max_pool2d_dx", dy, winner, *windows, (17, 20)), expected)


def numbers_that_are_not(machine, rng, dtype):
    """A NaN comes out of a maximum, whichever place it has among the rest."""
    x = rng.normal(size=(1, 3, 6, 7)).astype(dtype)
    x[rng.random(x.shape) < 0.2] = np.nan
    x[rng.random(x.shape) < 0.2] = -np.inf
    windows, output_size = ((3, 2), (1, 1), (1, 0)), (6, 6)
    expected = loops.max_pool2d(x, *windows, output_size)
    same(machine.run("max_pool2d", x, *windows, output_size), expected)
    boxes = _boxes(rng, 8, 60, dtype)
    boxes[:3, [0, 1, 3]] = [[np.nan, 2, 3], [-np.inf, 1, np.inf], [1e30, -1e30, np.nan]]
    with np.errstate(all="ignore"):
        expected = loops.roi_pool(x[0], boxes, (3, 2), 0.1)
    same(machine.run("roi_pool", x[0], boxes, (3, 2), 0.1), expected)


def convolution_in_chunks(machine, rng, dtype):
    """Columns for a few output rows at a time, whose pixels overlap.

    Bit by bit as the array code in NumPy, with the same chunks; a matrix product on another
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
        with mock.patch.multiple(conv, **budgets):
            y = array_code("conv2d", x, weight, bias, *windows)
            dy = rng.integers(-8, 8, y.shape).astype(dtype)
            same(machine.run("conv2d", x, weight, bias, *windows), y)
            same(machine.run("conv2d_relu", x, weight, bias, *windows), np.maximum(y, 0))
            dx = array_code("conv2d_dx", dy, weight, shape[2:], *windows)
            same(machine.run("conv2d_dx", dy, weight, shape[2:], *windows), dx)
            dweight = array_code("conv2d_dweight", dy, x, kernel, *windows)
            same(machine.run("conv2d_dweight", dy, x, kernel, *windows), dweight)


def roi_pool_of_many(machine, rng, dtype):
    """More boxes than blocks go down, and planes of more than one block."""
    features = rng.integers(0, 5, (2, 5, 4)).astype(dtype)
    boxes = _boxes(rng, 66_000, 60, dtype)
    y, argmax = machine.run("roi_pool", features, boxes, (1, 2), 1 / 16)
    expected = array_code("roi_pool", features, boxes, (1, 2), 1 / 16)
    same((y, argmax), tuple(map(np.ascontiguousarray, expected)))
    dy = rng.integers(-4, 5, y.shape).astype(dtype)  # whole: the array code sums in another order
    expected = array_code("roi_pool_dx", dy, argmax, (5, 4))
    same(machine.run("roi_pool_dx", dy, argmax, (5, 4)), expected)


def roi_pool_between_cells(machine, rng, dtype):
    """Corners halfway between two cells go to the side their own dtype rounds them to."""
    features, scale = rng.normal(size=(1, 9, 9)).astype(dtype), 0.07
    for boxes_dtype in (np.float32, np.float64):
        halves = (rng.integers(0, 9, (60, 4)) + 0.5) / scale
        boxes = halves.astype(np.float32).astype(boxes_dtype)
        expected = loops.roi_pool(features, boxes, (2, 2), scale)
        same(machine.run("roi_pool", features, boxes, (2, 2), scale), expected)


def roi_pool_dx_in_order(machine, rng, dtype):
    """Overlapping boxes hand numbers whose sum depends on their order to one cell."""
    features, boxes = rng.normal(size=(3, 17, 20)).astype(dtype), _boxes(rng, 40, 300, dtype)
    argmax = loops.roi_pool(features, boxes, (3, 2), 1 / 16)[1]
    dy = rng.normal(size=argmax.shape).astype(dtype)
    expected = loops.roi_pool_dx(dy, argmax, (17, 20))
    same(machine.run("roi_pool_dx", dy, argmax, (17, 20)), expected)


def roi_align_to_the_last_bit(machine, rng, dtype):
    """Odd numbers, boxes large and small, inverted, across the border and off the map.

    All but the gradient by boxes: its sum over channels is in another order.
    """
    features, boxes = rng.normal(size=(3, 9, 12)).astype(dtype), _boxes(rng, 12, 150, dtype)
    boxes -= dtype(20)
    for size, samples, aligned in (((3, 2), 2, True), ((2, 3), 1, False), ((1, 1), 3, False)):
        options = 1 / 13, samples, aligned
        y = loops.roi_align(features, boxes, size, *options)
        same(machine.run("roi_align", features, boxes, size, *options), y)
        arguments = rng.normal(size=y.shape).astype(dtype), features, boxes, *options
        dfeatures, dboxes = loops.roi_align_dx(*arguments)
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
        same(y, array_code("roi_align", features, boxes, (1, 1), *options))
        arguments = rng.integers(-1, 2, y.shape).astype(dtype), features, boxes, *options
        expected = array_code("roi_align_dx", *arguments)
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
        y = loops.roi_align(features, boxes, (2, 2), 0.1, 2, True)
        dy = rng.normal(size=y.shape).astype(dtype)
        expected = loops.roi_align_dx(dy, features, boxes, 0.1, 2, True)
    same(machine.run("roi_align", features, boxes, (2, 2), 0.1, 2, True), y)
    same(machine.run("roi_align_dx", dy, features, boxes, 0.1, 2, True)[0], expected[0])


SIZES = {  # of parameters: nothing, one, a block's threads and a chunk of it, about and above
    "none": (0,),
    "bias": (1,),
    "odd": (31,),
    "threads": (257,),
    "matrix": (70, 73),
    "chunk": (4096,),
    "kernels": (9, 120, 3, 5),
    "last": (18,),
    "nothing behind": (2, 0),
}


def _layouts_of(rng, shape, dtype):
    """Return arrays that lie as NumPy would have them, with axis 1 last, and with gaps."""
    dense = rng.normal(size=shape).astype(dtype)
    turned = (
        np.moveaxis(np.ascontiguousarray(np.moveaxis(dense, 1, -1)), -1, 1)
        if dense.ndim > 1
        else dense
    )
    return dense, turned, np.repeat(dense, 2, axis=0)[::2]


def sgd_over_steps(machine, rng, dtype):
    """Many chunks, every layout of value, velocity and gradient, steps that follow each other."""
    for rule in nn.optim.RULES:
        values, velocities = (
            tuple(
                _layouts_of(rng, shape, dtype)[n % 3 if kind == "values" else n % 2]
                for n, shape in enumerate(SIZES.values())
            )
            for kind in ("values", "velocities")
        )
        for step in range(3):
            grads = tuple(_layouts_of(rng, shape, dtype)[step] for shape in SIZES.values())
            rates, decays = (rng.uniform(0, 2, len(SIZES)).tolist() for _ in range(2))
            arguments = rates, decays, 0.9, rule
            before = copy.deepcopy((values, grads))
            expected = nn.optim.move_all(values, copy.deepcopy(velocities), grads, *arguments)
            moved = machine.run("sgd", values, velocities, grads, *arguments)
            same(moved, expected)
            unchanged((values, grads), before)
            values, velocities = moved


def sgd_of_odd_numbers(machine, rng, dtype):
    """Infinities, NaN and the smallest numbers come out as array code has them."""
    odd = [np.nan, np.inf, -np.inf, np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max, -0.0]
    value, velocity, grad = (rng.choice(np.array([*odd, 1], dtype), 400) for _ in range(3))
    for rule in nn.optim.RULES:
        arrays = (value,), (velocity.copy(),), (grad,)
        with np.errstate(all="ignore"):
            expected = nn.optim.move_all(*copy.deepcopy(arrays), [0.3], [0.7], 0.9, rule)
        same(machine.run("sgd", *arrays, [0.3], [0.7], 0.9, rule), expected)


def sgd_of_two_dtypes(machine, rng, dtype):
    """Parameters of either dtype are moved, each in its own."""
    arrays = [
        tuple(rng.normal(size=5).astype(kind) for kind in (np.float32, np.float64, np.float32))
        for _ in range(3)
    ]
    options = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6], 0.9, "caffe"
    expected = nn.optim.move_all(*copy.deepcopy(arrays), *options)
    same(machine.run("sgd", *arrays, *options), expected)


def adamw_over_steps(machine, rng, dtype):
    """Many chunks, every layout of value, averages and gradient, steps that follow each other."""
    values, means, squares = (
        tuple(
            _layouts_of(rng, shape, dtype)[n % 3 if kind == "values" else n % 2]
            for n, shape in enumerate(SIZES.values())
        )
        for kind in ("values", "means", "squares")
    )
    squares = tuple(np.abs(square) for square in squares)
    for step in range(3):
        grads = tuple(_layouts_of(rng, shape, dtype)[step] for shape in SIZES.values())
        rates, decays = (rng.uniform(0, 2, len(SIZES)).tolist() for _ in range(2))
        arguments = grads, rates, decays, 10 * step + 1, (0.9, 0.999), 1e-8
        before = copy.deepcopy((values, grads))
        averages = copy.deepcopy((means, squares))
        expected = nn.adam.move_all_by_adam(values, *averages, *arguments)
        moved = machine.run("adamw", values, means, squares, *arguments)
        same(moved, expected)
        unchanged((values, grads), before)
        values, means, squares = moved


def adamw_of_odd_numbers(machine, rng, dtype):
    """Infinities, NaN and the smallest numbers come out as array code has them."""
    odd = [np.nan, np.inf, -np.inf, np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max, -0.0]
    arrays = [(rng.choice(np.array([*odd, 1], dtype), 400),) for _ in range(4)]
    options = [0.3], [0.7], 5, (0.5, 0.75), 1e-8
    with np.errstate(all="ignore"):
        expected = nn.adam.move_all_by_adam(*copy.deepcopy(arrays), *options)
    same(machine.run("adamw", *arrays, *options), expected)


def adamw_of_two_dtypes(machine, rng, dtype):
    """Parameters of either dtype are moved, each in its own."""
    arrays = [
        tuple(rng.uniform(1, 2, 5).astype(kind) for kind in (np.float32, np.float64, np.float32))
        for _ in range(4)
    ]
    options = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6], 3, (0.9, 0.999), 1e-8
    expected = nn.adam.move_all_by_adam(*copy.deepcopy(arrays), *options)
    same(machine.run("adamw", *arrays, *options), expected)


def square_sums_of_many_chunks(machine, rng, dtype):
    """The sum is double, and rounded once at the end; it is the same in every layout."""
    of_layout = zip(*(_layouts_of(rng, shape, dtype) for shape in SIZES.values()), strict=True)
    for arrays in of_layout:
        squares = [np.square(array, dtype=np.float64).ravel().tolist() for array in arrays]
        exact = np.array([math.fsum(some) for some in squares]).astype(dtype)
        total = np.array(math.fsum(itertools.chain(*squares))).astype(dtype)
        rtol = 0 if dtype == np.float32 else 2 * np.finfo(dtype).eps
        sums = machine.run("square_sums", arrays), machine.run("square_sums", arrays, True)
        for actual, expected in zip(sums, (exact, total), strict=True):
            np.testing.assert_allclose(actual, expected, rtol=rtol, atol=0, strict=True)
    small = np.full(4096, 2.0**-13, dtype)  # whose squares a float next to 1 does not see
    small[0] = 1
    assert machine.run("square_sums", (small,), True) == dtype(1 + 4095 * 2.0**-26)
    mixed = np.ones(3, np.float32), np.ones(5, np.float64)
    same(machine.run("square_sums", mixed), np.array([3.0, 5.0]))
    assert machine.run("square_sums", mixed, True) == 8


def square_sums_of_what_is_not_finite(machine, rng, dtype):
    """One number that is not finite shows, wherever it is; what is finite does not seem not to."""
    largest = np.sqrt(np.finfo(dtype).max) / 100
    arrays = tuple(np.full(shape, largest / 100, dtype) for shape in SIZES.values())
    assert np.isfinite(machine.run("square_sums", arrays, True))
    for n, array in enumerate(arrays):
        places = {0, array.size // 2, array.size - 1} if array.size else set()
        for place, wrong in ((place, wrong) for place in places for wrong in (np.nan, np.inf)):
            before, array.flat[place] = array.flat[place], wrong
            finite = np.isfinite(machine.run("square_sums", arrays))
            assert np.flatnonzero(~finite).tolist() == [n]
            assert not np.isfinite(machine.run("square_sums", arrays, True))
            array.flat[place] = before


def softmax_of_many_rows(machine, rng, dtype):
    """The RPN's anchors, a few of them sampled, and the detector's regions."""
    for K, L, kind in ((21_546, 2, np.int8), (128, 21, np.int64)):
        logits, targets = 3 * rng.normal(size=(K, L)), rng.integers(0, L, K).astype(kind)
        weights = np.where(rng.random(K) < 256 / K, 1 / 256, 0).astype(dtype)
        targets[weights == 0] = -1
        every_other = np.repeat(logits.astype(dtype), 2, axis=0)[::2], targets, weights
        loss, probabilities = machine.run("softmax_cross_entropy", *every_other)
        expected, of_classes = array_code("softmax_cross_entropy", *every_other)
        same((loss, probabilities), (np.asarray(expected), of_classes), LOSS_ROUNDING)
        for dloss in (1.0, 0.1, np.asarray(0.1, dtype)):
            arguments = of_classes, targets, weights, dloss
            dlogits = machine.run("softmax_cross_entropy_dx", *arguments)
            same(dlogits, array_code("softmax_cross_entropy_dx", *arguments))
            assert (dlogits[targets == -1] == 0).all()


def softmax_of_odd_numbers(machine, rng, dtype):
    """Rows with a number that is not finite, wherever it is, come out as array code has them."""
    for L in (1, 2, 3):
        odd = rng.choice(np.array([np.nan, np.inf, -np.inf, 1, 2], dtype), (300, L))
        targets, weights = rng.integers(-1, L + 1, 300), rng.random(300).astype(dtype)
        for k in range(300):
            arguments = odd[k : k + 1], targets[k : k + 1], weights[k : k + 1]
            with np.errstate(all="ignore"):
                loss, probabilities = array_code("softmax_cross_entropy", *arguments)
            actual = machine.run("softmax_cross_entropy", *arguments)
            np.testing.assert_array_equal(np.isnan(actual[1]), np.isnan(probabilities))
            np.testing.assert_allclose(actual[0], loss, rtol=1e-6)


def softmax_asks_no_target_outside_of_a_row(machine, rng, dtype):
    """What is no class costs nothing, however far from the classes, and whatever the weight."""
    targets = np.array([-1, 2, -(2**63), 2**63 - 1, 2**32, -(2**32)])
    arguments = np.zeros((6, 2), dtype), targets, np.ones(6, dtype)
    loss, probabilities = machine.run("softmax_cross_entropy", *arguments)
    assert loss == 0
    dlogits = machine.run("softmax_cross_entropy_dx", probabilities, *arguments[1:], 1.0)
    same((probabilities, dlogits), 2 * (np.full((6, 2), 0.5, dtype),))


def smooth_l1_to_the_last_bit(machine, rng, dtype):
    """Both sides of the turn and the turn itself, a NaN, infinities; a dy of any shape."""
    for sigma in (1.0, 3.0, 0.3):
        x = rng.normal(size=(21_546, 4)).astype(dtype)
        turn = dtype(1 / sigma**2)
        at_turn = np.nextafter(turn, dtype(0)), turn, np.nextafter(turn, dtype(9))
        x.flat[:9] = *at_turn, *np.negative(at_turn), np.nan, np.inf, -np.inf
        same(machine.run("smooth_l1", x, sigma), array_code("smooth_l1", x, sigma))
        for shape in ((21_546, 4), (21_546, 1), (4,), (1, 1), (2, 21_546, 4), ()):
            dy = np.array(rng.normal(size=shape), dtype)
            expected = array_code("smooth_l1_dx", dy, x, sigma)
            same(machine.run("smooth_l1_dx", dy, x, sigma), expected)


def losses_of_two_dtypes(machine, rng, dtype):
    """Weights come in the dtype of the logits, a gradient in that which holds both."""
    other = np.float64 if dtype is np.float32 else np.float32
    logits, weights = rng.normal(size=(5, 2)).astype(dtype), np.ones(5)
    arguments = logits, np.array([1, 0, 1, 0, 0])
    expected = loops.softmax_cross_entropy(*arguments, weights.astype(dtype))
    actual = machine.run("softmax_cross_entropy", *arguments, weights.astype(other))
    same(actual, expected, LOSS_ROUNDING)
    dy = rng.integers(-4, 5, (5, 2)).astype(other)
    dx = machine.run("smooth_l1_dx", dy, np.trunc(logits), 1.0)
    same(dx, array_code("smooth_l1_dx", dy, np.trunc(logits), 1.0))


AT_SIZE = (
    iou_beyond_a_grid,
    assign_among_many,
    nms_of_many_words,
    nms_around_a_word,
    nms_in_several_runs,
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
    sgd_over_steps,
    sgd_of_odd_numbers,
    sgd_of_two_dtypes,
    adamw_over_steps,
    adamw_of_odd_numbers,
    adamw_of_two_dtypes,
    square_sums_of_many_chunks,
    square_sums_of_what_is_not_finite,
    softmax_of_many_rows,
    softmax_of_odd_numbers,
    softmax_asks_no_target_outside_of_a_row,
    smooth_l1_to_the_last_bit,
    losses_of_two_dtypes,
)
