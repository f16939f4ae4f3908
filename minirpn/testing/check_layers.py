"""Checks of convolution, max pooling and RoI pooling, and the mistakes they know.

Here a forward and its backward are one function, which returns ``y`` and the gradients by name.
Its options spoil one part each. Inputs are small whole numbers, so that pixels tie and sums are
exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.nn import conv_output_size, pool_output_size
from minirpn.testing.examine import (
    Answers,
    Drawn,
    Exercise,
    Mistakes,
    Question,
    Verdict,
    spoiled,
)
from minirpn.testing.pairs import answers_of, examine_pair

Pair = tuple[int, int]
Span = tuple[int, int]
"""The first cell, and the cell after the last one."""

_ONE_OR_TWO = st.integers(1, 2)
_ONE_TO_THREE = st.integers(1, 3)
_SEEDS = st.integers(0, 2**16)


def _places(size: Pair, kernel: Pair, stride: int) -> Iterator[tuple[Pair, tuple[slice, slice]]]:
    """Yield each output's place and the window of the padded image behind it."""
    for i, j in np.ndindex(size):
        top, left = i * stride, j * stride
        yield (i, j), (slice(top, top + kernel[0]), slice(left, left + kernel[1]))


def _numbers(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(-3, 4, shape).astype(np.float64)


# --- convolution ---------------------------------------------------------------------------------


def _conv2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    dy: np.ndarray,
    stride: int,
    padding: int,
    *,
    mode: str = "constant",
    overwrites: bool = False,
) -> Answers:
    """Return y and the gradients, window by window."""
    kernel = (weight.shape[2], weight.shape[3])
    size = conv_output_size((x.shape[2], x.shape[3]), kernel, stride, padding)
    around = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    image = np.pad(x, around, mode=mode)  # type: ignore[call-overload]
    y, dimage, dweight = np.zeros(dy.shape), np.zeros(image.shape), np.zeros(weight.shape)
    for (i, j), window in _places(size, kernel, stride):
        pixels = image[:, :, *window]
        y[:, :, i, j] = np.tensordot(pixels, weight, axes=([1, 2, 3], [1, 2, 3])) + bias
        # (N,O) and (O,C,kh,kw) -> (N,C,kh,kw)
        handed_back = np.tensordot(dy[:, :, i, j], weight, axes=1)
        dimage[:, :, *window] = handed_back + (0 if overwrites else dimage[:, :, *window])
        dweight += np.tensordot(dy[:, :, i, j], pixels, axes=([0], [0]))
    inside = (slice(padding, padding + x.shape[2]), slice(padding, padding + x.shape[3]))
    dbias = dy.sum(axis=(0, 2, 3))
    return {"y": y, "dx": dimage[:, :, *inside], "dweight": dweight, "dbias": dbias}


def _turned(weight: np.ndarray) -> np.ndarray:
    return weight[:, :, ::-1, ::-1]


def _conv_of(change: Callable[[Any], Any], x: Any, weight: Any, *rest: Any) -> Answers:
    """Return a convolution with a changed kernel; the change is its own inverse."""
    wrong = _conv2d(x, change(weight), *rest)
    return wrong | {"dweight": change(wrong["dweight"])}


def _dx_turned(x: Any, weight: Any, *rest: Any) -> Answers:
    return _conv2d(x, weight, *rest) | {"dx": _conv2d(x, _turned(weight), *rest)["dx"]}


def _dweight_of_first_image(x: Any, weight: Any, bias: Any, dy: Any, *rest: Any) -> Answers:
    first = _conv2d(x[:1], weight, bias, dy[:1], *rest)
    return _conv2d(x, weight, bias, dy, *rest) | {"dweight": first["dweight"]}


def _dweight_averaged(x: Any, *rest: Any) -> Answers:
    right = _conv2d(x, *rest)
    return right | {"dweight": right["dweight"] / len(x)}


def _dbias_averaged(x: Any, weight: Any, bias: Any, dy: Any, *rest: Any) -> Answers:
    return _conv2d(x, weight, bias, dy, *rest) | {"dbias": dy.mean(axis=(0, 2, 3))}


