"""Launches ``im2col.cu``, for convolutions as matrix products."""

from __future__ import annotations

from functools import partial

from minirpn._typing import Array
from minirpn.backend import device_of, namespace_of
from minirpn.kernels.cuda._load import Kernel, Launch, contiguous, for_each, on_device, real_of
from minirpn.kernels.im2col import (
    Columns,
    Pieces,
    Shape,
    conv2d_dweight_im2col,
    conv2d_dx_im2col,
    conv2d_im2col,
)
from minirpn.kernels.window import Pair, conv_output_size


def conv2d_cuda(
    x: Array,
    weight: Array,
    bias: Array,
    stride: Pair,
    padding: Pair,
    rectified: bool = False,
    out: Array | None = None,
    *,
    launch: Launch = on_device,
) -> Array:
    """Return y (N,O,Ho,Wo): as `conv2d_im2col`, with columns that a kernel writes."""
    windows = partial(_written, launch)
    return conv2d_im2col(x, weight, bias, stride, padding, rectified, out, windows=windows)


def conv2d_dx_cuda(
    dy: Array,
    weight: Array,
    size: Pair,
    stride: Pair,
    padding: Pair,
    *,
    launch: Launch = on_device,
) -> Array:
    """Return dx (N,C,H,W): as `conv2d_dx_im2col`, with columns that a kernel puts back."""
    return conv2d_dx_im2col(dy, weight, size, stride, padding, put_back=partial(_gathered, launch))


def conv2d_dweight_cuda(
    dy: Array,
    x: Array,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    *,
    launch: Launch = on_device,
) -> Array:
    """Return dweight (O,C,kh,kw): as `conv2d_dweight_im2col`, with columns that a kernel writes."""
    return conv2d_dweight_im2col(dy, x, kernel, stride, padding, windows=partial(_written, launch))


def _written(launch: Launch, x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Columns:
    """Return what makes the columns of x (N,C,H,W) of some output rows, a thread for each output.

    Nothing is padded: the kernel writes a 0 for what is off the image.
    """
    xp, x, (N, C, H, W) = namespace_of(x), contiguous(x), x.shape
    Wo = conv_output_size((H, W), kernel, stride, padding)[1]

    def columns(rows: range) -> Array:
        positions, taps = len(rows) * Wo, kernel[0] * kernel[1]
        made = xp.empty((N, C * taps, positions), dtype=x.dtype, device=device_of(x))
        for_each(
            launch,
            Kernel("im2col", "im2col", real_of(x)),
            (positions, N * C),
            *(x, made, N * C, H, W, rows.start, len(rows), Wo, *kernel, *stride, *padding),
        )
        return made

    return columns


def _gathered(
    launch: Launch,
    pieces: Pieces,
    dy: Array,
    shape: Shape,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
) -> Array:
    """Return dx (N,C,H,W) of this shape: each pixel gathers from the columns, piece by piece."""
    xp, (N, C, H, W), Wo = namespace_of(dy), shape, dy.shape[3]
    dx = xp.zeros(shape, dtype=dy.dtype, device=device_of(dy))
    for rows, dcolumns in pieces:
        # The rows of pixels that the windows of these output rows reach, on the image.
        above = max(rows.start * stride[0] - padding[0], 0)
        below = min((rows.stop - 1) * stride[0] - padding[0] + kernel[0], H)
        height = max(below - above, 0)
        for_each(
            launch,
            Kernel("im2col", "col2im", real_of(dy)),
            (height * W, N * C),
            *(contiguous(dcolumns), dx, N * C, H, W, above, height, rows.start, len(rows), Wo),
            *(*kernel, *stride, *padding),
        )
    return dx
