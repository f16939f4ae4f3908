"""Launches ``maps.cu``: ReLU, the bias of a convolution, max pooling.

Maps may lie in memory in either way (see `minirpn.accel.cuda.layout`); results lie as inputs do.
"""

from __future__ import annotations

from minirpn._typing import Array
from minirpn.accel.cuda._load import Kernel, contiguous, empty, for_each, real_of
from minirpn.accel.cuda.layout import dense, empty_maps, is_channels_last, laid, memory, rows_of
from minirpn.nn.window import Pair

# As in the source.
EACH = 4  # numbers of a row for one thread
SUMMED = 64  # rows that one thread adds


def relu_cuda(x: Array) -> Array:
    """Return ``max(x, 0)``, which lies in memory as x does."""
    x = dense(x)
    last = is_channels_last(x)
    y = empty_maps(x.shape, x, last)
    rows, across = rows_of(x.shape, last)
    arrays = memory(x, last), memory(y, last)
    for_each(Kernel("maps", "relu", real_of(x)), (-(-across // EACH), rows), *arrays, rows, across)
    return y


def relu_dx_cuda(dy: Array, y: Array) -> Array:
    """Return `dy` where y is positive, and zero elsewhere; it lies in memory as y does."""
    y = dense(y)
    last = is_channels_last(y)
    dx = empty_maps(dy.shape, y, last)
    rows, across = rows_of(y.shape, last)
    arrays = memory(laid(dy, last), last), memory(y, last), memory(dx, last)
    kernel = Kernel("maps", "relu_dx", real_of(y))
    for_each(kernel, (-(-across // EACH), rows), *arrays, rows, across)
    return dx


def add_bias_cuda(y: Array, bias: Array, relu: bool) -> None:
    """Add bias (O,) to y (N,O,H,W) in place, then replace negative numbers by 0 if `relu`.

    y has no gaps in memory.
    """
    last = is_channels_last(y)
    rows, across = rows_of(y.shape, last)
    sizes = rows, across, y.shape[1], last, relu
    kernel = Kernel("maps", "add_bias", real_of(y))
    for_each(kernel, (-(-across // EACH), rows), memory(y, last), contiguous(bias), *sizes)


def dbias_cuda(dy: Array) -> Array:
    """Return dbias (O,) of dy (N,O,Ho,Wo) with channels last: sums of sums of its pixels."""
    outs = dy.shape[1]
    sums = memory(laid(dy, True), True).reshape((-1, outs))  # (N Ho Wo, O)
    kernel = Kernel("maps", "sums_of_rows", real_of(dy))
    while True:
        parts = max(1, -(-sums.shape[0] // SUMMED))  # no pixels have a sum, too
        fewer = empty((parts, outs), dy)
        for_each(kernel, (parts * outs, 1), sums, fewer, sums.shape[0], outs)
        if parts == 1:
            return fewer[0, :]
        sums = fewer


def max_pool2d_cuda(
    x: Array,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    output_size: Pair,
    need_winner: bool = True,
) -> tuple[Array, Array | None]:
    """Return the largest pixel of each window, and which tap it was, a thread for each output.

    Both lie in memory as x does.
    """
    x = dense(x)
    last, shape = is_channels_last(x), (*x.shape[:2], *output_size)
    y = empty_maps(shape, x, last)
    # Where nobody needs the winners, the kernel still wants an array, but does not write to it.
    winner = empty_maps(shape if need_winner else (1, 1, 1, 1), x, last, "int32")
    rows, across = rows_of(shape, last)
    for_each(
        Kernel("maps", "max_pool2d", real_of(x)),
        (across, rows),
        *(memory(x, last), memory(y, last), memory(winner, last), need_winner),
        *(rows, across, x.shape[1], last),
        *(*x.shape[2:], *output_size, *kernel, *stride, *padding),
    )
    return y, winner if need_winner else None


def max_pool2d_dx_cuda(
    dy: Array, winner: Array, kernel: Pair, stride: Pair, padding: Pair, size: Pair
) -> Array:
    """Return dx (N,C,H,W), a thread for each pixel, which gathers what it gets."""
    winner = dense(winner)
    last, shape = is_channels_last(winner), (*dy.shape[:2], *size)
    dx = empty_maps(shape, dy, last)
    rows, across = rows_of(shape, last)
    for_each(
        Kernel("maps", "max_pool2d_dx", real_of(dy)),
        (across, rows),
        *(memory(laid(dy, last), last), memory(winner, last), memory(dx, last)),
        *(rows, across, dy.shape[1], last),
        *(*size, *dy.shape[2:], *kernel, *stride, *padding),
    )
    return dx
