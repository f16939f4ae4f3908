"""Checks of convolution and pooling, and the mistakes they know.

Here a forward and its backward are one function, which returns ``y`` and the gradients by name.
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
    Exercise,
    Mistakes,
    Question,
    Verdict,
    examine,
    forward_mistakes,
    names_of,
    only_y,
    y_and_cache,
)

Place = tuple[tuple[int, int], tuple[slice, slice]]


def _places(size: tuple[int, int], kernel: tuple[int, int], stride: int) -> Iterator[Place]:
    """Yield each output's place and the window of the padded image behind it."""
    for i, j in np.ndindex(size):
        top, left = i * stride, j * stride
        yield (i, j), (slice(top, top + kernel[0]), slice(left, left + kernel[1]))


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
    """Return y and the gradients as they should be (by default), window by window."""
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


def _conv_turned(x: Any, weight: Any, *rest: Any) -> Answers:
    right = _conv2d(x, _turned(weight), *rest)
    return right | {"dweight": _turned(right["dweight"])}


def _conv_transposed(x: Any, weight: Any, *rest: Any) -> Answers:
    right = _conv2d(x, weight.swapaxes(2, 3), *rest)
    return right | {"dweight": right["dweight"].swapaxes(2, 3)}


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
    "Did you turn the kernel round? A layer correlates: y[i] takes x[i + p] weight[p].": (
        _conv_turned
    ),
    NO_BIAS: lambda x, weight, bias, *rest: _conv2d(x, weight, 0 * bias, *rest),
    "Outside of the image x is 0.": partial(_conv2d, mode="edge"),
    "Did you swap rows and columns of the kernel?": _conv_transposed,
    "Is the kernel the wrong way round in dx? What x[i + p] gave to y[i], dy[i] gives back.": (
        _dx_turned
    ),
    "Windows overlap: add to dx, do not overwrite it.": partial(_conv2d, overwrites=True),
    "A kernel sees all images: sum dweight over them.": _dweight_of_first_image,
    "Sum dweight over the images: the loss has its 1 / N already.": _dweight_averaged,
    "The bias adds to every output: dbias is a sum, not a mean.": _dbias_averaged,
}


_SMALL = st.integers(1, 2)


