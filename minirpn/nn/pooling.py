"""Max pooling and its gradient."""

from __future__ import annotations

from typing import NamedTuple

from minirpn._checks import check_floating, check_shape
from minirpn._typing import Array
from minirpn.backend import namespace_of
from minirpn.kernels.max_pool2d import MAX_POOL2D, MAX_POOL2D_DX
from minirpn.kernels.window import Pair, pair, pool_output_size

__all__ = ["MaxPool2dCache", "max_pool2d_backward", "max_pool2d_forward", "pool_output_size"]


class MaxPool2dCache(NamedTuple):
    """What `max_pool2d_backward` needs: which tap won each window, and where windows stand."""

    winner: Array | None  # None when told that no gradient will be asked for
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
        An int, or (vertical, horizontal). Padding never wins a window.
    ceil_mode
        Whether a last window, cut by the border, covers the pixels left over (Caffe's way).
    need_dx
        False leaves out which pixel won, for `max_pool2d_backward` will not be called: faster.

    Returns
    -------
    y
        (N,C,Ho,Wo), see `pool_output_size`.
    cache
        For `max_pool2d_backward`.

    Notes
    -----
    Ties: the first of equal pixels in row-major order wins, and alone gets the gradient. A NaN
    in a window makes its output NaN, so that it is not hidden; its gradient may go anywhere there.

    Examples
    --------
    >>> import numpy as np
    >>> max_pool2d_forward(np.array([[[[1.0, 3.0], [2.0, 0.0]]]]), kernel=2, stride=2)[0].item()
    3.0
    """
    namespace_of(x)
    check_shape(x, (None, None, None, None), "x")
    check_floating(x, "x")
    kernel, stride = pair(kernel, "kernel", least=1), pair(stride, "stride", least=1)
    padding = pair(padding, "padding", least=0)
    size = x.shape[2:]
    output_size = pool_output_size(size, kernel, stride, padding, ceil_mode)
    y, winner = MAX_POOL2D(x, kernel, stride, padding, output_size, need_dx)
    return y, MaxPool2dCache(winner, kernel, stride, padding, size)


def max_pool2d_backward(dy: Array, cache: MaxPool2dCache) -> Array:
    """Return dx (N,C,H,W): each output's gradient goes to the pixel that won its window.

    Raises
    ------
    ValueError
        `max_pool2d_forward` was told that no gradient would be needed.
    """
    namespace_of(dy)
    winner, kernel, stride, padding, size = cache
    if winner is None:
        raise ValueError("cache: max_pool2d_forward was called with need_dx=False")
    check_shape(dy, winner.shape, "dy")
    return MAX_POOL2D_DX(dy, winner, kernel, stride, padding, size)
