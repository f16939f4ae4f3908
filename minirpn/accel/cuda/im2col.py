"""Launches ``im2col.cu``: convolutions as products of matrices, whose columns a kernel writes.

The loops over runs of rows are those of `minirpn.nn.conv`, so that both can be read side by side.
The array code there makes columns from one view of a padded image for each tap. Here one launch
makes them all, and nothing is padded.
"""

from __future__ import annotations

import math

from minirpn._typing import Array
from minirpn.accel.cuda._load import Kernel, contiguous, empty, for_each, real_of
from minirpn.accel.cuda.maps import add_bias_cuda
from minirpn.backend import device_of, namespace_of
from minirpn.nn.conv import flat, products, runs_of_rows
from minirpn.nn.window import Pair, conv_output_size


def conv2d_cuda(
    x: Array,
    weight: Array,
    bias: Array,
    stride: Pair,
    padding: Pair,
    out: Array | None = None,
    relu: bool = False,
) -> Array:
    """Return y (N,O,Ho,Wo): the kernels as rows times the windows as columns."""
    xp = namespace_of(x, weight, bias)
    (N, outs), kernel = (x.shape[0], weight.shape[0]), weight.shape[2:]
    Ho, Wo = conv_output_size(x.shape[2:], kernel, stride, padding)
    kernels, x = xp.reshape(weight, (outs, -1)), contiguous(x)  # (O,C,kh,kw) -> (O, C kh kw)
    y = empty((N, outs, Ho, Wo), x)
    for rows in runs_of_rows(x, x.shape[1], kernel, (Ho, Wo)):
        product = products(kernels, _columns(x, kernel, stride, padding, rows, Wo))
        # (N, O, rows Wo) -> (N,O,rows,Wo)
        y[:, :, rows.start : rows.stop, :] = xp.reshape(product, (N, outs, len(rows), Wo))
    add_bias_cuda(y, bias, relu)
    return written(y, out)


def written(y: Array, out: Array | None) -> Array:
    """Return `out` with y in it, or y itself if there is no `out`."""
    if out is None or out is y:
        return y
    out[...] = y
    return out


def conv2d_dx_cuda(dy: Array, weight: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """Return dx (N,C,H,W): each pixel gathers from the gradient of the columns."""
    xp = namespace_of(dy, weight)
    (N, outs, Ho, Wo), C, kernel = dy.shape, weight.shape[1], weight.shape[2:]
    H, W = size
    kernels = xp.matrix_transpose(xp.reshape(weight, (outs, -1)))  # (O,C,kh,kw) -> (C kh kw, O)
    dx = xp.zeros((N, C, H, W), dtype=dy.dtype, device=device_of(dy))
    for rows in runs_of_rows(dy, C, kernel, (Ho, Wo)):
        # (N,O,rows,Wo) -> (N, O, rows Wo) -> (N, C kh kw, rows Wo)
        dcolumns = products(kernels, flat(dy[:, :, rows.start : rows.stop, :]))
        # The rows of pixels that the windows of these output rows reach, on the image.
        above = max(rows.start * stride[0] - padding[0], 0)
        below = min((rows.stop - 1) * stride[0] - padding[0] + kernel[0], H)
        height = max(below - above, 0)
        for_each(
            Kernel("im2col", "col2im", real_of(dy)),
            (height * W, N * C),
            *(contiguous(dcolumns), dx, N * C, H, W, above, height, rows.start, len(rows), Wo),
            *(*kernel, *stride, *padding),
        )
    return dx


def conv2d_dweight_cuda(dy: Array, x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """Return dweight (O,C,kh,kw): output gradients as rows times the columns, transposed."""
    xp, x = namespace_of(dy, x), contiguous(x)
    (outs, Ho, Wo), C = dy.shape[1:], x.shape[1]
    dkernels = xp.zeros((outs, C * math.prod(kernel)), dtype=x.dtype, device=device_of(x))
    for rows in runs_of_rows(x, C, kernel, (Ho, Wo)):
        columns = _columns(x, kernel, stride, padding, rows, Wo)
        drows = flat(dy[:, :, rows.start : rows.stop, :])
        for n in range(drows.shape[0]):
            # (O, rows Wo) @ (rows Wo, C kh kw) -> (O, C kh kw)
            dkernels += xp.matmul(drows[n, :, :], xp.matrix_transpose(columns[n, :, :]))
    return xp.reshape(dkernels, (outs, C, *kernel))


def _columns(x: Array, kernel: Pair, stride: Pair, padding: Pair, rows: range, Wo: int) -> Array:
    """Return the windows of some output rows of x (N,C,H,W) as columns (N, C kh kw, rows Wo)."""
    (N, C, H, W), positions = x.shape, len(rows) * Wo
    columns = empty((N, C * math.prod(kernel), positions), x)
    for_each(
        Kernel("im2col", "im2col", real_of(x)),
        (positions, N * C),
        *(x, columns, N * C, H, W, rows.start, len(rows), Wo, *kernel, *stride, *padding),
    )
    return columns


def conv2d_preferred(x: Array, weight: Array, *rest: object) -> bool:
    """Tell whether there are columns to make: with a 1x1 kernel the pixels are the columns."""
    return tuple(weight.shape[2:]) != (1, 1)


conv2d_dx_preferred = conv2d_preferred  # its arguments are dy and weight


def conv2d_dweight_preferred(dy: Array, x: Array, kernel: Pair, *rest: object) -> bool:
    """Tell the same for the gradient by the weight."""
    return tuple(kernel) != (1, 1)