def _numbers(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Return small whole numbers, so that pixels tie and sums are exact."""
    return rng.integers(-3, 4, shape).astype(np.float64)


def _conv_question(
    N: int,
    C: int,
    outs: int,
    size: tuple[int, int],
    kernel: tuple[int, int],
    *,
    stride: int,
    padding: int,
    seed: int = 0,
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
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.integers(0, 1))
    size = tuple(draw(st.integers(max(1, side - 2 * padding), 4)) for side in kernel)
    return _conv_question(
        draw(_SMALL),
        draw(_SMALL),
        draw(_SMALL),
        (size[0], size[1]),
        kernel,
        stride=draw(_SMALL),
        padding=padding,
        seed=draw(st.integers(0, 2**16)),
    )


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
        y, cache = y_and_cache(forward(x, weight, bias, stride=stride, padding=padding), backward)
        if y is ... or backward is None or np.shape(y) != dy.shape:
            return y if y is ... else {"y": y}
        grads = backward(dy, cache)
        return (
            grads
            if grads is ...
            else dict(zip(("y", "dx", "dweight", "dbias"), (y, *grads), strict=True))
        )

    exercise = Exercise(
        answer=_conv2d if backward else only_y(_conv2d),
        drawn=(_convolutions(),),
        probes=(
            _conv_question(2, 2, 1, (4, 4), (3, 3), stride=1, padding=1),
            _conv_question(2, 1, 2, (5, 4), (2, 2), stride=2, padding=1),
        ),
        mistakes=CONV2D_MISTAKES if backward else forward_mistakes(CONV2D_MISTAKES),
    )
    return examine(both, exercise, names_of(forward, backward))


def _max_pool2d(
    x: np.ndarray,
    dy: np.ndarray,
    kernel: int,
    stride: int,
    padding: int,
    ceil_mode: bool,
    *,
    outside: float = -np.inf,
    to_ties: str = "first",
    overwrites: bool = False,
) -> Answers:
    """Return y and dx as they should be (by default), window by window."""
    size = pool_output_size((x.shape[2], x.shape[3]), kernel, stride, padding, ceil_mode)
    # Behind the image there is room for a window that the image cuts.
    around = ((0, 0), (0, 0), (padding, padding + stride), (padding, padding + stride))
    image = np.pad(x, around, constant_values=outside)
    y, dimage = np.zeros((*x.shape[:2], *size)), np.zeros(image.shape)
    if y.shape != dy.shape:
        return {"y": y, "dx": np.zeros(0)}
    for n, c in np.ndindex(x.shape[:2]):
        for (i, j), window in _places(size, (kernel, kernel), stride):
            pixels = image[n, c, *window]
            y[n, c, i, j] = pixels.max()
            wins = pixels == pixels.max()
            if to_ties != "all":
                order = wins.ravel().cumsum().reshape(wins.shape)
                wins &= order == (1 if to_ties == "first" else wins.sum())
            given = dy[n, c, i, j] * wins
            dimage[n, c, *window] = (
                np.where(wins, given, dimage[n, c, *window])
                if overwrites
                else (dimage[n, c, *window] + given)
            )
    inside = (slice(padding, padding + x.shape[2]), slice(padding, padding + x.shape[3]))
    return {"y": y, "dx": dimage[:, :, *inside]}


def _pool_floor(
    x: Any, dy: Any, kernel: int, stride: int, padding: int, ceil_mode: bool
) -> Answers:
    return _max_pool2d(x, dy, kernel, stride, padding, ceil_mode=False)


def _pool_smallest(x: Any, dy: Any, *rest: Any) -> Answers:
    right = _max_pool2d(-x, dy, *rest)
    return {"y": -right["y"], "dx": right["dx"]}


def _pool_spread(
    x: Any, dy: Any, kernel: int, stride: int, padding: int, ceil_mode: bool
) -> Answers:
    right = _max_pool2d(x, dy, kernel, stride, padding, ceil_mode)
    C = x.shape[1]
    kernels = np.zeros((C, C, kernel, kernel))
    kernels[range(C), range(C)] = 1 / kernel**2
    if conv_output_size((x.shape[2], x.shape[3]), kernel, stride, padding) != dy.shape[2:]:
        return right
    return right | {"dx": _conv2d(x, kernels, np.zeros(C), dy, stride, padding)["dx"]}


MAX_POOL2D_MISTAKES: Mistakes = {
    "With ceil_mode a last window covers the pixels left over: round up.": _pool_floor,
    "Padding must never win: pad with minus infinity, not with 0.": partial(_max_pool2d, outside=0),
    "This is the smallest pixel of each window.": _pool_smallest,
    "Where pixels tie, only the first one (row by row) gets the gradient.": partial(
        _max_pool2d, to_ties="all"
    ),
    "Where pixels tie, the first one (row by row) gets the gradient, not the last.": partial(
        _max_pool2d, to_ties="last"
    ),
    "A pixel may win several windows: add up what they give back.": partial(
        _max_pool2d, overwrites=True
    ),
    "The whole gradient goes to the pixel that won, none to the others.": _pool_spread,
}


def _pool_question(
    N: int,
    C: int,
    size: tuple[int, int],
    *,
    kernel: int,
    stride: int,
    padding: int,
    ceil_mode: bool,
    seed: int = 0,
) -> Question:
    rng = np.random.default_rng(seed)
    out = pool_output_size(size, kernel, stride, padding, ceil_mode)
    return {
        "x": _numbers(rng, N, C, *size),
        "dy": _numbers(rng, N, C, *out),
        "kernel": kernel,
        "stride": stride,
        "padding": padding,
        "ceil_mode": ceil_mode,
    }


@st.composite
def _poolings(draw: DrawFn) -> Question:
    kernel = draw(st.integers(1, 3))
    padding = draw(st.integers(0, kernel // 2))
    side = st.integers(max(1, kernel - 2 * padding), 5)
    return _pool_question(
        draw(_SMALL),
        draw(_SMALL),
        (draw(side), draw(side)),
        kernel=kernel,
        stride=draw(st.integers(1, kernel)),
        padding=padding,
        ceil_mode=draw(st.booleans()),
        seed=draw(st.integers(0, 2**16)),
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
        windows = {"kernel": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
        y, cache = y_and_cache(forward(x, **windows), backward)
        if y is ... or backward is None or np.shape(y) != dy.shape:
            return y if y is ... else {"y": y}
        dx = backward(dy, cache)
        return dx if dx is ... else {"y": y, "dx": dx}

    exercise = Exercise(
        answer=_max_pool2d if backward else only_y(_max_pool2d),
        drawn=(_poolings(),),
        probes=(
            _pool_question(2, 2, (5, 5), kernel=3, stride=1, padding=1, ceil_mode=True),
            _pool_question(1, 2, (5, 4), kernel=2, stride=2, padding=0, ceil_mode=True),
        ),
        mistakes=MAX_POOL2D_MISTAKES if backward else forward_mistakes(MAX_POOL2D_MISTAKES),
    )
    return examine(both, exercise, names_of(forward, backward))
