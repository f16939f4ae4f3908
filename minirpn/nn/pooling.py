"""Max pooling and its gradient."""

from __future__ import annotations

from typing import NamedTuple

from minirpn._checks import check_floating, check_shape
from minirpn._typing import Array
from minirpn.accel.dispatch import accelerated
from minirpn.backend import device_of, namespace_of
from minirpn.nn.window import Pair, pair, placed, pool_output_size, taps

__all__ = ["MaxPool2dCache", "max_pool2d_backward", "max_pool2d_forward", "pool_output_size"]


class MaxPool2dCache(NamedTuple):
    """What `max_pool2d_backward` needs: the tap of each maximum, and the shape of the windows."""

    winner: Array | None  # (N,C,Ho,Wo) int32; None after need_dx=False
    kernel: Pair
    stride: Pair
    padding: Pair
    size: Pair


def max_pool2d_forward(
    x: Array,
    *,
    kernel: int | Pair,
    stride: int | Pair,
    padding: int | Pair = 0,
    ceil_mode: bool = False,
    need_dx: bool = True,
) -> tuple[Array, MaxPool2dCache]:
    """Return the largest pixel of each window, and the cache.

    Parameters
    ----------
    x
        (N,C,H,W), floating point.
    kernel, stride, padding
        An int, or (vertical, horizontal). Padding is never the maximum.
    ceil_mode
        Whether a last window, cut off at the border, covers the pixels left over, as in Caffe.
    need_dx
        False is faster, but `max_pool2d_backward` cannot be called.

    Returns
    -------
    y
        (N,C,Ho,Wo), see `pool_output_size`.
    cache
        For `max_pool2d_backward`.

    Notes
    -----
    Ties: of equal pixels the first in row-major order wins and gets all of the gradient. A NaN in a
    window makes its output NaN; the gradient then goes to any pixel of the window.

    Examples
    --------
    >>> import numpy as np
    >>> max_pool2d_forward(np.array([[[[1.0, 3.0], [2.0, 0.0]]]]), kernel=2, stride=2)[0].item()
    3.0
    """
    namespace_of(x)  # raises where it is not an array
    check_shape(x, (None, None, None, None), "x")
    check_floating(x, "x")
    kernel, stride = pair(kernel, "kernel", least=1), pair(stride, "stride", least=1)
    padding = pair(padding, "padding", least=0)
    size = x.shape[2:]
    output_size = pool_output_size(size, kernel, stride, padding, ceil_mode)
    y, winner = max_pool2d(x, kernel, stride, padding, output_size, need_dx)
    return y, MaxPool2dCache(winner, kernel, stride, padding, size)


@accelerated("max_pool2d")
def max_pool2d(
    x: Array,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    output_size: Pair,
    need_winner: bool = True,
) -> tuple[Array, Array | None]:
    """Return the largest pixel of each window (N,C,Ho,Wo), and its tap, int32 or None.

    One view of the image for each tap, stacked; taps are numbered in row-major order.
    """
    xp = namespace_of(x)
    size = _extent(x.shape[2:], kernel, stride, padding, output_size)
    image = placed(x, padding, size, fill=-float("inf"))
    rows, columns = map(range, output_size)
    views = [image[:, :, ys, xs] for ys, xs in taps(kernel, stride, rows, columns)]
    windows = xp.stack(views)  # kh kw times (N,C,Ho,Wo) -> (kh kw, N,C,Ho,Wo)
    winner = xp.astype(xp.argmax(windows, axis=0), xp.int32) if need_winner else None
    return xp.max(windows, axis=0), winner


def max_pool2d_backward(dy: Array, cache: MaxPool2dCache) -> Array:
    """Return dx (N,C,H,W): each output's gradient goes to the pixel that won its window.

    Raises
    ------
    ValueError
        `max_pool2d_forward` was called with ``need_dx=False``.
    """
    namespace_of(dy)  # raises where it is not an array
    winner, kernel, stride, padding, size = cache
    if winner is None:
        raise ValueError("cache: max_pool2d_forward was called with need_dx=False")
    check_shape(dy, winner.shape, "dy")
    return max_pool2d_dx(dy, winner, kernel, stride, padding, size)


@accelerated("max_pool2d_dx")
def max_pool2d_dx(
    dy: Array, winner: Array, kernel: Pair, stride: Pair, padding: Pair, size: Pair
) -> Array:
    """Return dx (N,C,H,W): one masked copy of `dy` for each tap, added up."""
    xp = namespace_of(dy, winner)
    N, C, Ho, Wo = dy.shape
    (H, W), (top, left) = size, padding
    extent = _extent(size, kernel, stride, padding, (Ho, Wo))
    dimage = xp.zeros((N, C, *extent), dtype=dy.dtype, device=device_of(dy))
    nothing = xp.zeros((), dtype=dy.dtype, device=device_of(dy))
    for tap, (ys, xs) in enumerate(taps(kernel, stride, range(Ho), range(Wo))):
        dimage[:, :, ys, xs] += xp.where(winner == tap, dy, nothing)
    return dimage[:, :, top : top + H, left : left + W]


def _extent(size: Pair, kernel: Pair, stride: Pair, padding: Pair, output_size: Pair) -> Pair:
    """Return the size of a plane that holds the padded image and every window."""
    height, width = (
        max(p + s, (count - 1) * step + k)
        for s, k, step, p, count in zip(size, kernel, stride, padding, output_size, strict=True)
    )
    return height, width
