"""Launches ``max_pool2d.cu``."""

from __future__ import annotations

from minirpn._typing import Array
from minirpn.accel.cuda._load import Kernel, for_each, real_of
from minirpn.accel.layout import dense, empty, is_channels_last, laid, memory, rows_of
from minirpn.backend import namespace_of
from minirpn.nn.window import Pair


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
    y = empty(shape, x, last)
    # Not written where nobody needs it, but a kernel wants some array.
    winner = empty(shape if need_winner else (1, 1, 1, 1), x, last, dtype=namespace_of(x).int32)
    rows, across = rows_of(shape, last)
    for_each(
        Kernel("max_pool2d", "max_pool2d", real_of(x)),
        (across, rows),
        *(memory(x, last), memory(y, last), memory(winner, last), need_winner),
        *(rows, across, x.shape[1], last),
        *(*x.shape[2:], *output_size, *kernel, *stride, *padding),
    )
    return y, winner if need_winner else None


def max_pool2d_dx_cuda(
    dy: Array,
    winner: Array,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    size: Pair,
) -> Array:
    """Return dx (N,C,H,W), a thread for each pixel, which gathers what it gets."""
    winner = dense(winner)
    last, shape = is_channels_last(winner), (*dy.shape[:2], *size)
    dx = empty(shape, dy, last)
    rows, across = rows_of(shape, last)
    for_each(
        Kernel("max_pool2d", "max_pool2d_dx", real_of(dy)),
        (across, rows),
        *(memory(laid(dy, last), last), memory(winner, last), memory(dx, last)),
        *(rows, across, dy.shape[1], last),
        *(*size, *dy.shape[2:], *kernel, *stride, *padding),
    )
    return dx
