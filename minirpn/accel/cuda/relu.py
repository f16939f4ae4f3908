"""Launches ``relu.cu``."""

from __future__ import annotations

from minirpn._typing import Array
from minirpn.accel.cuda._load import Kernel, for_each, real_of
from minirpn.accel.layout import dense, empty, is_channels_last, laid, memory, rows_of

EACH = 4  # numbers a thread has of a row; as in the source


def relu_cuda(x: Array) -> Array:
    """Return ``max(x, 0)``, laid in memory as x is."""
    x = dense(x)
    last = is_channels_last(x)
    y = empty(x.shape, x, last)
    rows, across = rows_of(x.shape, last)
    kernel = Kernel("relu", "relu", real_of(x))
    arrays = memory(x, last), memory(y, last)
    for_each(kernel, _threads(rows, across), *arrays, rows, across)
    return y


def relu_dx_cuda(dy: Array, y: Array) -> Array:
    """Return `dy` where y is positive, and zero elsewhere, laid in memory as y is."""
    y = dense(y)
    last = is_channels_last(y)
    dx = empty(dy.shape, y, last)
    rows, across = rows_of(y.shape, last)
    kernel = Kernel("relu", "relu_dx", real_of(y))
    arrays = memory(laid(dy, last), last), memory(y, last), memory(dx, last)
    for_each(kernel, _threads(rows, across), *arrays, rows, across)
    return dx


def _threads(rows: int, across: int) -> tuple[int, int]:
    return -(-across // EACH), rows
