"""The checks of chapter 06: a convolution, one dimension after the other, and its backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from minirpn import nn
from minirpn.testing import Verdict, check_conv2d, check_equal

Size = tuple[int, int]


def _numbers(*shape: int) -> np.ndarray:
    """Return small whole numbers in no order, the same for a shape."""
    return np.random.default_rng(0).integers(-4, 5, shape).astype(float)


# --- a row ---------------------------------------------------------------------------------------


def _conv_1d(
    x: np.ndarray,
    weight: np.ndarray,
    *,
    fewer: int = 0,
    step: int = 1,
    finish: Callable[[np.ndarray], Any] = np.sum,
) -> np.ndarray:
    """Return the convolution of a row, window by window; the options are mistakes."""
    count = (len(x) - len(weight)) // step + 1 - fewer
    windows = [x[i * step : i * step + len(weight)] for i in range(count)]
    return np.array([finish(window * weight) for window in windows])


def _of_three(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.array([np.sum(x[i : i + 3] * weight) for i in range(len(x) - 2)])


def _check_conv_1d(f: Callable[..., Any]) -> Verdict:
    def conv(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        return _conv_1d(x, weight)

    mistakes: dict[str, Callable[..., Any]] = {
        "Did you turn the kernel round? weight[0] lies on the left pixel of the window.": (
            lambda x, weight: _conv_1d(x, weight[::-1])
        ),
        "Add the products: do not average them.": partial(_conv_1d, finish=np.mean),
        "The last window is missing: there are len(x) - len(weight) + 1.": partial(
            _conv_1d, fewer=1
        ),
        "Only whole windows count: begin with pixel 0, end where the kernel ends with the row.": (
            lambda x, weight: np.correlate(x, weight, "same")
        ),
        "The window moves by one pixel at a time.": (
            lambda x, weight: _conv_1d(x, weight, step=len(weight))
        ),
        "A kernel may have any length: take len(weight), not 3.": _of_three,
        "Multiply each pixel by its weight before you add.": lambda x, weight: _conv_1d(
            x, np.ones(len(weight))
        ),
    }
    calls = (
        (np.array([0.0, 0, 9, 9]), np.array([-1.0, 0, 1])),
        (np.array([1.0, 2, 4, 8, 16, 32]), np.array([1.0, 0, 3])),
        (np.array([3.0, 1, 2]), np.array([2.0, -1])),
        (np.array([5.0, 6]), np.array([3.0])),
        (np.array([5.0, 6]), np.array([3.0, 1])),
    )
    return check_equal(f, conv, *calls, mistakes=mistakes)


# --- an image ------------------------------------------------------------------------------------


def _conv_2d(
    x: np.ndarray,
    weight: np.ndarray,
    *,
    fewer: int = 0,
    finish: Callable[[np.ndarray, np.ndarray], Any] = lambda window, weight: np.sum(
        window * weight
    ),
) -> np.ndarray:
    """Return the convolution of an image, window by window; the options are mistakes."""
    (H, W), (kh, kw) = x.shape, weight.shape
    y = np.zeros((H - kh + 1 - fewer, W - kw + 1 - fewer))
    for i, j in np.ndindex(y.shape):
        y[i, j] = finish(x[i : i + kh, j : j + kw], weight)
    return y


def _with_sides_swapped(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    y = np.zeros((x.shape[1] - weight.shape[1] + 1, x.shape[0] - weight.shape[0] + 1))
    for i, j in np.ndindex(y.shape):
        y[i, j] = np.sum(x[i : i + weight.shape[0], j : j + weight.shape[1]] * weight)
    return y


def _of_squares(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Take the height of the kernel for its width, too."""
    (H, W), side = x.shape, len(weight)
    y = np.zeros((H - side + 1, W - side + 1))
    for i, j in np.ndindex(y.shape):
        y[i, j] = np.sum(x[i : i + side, j : j + side] * weight)
    return y