NO_BIAS = "Where is the bias?"
CONV2D_MISTAKES: Mistakes = {
    "Did you turn the kernel round? A layer correlates: y[i] takes x[i + p] weight[p].": partial(
        _conv_of, _turned
    ),
    NO_BIAS: lambda x, weight, bias, *rest: _conv2d(x, weight, 0 * bias, *rest),
    "Outside of the image x is 0.": partial(_conv2d, mode="edge"),
    "Did you swap rows and columns of the kernel?": partial(
        _conv_of, lambda weight: weight.swapaxes(2, 3)
    ),
    "Is the kernel the wrong way round in dx? What x[i + p] gave to y[i], dy[i] gives back.": (
        _dx_turned
    ),
    "Windows overlap: add to dx, do not overwrite it.": partial(_conv2d, overwrites=True),
    "A kernel sees all images: sum dweight over them.": _dweight_of_first_image,
    "Sum dweight over the images: the loss has its 1 / N already.": _dweight_averaged,
    "The bias adds to every output: dbias is a sum, not a mean.": _dbias_averaged,
}


def _conv_question(
    N: int, C: int, outs: int, size: Pair, kernel: Pair, *, stride: int, padding: int, seed: int = 0
) -> Question:
    rng = np.random.default_rng(seed)
    return {
        "x": _numbers(rng, N, C, *size),
        "weight": _numbers(rng, outs, C, *kernel),
        "bias": _numbers(rng, outs),
        "dy": _numbers(rng, N, outs, *conv_output_size(size, kernel, stride, padding)),
        "stride": stride,
        "padding": padding,
    }


@st.composite
def _convolutions(draw: DrawFn) -> Question:
    kernel = draw(st.tuples(_ONE_TO_THREE, _ONE_TO_THREE))
    padding = draw(st.integers(0, 1))
    H, W = (draw(st.integers(max(1, side - 2 * padding), 4)) for side in kernel)
    N, C, outs, stride = (draw(_ONE_OR_TWO) for _ in range(4))
    seed = draw(_SEEDS)
    return _conv_question(N, C, outs, (H, W), kernel, stride=stride, padding=padding, seed=seed)


def check_conv2d(
    forward: Callable[..., Any], backward: Callable[..., Any] | None = None
) -> Verdict:
    """Check a convolution: ``forward(x, weight, bias, stride=, padding=)`` and its backward.

    Parameters
    ----------
    forward
        Takes x (N, C, H, W), weight (O, C, kh, kw), bias (O,) and two ints; returns ``(y, cache)``,
        y of shape (N, O, Ho, Wo). Without `backward` it may return y alone.
    backward
        ``backward(dy, cache)`` returns ``(dx, dweight, dbias)``; None checks none.

    Raises
    ------
    CheckError
        An answer is wrong; the message has the smallest example found, and perhaps why.

    Notes
    -----
    See `minirpn.nn.conv2d_forward`. Expected are the sums over windows, written as loops.
    """

    def both(x: Any, weight: Any, bias: Any, dy: Any, stride: int, padding: int) -> Any:
        def run(x: Any) -> Any:
            return forward(x, weight, bias, stride=stride, padding=padding)

        return answers_of(run, x, backward, {"y": dy}, ("dx", "dweight", "dbias"))

    exercise = Exercise(
        answer=_conv2d,
        stages=(Drawn(_convolutions()),),
        probes=(
            _conv_question(2, 2, 1, (4, 4), (3, 3), stride=1, padding=1),
            _conv_question(2, 1, 2, (5, 4), (2, 2), stride=2, padding=1),
        ),
        mistakes=CONV2D_MISTAKES,
    )
    return examine_pair(forward, backward, both, exercise)


# --- the largest of each window ------------------------------------------------------------------


def _hand_back(
    dx: np.ndarray,
    window: tuple[Any, ...],
    pixels: np.ndarray,
    dy: Any,
    *,
    to_ties: str = "first",
    overwrites: bool = False,
) -> None:
    """Add `dy` to the place of the largest pixel of a window."""
    wins = pixels == pixels.max()
    if to_ties != "all":
        order = wins.ravel().cumsum().reshape(wins.shape)
        wins &= order == (1 if to_ties == "first" else wins.sum())
    before = np.where(wins, 0, dx[window]) if overwrites else dx[window]
    dx[window] = before + dy * wins


def _max_pool2d(
    x: np.ndarray,
    dy: np.ndarray,
    kernel: int,
    stride: int,
    padding: int,
    ceil_mode: bool,
    *,
    outside: float = -np.inf,
    **gradient: Any,
) -> Answers:
    """Return y and dx, window by window; `gradient` are options of `_hand_back`."""
    size = pool_output_size((x.shape[2], x.shape[3]), kernel, stride, padding, ceil_mode)
    # A last window may reach beyond the padding: this makes room for it.
    around = ((0, 0), (0, 0), (padding, padding + stride), (padding, padding + stride))
    image = np.pad(x, around, constant_values=outside)
    y, dimage = np.zeros((*x.shape[:2], *size)), np.zeros(image.shape)
    if y.shape != dy.shape:
        return {"y": y, "dx": np.zeros(0)}
    for n, c in np.ndindex(x.shape[:2]):
        for (i, j), place in _places(size, (kernel, kernel), stride):
            window = (n, c, *place)
            y[n, c, i, j] = image[window].max()
            _hand_back(dimage, window, image[window], dy[n, c, i, j], **gradient)
    inside = (slice(padding, padding + x.shape[2]), slice(padding, padding + x.shape[3]))
    return {"y": y, "dx": dimage[:, :, *inside]}


