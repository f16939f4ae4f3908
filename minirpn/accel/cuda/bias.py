"""Launches ``bias.cu``."""

from __future__ import annotations

from minirpn._typing import Array
from minirpn.accel.cuda._load import Kernel, contiguous, for_each, real_of
from minirpn.accel.layout import empty, is_channels_last, laid, memory, rows_of

EACH = 4  # numbers a thread has of a row; as in the source
SUMMED = 64  # rows that a thread adds; as in the source


def add_bias_cuda(y: Array, bias: Array, relu: bool) -> None:
    """Add bias (O,) to y (N,O,H,W) in place, and cut off what is negative if `relu`.

    y has no gaps in memory; the channels may come last.
    """
    last = is_channels_last(y)
    rows, across = rows_of(y.shape, last)
    sizes = rows, across, y.shape[1], last, relu
    kernel = Kernel("bias", "add_bias", real_of(y))
    for_each(kernel, (-(-across // EACH), rows), memory(y, last), contiguous(bias), *sizes)


def dbias_cuda(dy: Array) -> Array:
    """Return dbias (O,) of dy (N,O,Ho,Wo) with channels last: sums of sums of its pixels."""
    outs = dy.shape[1]
    sums = memory(laid(dy, True), True).reshape((-1, outs))  # (N Ho Wo, O)
    kernel = Kernel("bias", "sums_of_rows", real_of(dy))
    while True:
        parts = max(1, -(-sums.shape[0] // SUMMED))  # of no pixels there is a sum, too
        fewer = empty((parts, outs), dy)
        for_each(kernel, (parts * outs, 1), sums, fewer, sums.shape[0], outs)
        if parts == 1:
            return fewer[0, :]
        sums = fewer
