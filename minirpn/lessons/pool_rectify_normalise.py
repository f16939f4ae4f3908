"""The checks of chapter 07: pooling, the rectifier and local response normalisation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minirpn import nn
from minirpn.testing import Verdict, check_equal, check_max_pool2d, check_relu

# --- pooling -------------------------------------------------------------------------------------


def _windows(
    side: int,
    kernel: int,
    stride: int,
    padding: int,
    *,
    sides: int = 2,
    more: int = 1,
    is_empty: Callable[[int, int, int], bool] = lambda start, side, padding: (
        start >= side + padding
    ),
) -> int:
    """Return how many windows a side has, rounding up; the options are mistakes."""
    count = int(np.ceil((side + sides * padding - kernel) / stride)) + more
    return count - is_empty((count - 1) * stride, side, padding)


def _check_windows(f: Callable[..., Any]) -> Verdict:
    def windows(side: int, kernel: int, stride: int, padding: int) -> int:
        return _windows(side, kernel, stride, padding)

    mistakes: dict[str, Callable[..., Any]] = {
        "Round up: // rounds down, and leaves pixels out.": (
            lambda side, kernel, stride, padding: (side + 2 * padding - kernel) // stride + 1
        ),
        "The padding is on both sides: side + 2 * padding.": partial(_windows, sides=1),
        "Where is the padding?": partial(_windows, sides=0),
        "One is missing: count the first window, too.": partial(_windows, more=0),
        "A last window without any pixel of the image is dropped.": partial(
            _windows, is_empty=lambda *window: False
        ),
        "A window that begins at side + padding has no pixel either: >=, not >.": partial(
            _windows, is_empty=lambda start, side, padding: start > side + padding
        ),
        "Starts count from the padding in front: the image ends at side + padding.": partial(
            _windows, is_empty=lambda start, side, padding: start >= side
        ),
        "The padding behind the image is no image: it ends at side + padding.": partial(
            _windows, is_empty=lambda start, side, padding: start >= side + 2 * padding
        ),
    }
    calls = (
        (4, 2, 2, 0),
        (5, 2, 2, 0),
        (7, 3, 2, 1),
        (6, 3, 2, 1),
        (5, 2, 2, 1),
        (4, 2, 3, 0),
        (4, 1, 4, 1),
        (3, 1, 4, 0),
        (4, 2, 2, 1),
        (5, 3, 5, 1),
        (75, 2, 2, 0),
    )
    return check_equal(f, windows, *calls, mistakes=mistakes)


def _pool_forward(x: np.ndarray, **knobs: Any) -> tuple[np.ndarray, Any]:
    return nn.max_pool2d_forward(x, **knobs)


_pool_forward.__name__ = "our forward"


def _check_pool_backward(f: Callable[..., Any]) -> Verdict:
    return check_max_pool2d(_pool_forward, f)


# --- the rectifier -------------------------------------------------------------------------------


def _relu_forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return y, and y once more: the cache of the exercise."""
    y, _ = nn.relu_forward(x)
    return y, y


_relu_forward.__name__ = "our forward"


def _check_relu_backward(f: Callable[..., Any]) -> Verdict:
    return check_relu(_relu_forward, f)


# --- local response normalisation ----------------------------------------------------------------


