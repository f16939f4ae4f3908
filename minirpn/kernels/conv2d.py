"""Convolution in two dimensions: three ladders, for the output and for each gradient.

They are three sums over the same products, "pixel times weight goes to output"::

    y[n,o,i,j]       = bias[o] + sum over c, p, q of  x[n, c, i s + p, j s + q] weight[o,c,p,q]
    dx[n,c,k,l]      = sum over o, p, q and the i, j with k = i s + p, l = j s + q
                                         of  dy[n,o,i,j] weight[o,c,p,q]
    dweight[o,c,p,q] = sum over n, i, j  of  dy[n,o,i,j] x[n, c, i s + p, j s + q]

with x padded by zeros. The output may be rectified on the way, ``max(y, 0)``, which a layer of its
own would do in one more walk through memory, and be written into a given place.

Every rung of a ladder is a function of plain arrays and pairs, so that the gradient of one rung
follows the output of any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from minirpn._typing import Array
from minirpn.backend import device_of, is_numpy, namespace_of
from minirpn.kernels._ladder import Ladder, Rung, numba_present
from minirpn.kernels.conv2d_strips import conv2d_dweight_strips, conv2d_dx_strips, conv2d_strips
from minirpn.kernels.conv2d_winograd import (
    conv2d_dweight_winograd,
    conv2d_dx_winograd,
    conv2d_winograd,
    suits,
    suits_dweight,
    suits_dx,
)
from minirpn.kernels.window import Pair, conv_output_size, padded, taps

# Columns are made for as many output rows as fit here: large enough for the matrix product to run
# at full speed, small beside the activations of a 600x1000 image.
COLUMN_BYTES = 2**25
# On a device a run of rows is a dozen launches, some 5 us each, during which a fast GPU multiplies
# some 30 MiB of columns: twice that keeps it at work.
DEVICE_COLUMN_BYTES = 2**26


# --- loops: the three sums, window by window ---


def conv2d_loops(
    x: Array,
    weight: Array,
    bias: Array,
    stride: Pair,
    padding: Pair,
    rectified: bool = False,
    out: Array | None = None,
) -> Array:
    """Return y (N,O,Ho,Wo): each output is a window of `x` times a kernel, summed."""
    (N, outs), kernel = (x.shape[0], weight.shape[0]), weight.shape[2:]
    image = _surrounded(x, padding)
    size = conv_output_size(x.shape[2:], kernel, stride, padding)
    y = np.empty((N, outs, *size), x.dtype) if out is None else out
    for n, o, i, j in np.ndindex(y.shape):
        rows, columns = _window(i, j, kernel, stride)
        value = np.sum(image[n, :, rows, columns] * weight[o]) + bias[o]
        y[n, o, i, j] = 0 if rectified and value < 0 else value
    return y


def conv2d_dx_loops(dy: Array, weight: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """Return dx (N,C,H,W): each output hands its gradient to the window it came from."""
    (N, C), kernel = (dy.shape[0], weight.shape[1]), weight.shape[2:]
    (H, W), (top, left) = size, padding
    dimage = np.zeros((N, C, H + 2 * top, W + 2 * left), dy.dtype)
    for n, o, i, j in np.ndindex(dy.shape):
        rows, columns = _window(i, j, kernel, stride)
        dimage[n, :, rows, columns] += dy[n, o, i, j] * weight[o]
    return dimage[:, :, top : top + H, left : left + W]


def conv2d_dweight_loops(dy: Array, x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """Return dweight (O,C,kh,kw): each output hands its gradient to the kernel that made it."""
    image = _surrounded(x, padding)
    dweight = np.zeros((dy.shape[1], x.shape[1], *kernel), x.dtype)
    for n, o, i, j in np.ndindex(dy.shape):
        rows, columns = _window(i, j, kernel, stride)
        dweight[o] += dy[n, o, i, j] * image[n, :, rows, columns]
    return dweight


def _window(i: int, j: int, kernel: Pair, stride: Pair) -> tuple[slice, slice]:
    """Return the rows and columns of the padded image behind output (i, j)."""
    top, left = i * stride[0], j * stride[1]
    return slice(top, top + kernel[0]), slice(left, left + kernel[1])


def _surrounded(x: Array, padding: Pair) -> Array:
    """Return `x` with `padding` zeros on each side."""
    (H, W), (top, left) = x.shape[2:], padding
    return padded(x, padding, (H + 2 * top, W + 2 * left))


# --- im2col: windows side by side in a matrix, and the sums are matrix products ---


def conv2d_im2col(
    x: Array,
    weight: Array,
    bias: Array,
    stride: Pair,
    padding: Pair,
    rectified: bool = False,
    out: Array | None = None,
) -> Array:
    """Return y (N,O,Ho,Wo): the kernels as rows times the windows as columns."""
    xp = namespace_of(x, weight, bias)
    (N, outs), kernel = (x.shape[0], weight.shape[0]), weight.shape[2:]
    Ho, Wo = conv_output_size(x.shape[2:], kernel, stride, padding)
    kernels = xp.reshape(weight, (outs, -1))  # (O,C,kh,kw) -> (O, C kh kw)
    image = _surrounded(x, padding)
    y = out
    if y is None:
        y = xp.empty((N, outs, Ho, Wo), dtype=x.dtype, device=device_of(x))
    for rows in _chunks(image, kernel, (Ho, Wo)):
        product = xp.matmul(kernels, _columns(image, kernel, stride, rows, Wo))
        product += bias[:, None]
        if rectified:
            product = xp.maximum(product, xp.zeros((), dtype=x.dtype, device=device_of(x)))
        # (N, O, rows Wo) -> (N,O,rows,Wo)
        y[:, :, rows.start : rows.stop, :] = xp.reshape(product, (N, outs, len(rows), Wo))
    return y


def conv2d_dx_im2col(dy: Array, weight: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """Return dx (N,C,H,W): the gradient of every column, put back where its pixels came from."""
    xp = namespace_of(dy, weight)
    (N, outs, Ho, Wo), (C, *kernel) = dy.shape, weight.shape[1:]
    (H, W), (top, left) = size, padding
    kernels = xp.matrix_transpose(xp.reshape(weight, (outs, -1)))  # (O,C,kh,kw) -> (C kh kw, O)
    shape = (N, C, H + 2 * top, W + 2 * left)
    dimage = xp.zeros(shape, dtype=dy.dtype, device=device_of(dy))
    for rows in _chunks(dimage, kernel, (Ho, Wo)):
        # (N,O,rows,Wo) -> (N, O, rows Wo) -> (N, C kh kw, rows Wo) -> (N,C, kh kw, rows,Wo)
        dcolumns = xp.matmul(kernels, _flat(dy[:, :, rows.start : rows.stop, :]))
        dcolumns = xp.reshape(dcolumns, (N, C, -1, len(rows), Wo))
        for tap, (ys, xs) in enumerate(taps(kernel, stride, rows, range(Wo))):
            dimage[:, :, ys, xs] += dcolumns[:, :, tap, :, :]
    return dimage[:, :, top : top + H, left : left + W]


def conv2d_dweight_im2col(dy: Array, x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """Return dweight (O,C,kh,kw): output gradients as rows times the columns, transposed.

    The columns are made again rather than kept: they are kh kw times larger than `x`.
    """
    xp = namespace_of(dy, x)
    (outs, Ho, Wo), C = dy.shape[1:], x.shape[1]
    image = _surrounded(x, padding)
    dkernels = xp.zeros((outs, C * math.prod(kernel)), dtype=x.dtype, device=device_of(x))
    for rows in _chunks(image, kernel, (Ho, Wo)):
        windows = xp.matrix_transpose(_columns(image, kernel, stride, rows, Wo))
        # (N, O, rows Wo) @ (N, rows Wo, C kh kw) -> (N, O, C kh kw) -> (O, C kh kw)
        products = xp.matmul(_flat(dy[:, :, rows.start : rows.stop, :]), windows)
        dkernels += xp.sum(products, axis=0)
    return xp.reshape(dkernels, (outs, C, *kernel))


def _chunks(image: Array, kernel: Pair, output_size: Pair) -> Iterator[range]:
    """Yield the output rows in runs whose columns stay within `COLUMN_BYTES`, or the device's."""
    N, C = image.shape[:2]
    Ho, Wo = output_size
    item_bytes = namespace_of(image).finfo(image.dtype).bits // 8
    row_bytes = N * C * math.prod(kernel) * Wo * item_bytes
    step = max(1, (COLUMN_BYTES if is_numpy(image) else DEVICE_COLUMN_BYTES) // row_bytes)
    for start in range(0, Ho, step):
        yield range(start, min(start + step, Ho))


def _columns(image: Array, kernel: Pair, stride: Pair, rows: range, Wo: int) -> Array:
    """Return (N, C kh kw, rows Wo): the windows of these output rows as columns."""
    xp = namespace_of(image)
    N, C = image.shape[:2]
    views = [image[:, :, ys, xs] for ys, xs in taps(kernel, stride, rows, range(Wo))]
    if len(views) == 1:  # a 1x1 kernel: the pixels are the columns
        return _flat(views[0])
    # kh kw times (N,C,rows,Wo) -> (N,C, kh kw, rows,Wo) -> (N, C kh kw, rows Wo)
    return xp.reshape(xp.stack(views, axis=2), (N, C * len(views), len(rows) * Wo))


def _flat(maps: Array) -> Array:
    """Return (N, C, H W) of (N,C,H,W)."""
    N, C, H, W = maps.shape
    return namespace_of(maps).reshape(maps, (N, C, H * W))


def _winograd(function: Callable[..., Array], suits: Callable[..., bool]) -> Rung:
    """Return a rung whose intermediate numbers are larger than the result, and so its rounding."""
    return Rung("winograd", function, is_numpy, numba_present, suits, rounding=1000)


CONV2D = Ladder(
    "conv2d",
    (
        Rung("loops", conv2d_loops, takes=is_numpy),
        Rung("im2col", conv2d_im2col),
        Rung("strips", conv2d_strips, takes=is_numpy, present=numba_present),
        _winograd(conv2d_winograd, suits),
    ),
)
CONV2D_DX = Ladder(
    "conv2d_dx",
    (
        Rung("loops", conv2d_dx_loops, takes=is_numpy),
        Rung("im2col", conv2d_dx_im2col),
        Rung("strips", conv2d_dx_strips, takes=is_numpy, present=numba_present),
        _winograd(conv2d_dx_winograd, suits_dx),
    ),
)
CONV2D_DWEIGHT = Ladder(
    "conv2d_dweight",
    (
        Rung("loops", conv2d_dweight_loops, takes=is_numpy),
        Rung("im2col", conv2d_dweight_im2col),
        Rung("strips", conv2d_dweight_strips, takes=is_numpy, present=numba_present),
        _winograd(conv2d_dweight_winograd, suits_dweight),
    ),
)