def _pool_smallest(x: Any, dy: Any, *rest: Any) -> Answers:
    right = _max_pool2d(-x, dy, *rest)
    return {"y": -right["y"], "dx": right["dx"]}


def _pool_spread(x: Any, dy: Any, kernel: int, stride: int, padding: int, *rest: Any) -> Answers:
    right = _max_pool2d(x, dy, kernel, stride, padding, *rest)
    C = x.shape[1]
    kernels = np.zeros((C, C, kernel, kernel))
    kernels[range(C), range(C)] = 1 / kernel**2
    if conv_output_size((x.shape[2], x.shape[3]), kernel, stride, padding) != dy.shape[2:]:
        return right
    return right | {"dx": _conv2d(x, kernels, np.zeros(C), dy, stride, padding)["dx"]}


MAX_POOL2D_MISTAKES: Mistakes = {
    "With ceil_mode a last window covers the pixels left over: round up.": (
        lambda x, dy, kernel, stride, padding, ceil_mode: _max_pool2d(
            x, dy, kernel, stride, padding, False
        )
    ),
    "This is the smallest pixel of each window.": _pool_smallest,
    "The whole gradient goes to the pixel that won, none to the others.": _pool_spread,
} | spoiled(
    _max_pool2d,
    outside={0: "Padding must never win: pad with minus infinity, not with 0."},
    to_ties={
        "all": "Where pixels tie, only the first one (row by row) gets the gradient.",
        "last": "Where pixels tie, the first one (row by row) gets the gradient, not the last.",
    },
    overwrites={True: "A pixel may win several windows: add up what they give back."},
)


def _pool_question(
    N: int, C: int, size: Pair, *, kernel: int, stride: int, padding: int, ceil: bool, seed: int = 0
) -> Question:
    rng = np.random.default_rng(seed)
    return {
        "x": _numbers(rng, N, C, *size),
        "dy": _numbers(rng, N, C, *pool_output_size(size, kernel, stride, padding, ceil)),
        "kernel": kernel,
        "stride": stride,
        "padding": padding,
        "ceil_mode": ceil,
    }