def _check_conv_2d(f: Callable[..., Any]) -> Verdict:
    def conv(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        return _conv_2d(x, weight)

    mistakes: dict[str, Callable[..., Any]] = {
        "Did you turn the kernel round? weight[0, 0] lies on the upper left pixel.": (
            lambda x, weight: _conv_2d(x, weight[::-1, ::-1])
        ),
        "Did you swap rows and columns of the kernel?": lambda x, weight: _conv_2d(x, weight.T),
        "Add the products: do not average them.": partial(
            _conv_2d, finish=lambda window, weight: np.mean(window * weight)
        ),
        "Multiply number by number, with *: @ is the product of matrices.": partial(
            _conv_2d, finish=lambda window, weight: np.sum(window @ weight)
        ),
        "The last row and the last column of windows are missing.": partial(_conv_2d, fewer=1),
        "Rows come first: y has H - kh + 1 rows and W - kw + 1 columns.": _with_sides_swapped,
        "A kernel has a height and a width: they may differ.": _of_squares,
    }
    calls = (
        (np.array([[1.0, 2, 3], [4, 5, 7]]), np.array([[1.0, 0], [2, -1]])),
        (np.array([[0.0, 0, 9, 9]] * 3 + [[0, 0, 0, 9]]), np.array([[-1.0, 0, 1]] * 3)),
        (np.array([[1.0, 2, 4], [3, 5, 9]]), np.array([[2.0, 1, -1]])),
        (np.array([[7.0]]), np.array([[2.0]])),
    )
    return check_equal(f, conv, *calls, mistakes=mistakes)


# --- columns -------------------------------------------------------------------------------------


def _columns(
    x: np.ndarray,
    kernel: Size,
    stride: int,
    padding: int,
    *,
    order: Sequence[int] = (1, 2, 3),
) -> np.ndarray:
    """Return the windows as columns; in another order of channels, rows, columns: a mistake."""
    image = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(image, kernel, axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride].transpose(0, 1, 4, 5, 2, 3)
    N, _, _, _, Ho, Wo = windows.shape
    return windows.transpose(0, *order, 4, 5).reshape(N, -1, Ho * Wo)


def _columns_without_stride(x: np.ndarray, kernel: Size, stride: int, padding: int) -> np.ndarray:
    Ho, Wo = nn.conv_output_size((x.shape[2], x.shape[3]), kernel, stride, padding)
    image = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    return _columns(image[:, :, : Ho + kernel[0] - 1, : Wo + kernel[1] - 1], kernel, 1, 0)


def _check_columns(f: Callable[..., Any]) -> Verdict:
    def columns(x: np.ndarray, kernel: Size, stride: int, padding: int) -> np.ndarray:
        return _columns(x, kernel, stride, padding)

    mistakes: dict[str, Callable[..., Any]] = {
        "A window is a column, a place in the window a row: yours is the other way round.": (
            lambda *call: _columns(*call).transpose(0, 2, 1)
        ),
        "The places of a window go row by row: p in the outer loop, q in the inner one.": partial(
            _columns, order=(1, 3, 2)
        ),
        "All places of channel 0 come first, then those of channel 1: stack along axis 2.": partial(
            _columns, order=(2, 3, 1)
        ),
        "Take every stride-th pixel: a slice has a step.": _columns_without_stride,
        "Where is the padding? Cut the slices out of image, not out of x.": (
            lambda x, kernel, stride, padding: _columns(x, kernel, stride, 0)
        ),
    }
    calls = (
        (np.arange(6.0).reshape(1, 1, 2, 3), (2, 2), 1, 0),
        (np.arange(8.0).reshape(1, 2, 2, 2), (1, 2), 1, 0),
        (np.arange(20.0).reshape(1, 1, 4, 5), (2, 3), 2, 0),
        (np.arange(1.0, 5).reshape(1, 1, 2, 2), (2, 2), 1, 1),
        (np.arange(12.0).reshape(2, 1, 2, 3), (2, 2), 1, 0),
        (_numbers(2, 3, 5, 6), (3, 2), 2, 1),
    )
    return check_equal(f, columns, *calls, mistakes=mistakes)


# --- backwards -----------------------------------------------------------------------------------


def _conv2d_forward(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, *, stride: int, padding: int
) -> tuple[np.ndarray, Any]:
    """Return y, and the cache of the exercise, with ints for stride and padding."""
    y, _ = nn.conv2d_forward(x, weight, bias, stride=stride, padding=padding)
    return y, (x, weight, stride, padding)


_conv2d_forward.__name__ = "our forward"


def _check_backward(f: Callable[..., Any]) -> Verdict:
    return check_conv2d(_conv2d_forward, f)


def _dimage(
    dy: np.ndarray,
    weight: np.ndarray,
    size: Size,
    stride: int,
    padding: int,
    *,
    step: bool = True,
    moves: bool = True,
    overwrites: bool = False,
) -> np.ndarray:
    """Return the gradient by the padded image, place by place; the options are mistakes."""
    (N, _, Ho, Wo), (C, kh, kw) = dy.shape, weight.shape[1:]
    dimage = np.zeros((N, C, size[0] + 2 * padding, size[1] + 2 * padding))
    for p, q in np.ndindex(kh, kw):
        top, left = (p, q) if moves else (0, 0)
        jump = stride if step else 1
        rows = slice(top, top + jump * Ho, jump)
        columns = slice(left, left + jump * Wo, jump)
        # (N,O,Ho,Wo) and (O,C) -> (N,Ho,Wo,C) -> (N,C,Ho,Wo)
        given = np.tensordot(dy, weight[:, :, p, q], axes=([1], [0])).transpose(0, 3, 1, 2)
        dimage[:, :, rows, columns] = given + (0 if overwrites else dimage[:, :, rows, columns])
    return dimage


def _dx(
    dy: np.ndarray,
    weight: np.ndarray,
    size: Size,
    stride: int,
    padding: int,
    **mistakes: bool,
) -> np.ndarray:
    dimage = _dimage(dy, weight, size, stride, padding, **mistakes)
    return dimage[:, :, padding : padding + size[0], padding : padding + size[1]]


def _dx_of_other_weights(
    change: Callable[[np.ndarray], np.ndarray], dy: np.ndarray, weight: np.ndarray, *rest: Any
) -> np.ndarray:
    return _dx(dy, change(weight), *rest)


def _cut_from_both_ends(
    dy: np.ndarray, weight: np.ndarray, size: Size, stride: int, padding: int
) -> np.ndarray:
    dimage = _dimage(dy, weight, size, stride, padding)
    return dimage[:, :, padding:-padding, padding:-padding]


def _check_dx(f: Callable[..., Any]) -> Verdict:
    def dx(
        dy: np.ndarray, weight: np.ndarray, size: Size, stride: int, padding: int
    ) -> np.ndarray | None:
        knobs = {"stride": stride, "padding": padding}
        x = np.zeros((len(dy), weight.shape[1], *size))
        _, cache = nn.conv2d_forward(x, weight, np.zeros(len(weight)), **knobs)
        return nn.conv2d_backward(dy, cache, need_dweight=False).dx

    mistakes: dict[str, Callable[..., Any]] = {
        "Slices overlap: add (+=), do not overwrite (=).": partial(_dx, overwrites=True),
        "Take every stride-th row and column: a slice has a step.": partial(_dx, step=False),
        "Each place (p, q) has a slice of its own: it begins at row p and column q.": partial(
            _dx, moves=False
        ),
        "Cut the padding off: dx has the size of x.": _dimage,
        "With padding 0 the slice padding:-padding is empty: cut from padding to padding + H.": (
            _cut_from_both_ends
        ),
        "Do not turn the kernel here: weight[:, :, p, q] belongs to the slice of (p, q).": partial(
            _dx_of_other_weights, lambda weight: weight[:, :, ::-1, ::-1]
        ),
        "The table of (p, q) is (O, C), and dy has O channels: transpose the table.": partial(
            _dx_of_other_weights, lambda weight: weight.swapaxes(0, 1)
        ),
    }
    calls = (
        (np.array([[[[1.0, 2]]]]), np.array([[[[1.0, 3]]]]), (1, 3), 1, 0),
        (np.array([[[[1.0, 2]]]]), np.array([[[[1.0, 3, 5]]]]), (1, 5), 2, 0),
        (np.ones((1, 2, 1, 1)), np.array([[1.0, 2], [3, 4]]).reshape(2, 2, 1, 1), (1, 1), 1, 0),
        (np.array([[[[1.0, 2]]]]), np.array([[[[3.0]], [[4]]]]), (2, 4), 2, 0),
        (np.array([[[[1.0, 2], [3, 4]]]]), _numbers(1, 1, 3, 3), (3, 3), 2, 1),
        (_numbers(2, 3, 2, 4), _numbers(3, 2, 3, 2), (4, 6), 2, 1),
    )
    return check_equal(f, dx, *calls, mistakes=mistakes)


CHECKS: dict[str, Callable[..., Verdict]] = {
    "my_conv_1d": _check_conv_1d,
    "my_conv_2d": _check_conv_2d,
    "my_conv": check_conv2d,
    "my_columns": _check_columns,
    "my_conv_matmul": check_conv2d,
    "my_backward": _check_backward,
    "my_dx": _check_dx,
}