def _sums(x: np.ndarray, size: int) -> np.ndarray:
    """Return the sum over the window around each pixel, zeros outside."""
    reach = size // 2
    image = np.pad(x, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    windows = np.lib.stride_tricks.sliding_window_view(image, (size, size), axis=(2, 3))
    return windows.sum(axis=(4, 5))


def _lrn(
    x: np.ndarray,
    size: int,
    alpha: float,
    beta: float,
    *,
    one: float = 1,
    squares: Callable[[np.ndarray], np.ndarray] = np.square,
    count: Callable[[np.ndarray, int], Any] = lambda x, size: size**2,
    sign: int = -1,
) -> np.ndarray:
    """Return x, normalised; the options are mistakes."""
    scale = one + alpha / count(x, size) * _sums(squares(x), size)
    return x * scale ** (sign * beta)


def _pixels_of_image(x: np.ndarray, size: int) -> np.ndarray:
    """Return how many pixels of each window are in the image."""
    return _sums(np.ones(x.shape), size)


_PIXEL = np.full((1, 1, 1, 1), 3.0)
_ROW = np.array([[[[3.0, -1, 2]]]])
_MAP = np.array([[[[1.0, 2], [0, -3], [4, 1]], [[2, 0], [1, 1], [-1, 3]]]])
_STRONG = (3, 1.0, 1.0)


def _check_lrn(f: Callable[..., Any]) -> Verdict:
    def lrn(x: np.ndarray, size: int, alpha: float, beta: float) -> np.ndarray:
        return nn.lrn_forward(x, size=size, alpha=alpha, beta=beta)[0]

    mistakes: dict[str, Callable[..., Any]] = {
        "The power is -beta: large neighbours make a pixel smaller.": partial(_lrn, sign=1),
        "alpha is divided by the pixels of a window, size squared.": partial(
            _lrn, count=lambda x, size: size
        ),
        "alpha is divided by size squared.": partial(_lrn, count=lambda x, size: 1),
        "Divide by size squared at the border, too: the zeros outside count.": partial(
            _lrn, count=_pixels_of_image
        ),
        "Sum the squares of the pixels.": partial(_lrn, squares=lambda x: x),
        "The scale is 1 plus the sum.": partial(_lrn, one=0),
        "This is the factor: multiply x by it.": lambda x, *rest: (
            _lrn(x, *rest) / np.where(x == 0, 1, x)
        ),
    }
    calls = (
        (_PIXEL, *_STRONG),
        (_ROW, *_STRONG),
        (_ROW, 3, 2.0, 0.5),
        (_MAP, 5, 0.5, 0.75),
    )
    return check_equal(f, lrn, *calls, mistakes=mistakes)


def _lrn_dx(
    dy: np.ndarray,
    x: np.ndarray,
    size: int,
    alpha: float,
    beta: float,
    *,
    factor: float = -2,
    power: float = 1,
    by_pixel: bool = True,
    sums: Callable[[np.ndarray, int], np.ndarray] = _sums,
) -> np.ndarray:
    """Return dx; the options are mistakes."""
    scale = 1 + alpha / size**2 * _sums(x**2, size)
    handed_on = sums(dy * x * scale ** (-beta - power), size)
    by_scale = factor * alpha * beta / size**2 * (x if by_pixel else 1) * handed_on
    return np.asarray(dy * scale**-beta + by_scale)


def _dx_with_x_inside(
    dy: np.ndarray, x: np.ndarray, size: int, alpha: float, beta: float
) -> np.ndarray:
    """Put the factor x_k into the sum, too."""
    return _lrn_dx(dy, x, size, alpha, beta, by_pixel=False, sums=lambda y, n: _sums(x * y, n))


def _check_lrn_backward(f: Callable[..., Any]) -> Verdict:
    def dx(dy: np.ndarray, x: np.ndarray, size: int, alpha: float, beta: float) -> np.ndarray:
        _, cache = nn.lrn_forward(x, size=size, alpha=alpha, beta=beta)
        return nn.lrn_backward(dy, cache)

    mistakes: dict[str, Callable[..., Any]] = {
        "A pixel also acts on the scales of all windows that it is in: where is the sum?": (
            partial(_lrn_dx, factor=0)
        ),
        "The second part is subtracted: a larger scale makes outputs smaller.": partial(
            _lrn_dx, factor=2
        ),
        "The slope of a square is 2 x: where is the 2?": partial(_lrn_dx, factor=-1),
        "The power of the scale in the sum is -beta - 1.": partial(_lrn_dx, power=0),
        "The second part has the factor x of the pixel itself, in front of the sum.": partial(
            _lrn_dx, by_pixel=False
        ),
        "x of the pixel itself stands in front of the sum, x of the neighbours in it.": (
            _dx_with_x_inside
        ),
        "Sum over the window: a pixel acts on its neighbours, too.": partial(
            _lrn_dx, sums=lambda y, size: y
        ),
    }
    ones, one = np.ones(_ROW.shape), np.array([[[[0.0, 1, 0]]]])
    calls = (
        (2 * ones[..., :1], _PIXEL, *_STRONG),
        (one, _ROW, *_STRONG),
        (ones, _ROW, 3, 2.0, 0.5),
        (_MAP[:, ::-1], _MAP, 5, 0.5, 0.75),
    )
    return check_equal(f, dx, *calls, mistakes=mistakes)


CHECKS: dict[str, Callable[..., Verdict]] = {
    "my_windows": _check_windows,
    "my_pool": check_max_pool2d,
    "my_pool_backward": _check_pool_backward,
    "my_relu_backward": _check_relu_backward,
    "my_lrn": _check_lrn,
    "my_lrn_backward": _check_lrn_backward,
}