@st.composite
def _poolings(draw: DrawFn) -> Question:
    kernel = draw(_ONE_TO_THREE)
    padding = draw(st.integers(0, kernel // 2))
    side = st.integers(max(1, kernel - 2 * padding), 5)
    return _pool_question(
        draw(_ONE_OR_TWO),
        draw(_ONE_OR_TWO),
        (draw(side), draw(side)),
        kernel=kernel,
        stride=draw(st.integers(1, kernel)),
        padding=padding,
        ceil=draw(st.booleans()),
        seed=draw(_SEEDS),
    )


def check_max_pool2d(
    forward: Callable[..., Any], backward: Callable[..., Any] | None = None
) -> Verdict:
    """Check max pooling: ``forward(x, kernel=, stride=, padding=, ceil_mode=)`` and its backward.

    Parameters
    ----------
    forward
        Takes x (N, C, H, W), three ints and a bool; returns ``(y, cache)``. Without `backward` it
        may return y alone.
    backward
        ``backward(dy, cache)`` returns dx; None checks none.

    Raises
    ------
    CheckError
        An answer is wrong; the message has the smallest example found, and perhaps why.

    Notes
    -----
    The first of equal pixels, row by row, wins. See `minirpn.nn.max_pool2d_forward`.
    """

    def both(x: Any, dy: Any, kernel: int, stride: int, padding: int, ceil_mode: bool) -> Any:
        def run(x: Any) -> Any:
            return forward(x, kernel=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)

        return answers_of(run, x, backward, {"y": dy}, ("dx",))

    exercise = Exercise(
        answer=_max_pool2d,
        stages=(Drawn(_poolings()),),
        probes=(
            _pool_question(2, 2, (5, 5), kernel=3, stride=1, padding=1, ceil=True),
            _pool_question(1, 2, (5, 4), kernel=2, stride=2, padding=0, ceil=True),
        ),
        mistakes=MAX_POOL2D_MISTAKES,
    )
    return examine_pair(forward, backward, both, exercise)


# --- the largest of each bin of a region ---------------------------------------------------------


def _away_from_zero(position: np.ndarray) -> np.ndarray:
    """Return whole numbers, halves away from zero; positions are whole or half numbers."""
    return np.trunc(position + np.copysign(0.5, position))


def _bin(first: int, last: int, k: int, count: int, size: int) -> Span:
    """Return the cells of bin `k`, which may reach off the map of `size`."""
    length = max(last - first + 1, 1)
    return first + k * length // count, first - (-(k + 1) * length // count)


def _cut(span: Span) -> slice:
    """Return the cells that are on the map."""
    return slice(max(span[0], 0), max(span[1], 0))


def _roi_pool(
    features: np.ndarray,
    boxes: np.ndarray,
    dy: np.ndarray,
    output_size: Pair,
    stride: float,
    *,
    rounded: Callable[[np.ndarray], np.ndarray] = _away_from_zero,
    bin_of: Callable[[int, int, int, int, int], Span] = _bin,
    cut: Callable[[Span], slice] = _cut,
    largest: Callable[[np.ndarray], Any] = np.max,
    empty: float = 0.0,
    **gradient: Any,
) -> Answers:
    """Return y and dfeatures, bin by bin; `gradient` are options of `_hand_back`."""
    (C, Hf, Wf), (h, w) = features.shape, output_size
    y, dfeatures = np.full((len(boxes), C, h, w), empty), np.zeros(features.shape)
    cells = rounded(boxes / stride).astype(int)
    for r, c, i, j in np.ndindex(y.shape):
        x1, y1, x2, y2 = cells[r]
        rows, columns = bin_of(y1, y2, i, h, Hf), bin_of(x1, x2, j, w, Wf)
        window = (c, cut(rows), cut(columns))
        if features[window].size:
            y[r, c, i, j] = largest(features[window])
            _hand_back(dfeatures, window, features[window], dy[r, c, i, j], **gradient)
    return {"y": y, "dfeatures": dfeatures}


def _rounded_up_halves(position: np.ndarray) -> np.ndarray:
    return np.floor(position + 0.5)


def _rounded_outward(position: np.ndarray) -> np.ndarray:
    return np.concatenate([np.floor(position[:, :2]), np.ceil(position[:, 2:])], axis=1)


def _uncut(span: Span) -> slice:
    return slice(*span)


def _without_end(first: int, last: int, *rest: int) -> Span:
    return _bin(first, last - 1, *rest)


def _apart(first: int, last: int, k: int, count: int, size: int) -> Span:
    length = max(last - first + 1, 1)
    return first + k * length // count, first + (k + 1) * length // count


def _of_whole_cells(first: int, last: int, k: int, count: int, size: int) -> Span:
    width = max((last - first + 1) // count, 1)
    return first + k * width, first + (k + 1) * width


def _of_cut_box(first: int, last: int, k: int, count: int, size: int) -> Span:
    limits = np.clip([first, max(last, first)], 0, size - 1)
    return _bin(int(limits[0]), int(limits[1]), k, count, size)


def _none_if_inverted(first: int, last: int, *rest: int) -> Span:
    return (0, 0) if last < first else _bin(first, last, *rest)


ROI_POOL_MISTAKES: Mistakes = {
    "Did you swap x and y? A box is (x1, y1, x2, y2): its columns are from x1 to x2.": (
        lambda features, boxes, *rest: _roi_pool(features, boxes[:, [1, 0, 3, 2]], *rest)
    ),
    "Boxes are in pixels of the image: divide them by the stride.": (
        lambda features, boxes, dy, size, stride: _roi_pool(features, boxes, dy, size, 1.0)
    ),
    "Did you multiply by the stride? A cell is many pixels: divide by it.": (
        lambda features, boxes, dy, size, stride: _roi_pool(features, boxes, dy, size, 1 / stride)
    ),
} | spoiled(
    _roi_pool,
    rounded={
        np.round: "Python and NumPy round halves to even numbers; "
        "here they are rounded away from zero.",
        np.floor: "Did you round corners down? They go to the nearest cell, halves away from zero.",
        _rounded_up_halves: "Halves are rounded away from zero, so -0.5 to -1.",
        _rounded_outward: "Did you round x2, y2 up? "
        "All corners go to the nearest cell, halves away from zero.",
    },
    bin_of={
        _without_end: "The cell that x2, y2 round to is in the box, too: "
        "it is end - start + 1 cells wide.",
        _apart: "Bins overlap: they start at floor(k length / count), "
        "and end before ceil((k + 1) ...).",
        _of_whole_cells: "Are your bins length // count cells wide? "
        "Divide exactly, then round each bin's ends.",
        _of_cut_box: "Did you cut the box off at the border? "
        "Make the bins of the whole box, then cut each.",
        _none_if_inverted: "A box is at least one cell wide and high, even where x2 < x1: "
        "max(end - start + 1, 1).",
    },
    cut={
        _uncut: "Left of or above the map, a bin's start is negative: "
        "NumPy then counts from the far end."
    },
    largest={np.mean: "This is the mean of each bin; it should be the largest."},
    empty={-np.inf: "A bin off the map has no cell: it gives 0, not minus infinity."},
    to_ties={
        "all": "Where cells tie, only the first one (row by row) gets the gradient.",
        "last": "Where cells tie, the first one (row by row) gets the gradient, not the last.",
    },
    overwrites={
        True: "A cell may win several bins, of one box or of many: add up what they give back."
    },
)


def _region_question(
    size: Pair,
    half_cells: list[tuple[int, int, int, int]],
    output_size: Pair,
    *,
    stride: float,
    channels: int,
    seed: int,
) -> Question:
    """Return a question about boxes whose corners are given in half cells."""
    rng = np.random.default_rng(seed)
    return {
        # Without 0, so that a bin that has nothing is told from one that has.
        "features": rng.choice([-3.0, -2, -1, 1, 2, 3], (channels, *size)),
        "boxes": np.array(half_cells, dtype=np.float64).reshape(-1, 4) * (stride / 2),
        "dy": _numbers(rng, len(half_cells), channels, *output_size),
        "output_size": output_size,
        "stride": stride,
    }


@st.composite
def _regions(draw: DrawFn, *, on_map: bool) -> Question:
    """Draw a map and boxes, ordinary ones inside of it or of any kind."""
    size = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    outside = 0 if on_map else 3
    # The last cell is the farthest that an ordinary corner is rounded to.
    y, x = (st.integers(-outside, 2 * (side - 1) + outside) for side in size)
    corners = [draw(st.tuples(x, y, x, y)) for _ in range(draw(st.integers(0, 2)))]
    if on_map:
        corners = [
            (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)) for x1, y1, x2, y2 in corners
        ]
    return _region_question(
        size,
        corners,
        draw(st.tuples(_ONE_TO_THREE, _ONE_TO_THREE)),
        stride=draw(st.sampled_from([4.0, 16.0])),
        channels=draw(_ONE_OR_TWO),
        seed=draw(_SEEDS),
    )


def check_roi_pool(
    forward: Callable[..., Any], backward: Callable[..., Any] | None = None
) -> Verdict:
    """Check RoI max pooling: ``forward(features, boxes, output_size=, stride=)`` and its backward.

    Parameters
    ----------
    forward
        Takes features (C, Hf, Wf), boxes (R, 4) in half-open pixels, (h, w) and a number of pixels;
        returns ``(y, cache)``, y of shape (R, C, h, w). Without `backward` it may return y alone.
    backward
        ``backward(dy, cache)`` returns dfeatures; None checks none.

    Raises
    ------
    CheckError
        An answer is wrong; the message has the smallest example found, and perhaps why.

    Notes
    -----
    See `minirpn.nn.roi_pool_forward`: corners are rounded half away from zero, the cell of x2, y2
    included, and the first of equal cells, row by row, wins. Boxes on the map come first, then
    those across its border, off it, empty and inverted.
    """

    def both(features: Any, boxes: Any, dy: Any, output_size: Any, stride: Any) -> Any:
        def run(features: Any) -> Any:
            return forward(features, boxes, output_size=output_size, stride=stride)

        return answers_of(run, features, backward, {"y": dy}, ("dfeatures",))

    on_map = [(0, 1, 8, 6), (1, 2, 5, 3), (2, 0, 7, 6), (2, 0, 7, 6)]
    odd = [(-3, -1, 3, 5), (1, 3, 11, 9), (4, 4, 0, 1), (2, 2, 2, 2)]
    exercise = Exercise(
        answer=_roi_pool,
        stages=(Drawn(_regions(on_map=True)), Drawn(_regions(on_map=False))),
        probes=(
            _region_question((4, 5), on_map, (2, 3), stride=4.0, channels=2, seed=0),
            _region_question((4, 3), odd, (3, 2), stride=16.0, channels=1, seed=1),
        ),
        mistakes=ROI_POOL_MISTAKES,
    )
    return examine_pair(forward, backward, both, exercise)
