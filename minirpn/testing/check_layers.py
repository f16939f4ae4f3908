"""Checks of layers: a forward and its backward together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.nn import conv_output_size, pool_output_size
from minirpn.testing import mistakes_layers as wrong
from minirpn.testing.examine import Question, Task, Verdict, examine
from minirpn.testing.pairs import name_of, only_y, parts

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
        y, cache = parts(forward(x, weight, bias, stride=stride, padding=padding), backward)
        if y is ... or backward is None or np.shape(y) != dy.shape:
            return y if y is ... else {"y": y}
        grads = backward(dy, cache)
        return (
            grads
            if grads is ...
            else dict(zip(("y", "dx", "dweight", "dbias"), (y, *grads), strict=True))
        )

    task = Task(
        answer=only_y(wrong.conv2d) if backward is None else wrong.conv2d,
        drawn=(_convolutions(),),
        probes=(
            _conv_question(2, 2, 1, (4, 4), (3, 3), stride=1, padding=1),
            _conv_question(2, 1, 2, (5, 4), (2, 2), stride=2, padding=1),
        ),
        mistakes=tuple(map(only_y, wrong.CONV2D)) if backward is None else wrong.CONV2D,
    )
    return examine(both, task, name_of(forward, backward))


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
        y, cache = parts(forward(x, **windows), backward)
        if y is ... or backward is None or np.shape(y) != dy.shape:
            return y if y is ... else {"y": y}
        dx = backward(dy, cache)
        return dx if dx is ... else {"y": y, "dx": dx}

    task = Task(
        answer=only_y(wrong.max_pool2d) if backward is None else wrong.max_pool2d,
        drawn=(_poolings(),),
        probes=(
            _pool_question(2, 2, (5, 5), kernel=3, stride=1, padding=1, ceil_mode=True),
            _pool_question(1, 2, (5, 4), kernel=2, stride=2, padding=0, ceil_mode=True),
        ),
        mistakes=tuple(map(only_y, wrong.MAX_POOL2D)) if backward is None else wrong.MAX_POOL2D,
    )
    return examine(both, task, name_of(forward, backward))
